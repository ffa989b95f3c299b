"""The video of a run: every episode until it ends, beside its goal."""

import jax.numpy as jnp
import numpy as np
import pytest

from swmjax.world import Episodes, video
from swmjax.world.video import SUCCESS


@pytest.fixture
def panels(monkeypatch):
    seen, original = [], video.side_by_side

    def spy(panels):
        seen.append(panels)
        return original(panels)

    monkeypatch.setattr(video, "side_by_side", spy)
    return seen


def pictures(places):
    """Grey pictures of 10 x."""
    return np.broadcast_to((10 * places)[..., None, None, None], (*places.shape, 16, 20, 3)).astype(np.uint8)


def test_video(tmp_path, panels):
    budget, goals = 6, np.array([20, 21])
    places = np.stack([np.minimum(np.arange(budget + 1), 3), 8 + np.arange(budget + 1)], axis=1)
    # The batch holds a third episode that is not shown.
    episodes = Episodes(
        success=jnp.asarray([True, False, True]),
        ended=jnp.asarray([True, False, True]),
        steps=jnp.asarray([3, budget, 1]),
        returns=jnp.zeros(3),
        solved_at_start=jnp.zeros(3, bool),
        plans=jnp.ones(3, jnp.int32),
        failed_plans=jnp.zeros(3, jnp.int32),
        factors={},
        frames=jnp.asarray(pictures(places)),
        goal_frames=jnp.asarray(pictures(goals)),
    )
    path = tmp_path / "episodes.mp4"
    video.write_video(path, episodes)
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

    video.write_video(path, episodes.replace(goal_frames=None))
    assert [list(panel) for panel in panels[2:]] == [["episode 0"], ["episode 1"]]
