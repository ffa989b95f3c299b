"""Play PushT episodes in the reference; runs with its interpreter: `python pusht_reference_worker.py CASES RESULT`.

`CASES` is an `.npz` with `start`, `goal_state` [n, 7], `action` [n, T, 2] and a column for every factor that is set, by
its dotted name; `damping` and `block_cog` hold for all episodes and are left out for none. `RESULT` gets `state`
[n, T + 1, 7], `block_angle` and `n_contacts` [n, T + 1].
"""

import sys

import numpy as np
from stable_worldmodel.envs.pusht.env import PushT


def main(cases: str, result: str) -> None:
    """Play all episodes."""
    given = dict(np.load(cases))
    arguments = {"damping": float(given["damping"])} if "damping" in given else {}
    if "block_cog" in given:
        arguments["block_cog"] = tuple(given["block_cog"].tolist())
    env = PushT(resolution=16, **arguments)
    seen = []
    for i, actions in enumerate(given["action"]):
        values = {name: column[i].item() for name, column in given.items() if "." in name}
        options = {"variation": (), "variation_values": values}
        options |= {"state": given["start"][i], "goal_state": given["goal_state"][i]}
        episode = [env.reset(seed=0, options=options)]
        for action in actions:
            observation, _, _, _, info = env.step(action)
            episode.append((observation, info))
        seen.append(
            [(*observation["state"], info["block_pose"][2], info["n_contacts"]) for observation, info in episode]
        )
    table = np.array(seen)
    np.savez(result, state=table[..., :7], block_angle=table[..., 7], n_contacts=table[..., 8].astype(int))


if __name__ == "__main__":
    main(*sys.argv[1:])
