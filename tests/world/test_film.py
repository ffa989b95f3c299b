"""The film of a run: every episode until it ends, beside its goal."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goal_env import GoalEnv

from swmjax.runs.watched import silent, watched
from swmjax.world import Episodes, film
from swmjax.world.video import SUCCESS


@dataclass(frozen=True)
class DialEnv(GoalEnv):
    """The goal environment with a picture that tells the position: grey 10 x."""

    def render(self, state):
        return jnp.broadcast_to((10 * state.physics).astype(jnp.uint8)[None, None], (16, 20, 3))


@pytest.fixture
def panels(monkeypatch):
    seen, original = [], film.side_by_side

    def spy(panels):
        seen.append(panels)
        return original(panels)

    monkeypatch.setattr(film, "side_by_side", spy)
    return seen


def test_film(tmp_path, panels, monkeypatch):
    env, budget = DialEnv(), 6
    one = env.reset(jax.random.key(0))

    def states(places, goals):
        """States with axes as `places`."""
        batch = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*places.shape, *leaf.shape)), one)
        return batch.replace(physics=jnp.asarray(places, jnp.float32)[..., None], goal=goals[..., None])

    goals = jnp.asarray([20.0, 21.0])
    places = np.stack([np.minimum(np.arange(budget + 1), 3), 8 + np.arange(budget + 1)], axis=1)
    # The batch holds a third episode that is not filmed.
    episodes = Episodes(
        start=jnp.zeros((3, 1)),
        goal=jnp.zeros((3, 1)),
        success=jnp.asarray([True, False, True]),
        steps=jnp.asarray([3, budget, 1]),
        final_distance=jnp.zeros(3),
        first_problem=(one, one),
        trajectory=states(places, jnp.broadcast_to(goals[None], places.shape)),
        shown_goals=states(np.asarray(goals), goals),
    )
    path = tmp_path / "episodes.mp4"
    with watched(silent, silent) as run:
        film.write_film(path, env, episodes, run)
    assert path.read_bytes()[4:8] == b"ftyp"

    assert [list(panel) for panel in panels] == [["episode 0", "goal"], ["episode 1", "goal"]]
    for i, (steps, hold) in enumerate([(3, 13), (6, 16)]):
        frames, goal = panels[i].values()
        assert np.all(goal == 200 + 10 * i)
        assert len(frames) == 1 + hold
        shown = np.concatenate([places[: steps + 1, i], np.full(10, places[steps, i])])
        np.testing.assert_array_equal(frames[:, 8, 10], np.repeat(10 * shown[:, None], 3, axis=1))
        marked = np.all(frames[:, 0, 0] == SUCCESS, axis=-1)
        np.testing.assert_array_equal(marked, np.arange(1 + hold) >= 3 if i == 0 else np.zeros(1 + hold, bool))
