"""Models of the control suite, read from the installed `dm_control`; nothing of it is executed."""

from importlib import resources
from pathlib import Path

import mujoco

from envs_mjx.checks import UserError, needs_extra


def suite_spec(domain: str) -> mujoco.MjSpec:
    """The MJCF of a domain as a specification that may be edited, without what MJX lacks and no task reads.

    Args:
        domain: name of the domain, for instance `cheetah`.

    Returns:
        The specification, with the energy monitor off and without a deprecated request for a total mass.

    Raises:
        UserError: there is no such domain.
        MissingExtraError: `dm_control`, which holds the models, is not installed.
    """
    with needs_extra("the control suite's models need", "mujoco"):
        # Only the package's empty __init__ is imported; the domains' Python files are not.
        folder = resources.files("dm_control") / "suite"
    path = Path(str(folder / f"{domain}.xml"))
    if not path.is_file():
        known = sorted(entry.stem for entry in path.parent.glob("*.xml"))
        raise UserError(f"the control suite has no domain {domain!r}; it has {', '.join(known)}")
    spec = mujoco.MjSpec.from_file(str(path))
    spec.option.enableflags &= ~int(mujoco.mjtEnableBit.mjENBL_ENERGY)
    spec.compiler.settotalmass = -1.0
    return spec
