"""Draw every MuJoCo domain with factors of variation, one row each: `docs/mjx_factors.png`.

    python benchmarks/mjx_contact_sheet.py [--output docs/mjx_factors.png]

A row shows the `fixed` variant: nominal, with one factor after another changed, and with all factors drawn. The poses
are those of the recorded tests.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import imageio.v3 as imageio
import jax.numpy as jnp
import numpy as np
from sheets import labelled

# In place of this folder, whose envs.py would hide the tests' folder of that name.
ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT / "tests")
from envs.mujoco import recorded  # noqa: E402
from envs.mujoco.varied import varied_model  # noqa: E402

from envs_mjx.mujoco.render import rendered  # noqa: E402
from swmjax.world import font  # noqa: E402

SIZE = 112
SHARED: dict[str, Any] = {
    "agent.color": (0.2, 0.7, 0.4),
    "floor.color": ((0.85, 0.85, 0.8), (0.75, 0.4, 0.3)),
    "light.intensity": (0.0,),
}
OWN: dict[str, tuple[str, Any]] = {
    "pendulum": ("agent.mass_shape", 0),
    "cartpole": ("agent.cart_shape", 0),
    "acrobot": ("target.color", (0.9, 0.8, 0.1)),
    "reacher": ("target.color", (0.9, 0.8, 0.1)),
    "ball_in_cup": ("ball.size", (0.05,)),
    "walker": ("floor.rotation_y", (10.0,)),
    "finger": ("spinner.color", (0.9, 0.8, 0.1)),
    "manipulator": ("agent.upper_arm_length", (1500.0,)),
}
"""A factor that only this domain has; the others show another colour of the agent."""
SEEN = (
    *("body_mass", "body_pos", "body_ipos", "body_iquat"),
    *("geom_pos", "geom_quat", "geom_size"),
)
"""What of a model a picture depends on."""


def main() -> None:
    """Draw all rows and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "mjx_factors.png")
    output = parser.parse_args().output
    sheet = np.concatenate([row(domain) for domain in recorded.NAMES])
    imageio.imwrite(output, sheet)
    print(f"{output}: {sheet.shape[1]} x {sheet.shape[0]} px, {output.stat().st_size // 1024} KiB")


def row(domain: str) -> np.ndarray:
    """The pictures of a domain, side by side."""
    env = recorded.make(domain, fixed=True, resolution=SIZE)
    space, golden = env.variation_space, recorded.golden(domain)
    names = space.names()
    nominal = {name: np.asarray(space.factor(name).init_value) for name in names}
    if "rendering.render_target" in names:
        nominal["rendering.render_target"] = np.asarray(1)
    generator = np.random.default_rng(sum(map(ord, domain)))
    drawn = {}
    for name in names:
        space.factor(name).seed(int(generator.integers(2**31)))
        drawn[name] = np.asarray(space.factor(name).sample())
    drawn |= {name: value for name, value in nominal.items() if name == "rendering.render_target"}
    own, value = OWN.get(domain, ("agent.color", (0.3, 0.3, 0.8)))
    changes = [*SHARED.items(), (own, value)]
    factors = [nominal, *(nominal | {name: np.asarray(value)} for name, value in changes), drawn]
    labels = [domain, *(name for name, _ in changes), "all"]
    qpos, target = jnp.asarray(golden["qpos"][0], jnp.float32), golden["target"][0]
    return np.concatenate(
        [tile(env, chosen, qpos, target, label) for chosen, label in zip(factors, labels, strict=True)], axis=1
    )


def tile(env: Any, factors: dict[str, np.ndarray], qpos: Any, target: np.ndarray, label: str) -> np.ndarray:
    """One picture above its label."""
    model = varied_model(env, factors, locks=False)
    fields = {"opt.gravity": model.opt.gravity} | {name: getattr(model, name) for name in SEEN}
    picture = np.asarray(rendered(env, qpos, {"fields": fields, "factors": factors, "target": target}))
    return labelled(picture, label if len(label) * font.ADVANCE <= SIZE else label.split(".")[-1])


if __name__ == "__main__":
    main()
