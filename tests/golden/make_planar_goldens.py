"""Record small environments of the reference: `piecewise.npz`, `point_maze.npz` and `image_positioning.npz`.

Run with a Python that has the released reference (stable-worldmodel 0.1.1, torch, pygame, Pillow) and matplotlib 3.10:
`SDL_VIDEODRIVER=dummy python tests/golden/make_planar_goldens.py`.
"""

import os
from pathlib import Path

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("MPLBACKEND", "Agg")

import gymnasium
import numpy as np
from PIL import Image
from stable_worldmodel.envs.image_positioning import ImagePositioning
from stable_worldmodel.envs.piecewise.expert_policy import ExpertPolicy
from stable_worldmodel.envs.piecewise.piecewise_env import PiecewiseEnv
from stable_worldmodel.envs.simple_point_maze import SimplePointMazeEnv

FOLDER = Path(__file__).parent
NAMES = ("background", "locations", "rotations")


def values_of(space: gymnasium.Space) -> dict[str, np.ndarray]:
    """Current factors by dotted name."""
    values = {}
    for name in space.names():
        node = space
        for part in name.split("."):
            node = node[part]
        values[name] = np.asarray(node.value)
    return values


def stacked(episodes: list[dict]) -> dict[str, np.ndarray]:
    return {name: np.stack([episode[name] for episode in episodes]) for name in episodes[0]}


def piecewise(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """8 episodes of 40 steps on a 3 x 3 grid, half of them by the expert, with the first and last frames of all."""
    env = PiecewiseEnv(grid_n=3)
    episodes = []
    for episode in range(8):
        env.reset(seed=episode, options={"variation": ["all"]})
        shown = {
            f"rendering.{name}": int(episode >> bit & 1)
            for bit, name in enumerate(("render_target", "render_zones", "render_bias_field"))
        }
        if episode == 6:
            # No bias draws a dot; a small one, an arrow without a shaft.
            shown |= {"zones.bias_1": np.zeros(2, np.float32), "zones.bias_2": np.float32([0.7, -0.4])}
        env.variation_space.set_value(shown)
        factors = values_of(env.variation_space)
        frames, info = [env.render()], env._get_info()
        expert = ExpertPolicy()
        expert.set_env(env)
        states, actions, ended = [info["state"].copy()], [], []
        for _ in range(40):
            action = rng.uniform(-1.2, 1.2, 2).astype(np.float32) if episode % 2 else expert.get_action(info)
            _, _, terminated, _, info = env.step(action)
            states.append(info["state"].copy())
            actions.append(action)
            ended.append(terminated)
        frames.append(env.render())
        recorded = {"state": states, "action": actions, "terminated": ended, "frames": frames}
        recorded["goal_state"] = info["goal_state"]
        episodes.append(recorded | {f"factor/{name}": value for name, value in factors.items()})
    return stacked(episodes)


def point_maze(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """12 episodes of 40 steps, the first two with default factors, with the last frames of all."""
    env = SimplePointMazeEnv(render_mode="rgb_array")
    episodes = []
    for episode in range(12):
        env.reset(seed=episode, options={"variation": ["all"]} if episode > 1 else {})
        factors = values_of(env.variation_space)
        states, actions, rewards, ended = [env.state.copy()], [], [], []
        way = factors["goal.position"] - factors["agent.position"]
        for _ in range(40):
            action = rng.uniform(-0.25, 0.25, 2) + 0.2 * np.sign(way) * (episode % 2)
            action = action.astype(np.float32)
            state, reward, terminated, _, _ = env.step(action)
            states.append(state)
            actions.append(action)
            rewards.append(reward)
            ended.append(terminated)
        recorded = {"state": states, "action": actions, "reward": rewards, "terminated": ended, "frame": env.render()}
        episodes.append(recorded | {f"factor/{name}": value for name, value in factors.items()})
    return stacked(episodes)


def image_positioning(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """2 episodes of 12 steps with two square pictures, frames of every state and of the targets.

    Layouts are set, since the reference draws a second column of turns, and so is the noise, which it draws from the
    global generator.
    """
    pictures = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (21, 34)]
    resolution = 60
    episodes = []
    for _ in range(2):
        env = ImagePositioning(resolution, [Image.fromarray(one) for one in pictures], "rgb_array")
        white = rng.normal(size=(2 * resolution, 2 * resolution)).astype(np.float32)
        draw, np.random.randn = np.random.randn, lambda *_, white=white: white.astype(float)
        env.reset(seed=0)
        np.random.randn = draw
        for name, shape in zip(NAMES, ((2, 1), (2, 2), (2, 1)), strict=True):
            for time in ("current", "target"):
                setattr(env, f"_{time}_{name}", rng.uniform(0, 0.9, shape).astype(np.float32).astype(float))
        recorded: dict[str, list] = {name: [] for name in ("state", "action", "distances", "terminated", "frames")}

        def note(info, env=env, recorded=recorded):
            layout = (env._current_background, env._current_locations, env._current_rotations)
            recorded["state"].append(np.concatenate([part.ravel() for part in layout]))
            recorded["distances"].append([info[f"{name}_distance"] for name in ("background", "location", "rotation")])
            recorded["frames"].append(env.render())

        note(env._get_info())
        for step in range(12):
            if step < 3:
                action = {n: 1.5 * rng.uniform(space.low, space.high) for n, space in env.action_space.items()}
            else:
                action = {name: value.astype(np.float32) for name, value in env._get_optimal_action().items()}
            recorded["action"].append(np.concatenate([action[f"delta_{name}"].ravel() for name in NAMES]))
            _, _, terminated, _, info = env.step(action)
            recorded["terminated"].append(terminated)
            note(info)
        target = (env._target_background, env._target_locations, env._target_rotations)
        recorded["goal"] = np.concatenate([part.ravel() for part in target])
        episodes.append(recorded | {"white": white, "noise": env.pink_noise[..., 0], "target": env.render("target")})
    named = {f"picture_{i}": picture for i, picture in enumerate(pictures)}
    return stacked(episodes) | named


if __name__ == "__main__":
    np.savez_compressed(FOLDER / "piecewise.npz", **piecewise(np.random.default_rng(0)))
    np.savez_compressed(FOLDER / "point_maze.npz", **point_maze(np.random.default_rng(1)))
    np.savez_compressed(FOLDER / "image_positioning.npz", **image_positioning(np.random.default_rng(2)))
