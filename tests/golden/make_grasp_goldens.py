"""Runs of GRASP, written down in PyTorch from its description: `grasp_{paper,author,cem}.npz`.

The reference has no code of it. Run with a Python that has torch; the tests do not need it. Every file holds the draws
in order of their use, and actions and states before the first step and after every step.
"""

from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
HORIZON, SIZE, ACTION = 4, 3, 2
GENERATOR = torch.Generator().manual_seed(11)
MATRIX = torch.eye(SIZE) + 0.2 * torch.randn(SIZE, SIZE, generator=GENERATOR)
CONTROL = torch.randn(SIZE, ACTION, generator=GENERATOR) * 0.5
START, GOAL = torch.randn(2, SIZE, generator=GENERATOR)


def model(state, action):
    return torch.tanh(state @ MATRIX.T) + action @ CONTROL.T + 0.1 * torch.sin(action).sum(-1, keepdim=True)


def rollout(actions):
    states, state = [], START.expand(actions.shape[0], SIZE)
    for time in range(HORIZON):
        state = model(state, actions[:, time])
        states.append(state)
    return torch.stack(states, 1)


def grasp(name, *, optimizer, mean, lr_s, lr_a, noise, init_noise, sync_mode, sync_lr, every=4, sync=3, steps=10,
          goal_weight=0.5, decay=False, samples=12, top=4, scale=1.0, floor=0.01):  # fmt: skip
    draws = {"init": [], "state": [], "sync": []}

    def normal(kind, *shape):
        draws[kind].append(torch.randn(*shape, generator=GENERATOR))
        return draws[kind][-1]

    def size(difference):
        squares = difference.square()
        return squares.mean(-1).sum() if mean else squares.sum()

    actions = torch.zeros(HORIZON, ACTION, requires_grad=True)
    line = torch.stack([GOAL * t / HORIZON + START * (1 - t / HORIZON) for t in range(1, HORIZON)])
    if init_noise:
        line = line + init_noise * normal("init", HORIZON - 1, SIZE)
    states = line.clone().requires_grad_()

    def fresh():
        return optimizer([{"params": [actions], "lr": lr_a}, {"params": [states], "lr": lr_s}])

    optim = fresh()
    seen = {"actions": [actions.detach().clone()], "states": [states.detach().clone()]}
    for k in range(steps):
        sigma, gamma = noise, goal_weight
        if decay:
            fraction = (k % every) / max(every - 1, 1)
            sigma, gamma = noise * (1 - fraction), goal_weight * (1 - fraction)
        loss = 0
        chain = [START, *states, GOAL]
        for t in range(HORIZON):
            predicted = model(chain[t].detach(), actions[t])
            loss = loss + size(predicted - chain[t + 1]) + gamma * size(predicted - GOAL)
        optim.zero_grad()
        loss.backward()
        optim.step()
        with torch.no_grad():
            states += sigma * normal("state", HORIZON - 1, SIZE)
        if (k + 1) % every == 0 and k > 0:
            if sync_mode == "gd":
                better = actions.detach().clone().requires_grad_()
                inner = optimizer([better], lr=sync_lr)
                for _ in range(sync):
                    inner.zero_grad()
                    size(rollout(better[None])[0, -1] - GOAL).backward()
                    inner.step()
                better = better.detach()
            else:
                with torch.no_grad():
                    far = (states - rollout(actions[None])[0, :-1]).square().mean(-1)
                    variance = scale * torch.cat([far.mean()[None], far]) + floor
                    better = actions.clone()
                    for _ in range(sync):
                        drawn = normal("sync", samples, HORIZON, ACTION)
                        candidates = better + variance.sqrt()[None, :, None] * drawn
                        costs = (rollout(candidates)[:, -1] - GOAL).square().sum(-1)
                        elites = candidates[costs.topk(top, largest=False).indices]
                        better, variance = elites.mean(0), elites.var(0).mean(-1) + floor
            with torch.no_grad():
                actions.copy_(better)
            optim = fresh()
        seen["actions"].append(actions.detach().clone())
        seen["states"].append(states.detach().clone())
    found = {key: torch.stack(value) for key, value in seen.items()}
    found |= {f"draw_{kind}": torch.stack(drawn) for kind, drawn in draws.items() if drawn}
    found |= {"matrix": MATRIX, "control": CONTROL, "start": START, "goal": GOAL}
    np.savez_compressed(HERE / f"grasp_{name}.npz", **{key: value.numpy() for key, value in found.items()})


def main():
    grasp("paper", optimizer=torch.optim.SGD, mean=False, lr_s=0.1, lr_a=0.05, noise=0.02, init_noise=0.05,
          sync_mode="gd", sync_lr=0.02)  # fmt: skip
    grasp("author", optimizer=torch.optim.Adam, mean=True, lr_s=0.1, lr_a=0.01, noise=0.1, init_noise=0.0,
          sync_mode="gd", sync_lr=0.05, decay=True)  # fmt: skip
    grasp("cem", optimizer=torch.optim.Adam, mean=True, lr_s=0.1, lr_a=0.01, noise=0.01, init_noise=0.0,
          sync_mode="cem", sync_lr=0.0)  # fmt: skip


if __name__ == "__main__":
    main()
