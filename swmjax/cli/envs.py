"""`swmjax envs` and `swmjax fovs`: which environments there are, and what varies in one."""

from typing import Annotated, Any

import typer

from swmjax.cli.console import Json, command, note, print_json, print_table


@command
def envs_command(as_json: Json = False) -> None:
    """List the environments."""
    import envs_mjx
    from envs_mjx import plugins

    for problem in plugins.load():
        note(problem)
    specs = sorted((envs_mjx.spec(id) for id in envs_mjx.registered_ids()), key=lambda spec: (spec.discrete, spec.id))
    rows = [(spec.id, "discrete" if spec.discrete else "continuous", spec.extra) for spec in specs]
    if as_json:
        print_json([{"id": id, "actions": actions, "extra": extra} for id, actions, extra in rows])
    else:
        columns = ("Environment", "Actions", "Needs the extra")
        print_table("Environments", columns, [(id, actions, extra or "") for id, actions, extra in rows])


@command
def fovs_command(
    env_id: Annotated[
        str | None, typer.Argument(metavar="ENV_ID", help="Environment, for instance swm/PushT-v1 or just PushT.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the factors of variation of an environment."""
    import envs_mjx
    from envs_mjx.checks import UserError

    if env_id is None:
        raise UserError("give the id of an environment, such as swm/PushT-v1; `swmjax envs` lists them")
    env_id = envs_mjx.import_named(env_id)
    env = envs_mjx.make(env_id)
    space = env.variation_space
    sampled = set(space.select(env.default_variation))
    factors = [_describe(name, space.factor(name), env, name in sampled) for name in space.names()]
    if as_json:
        print_json(factors)
        return
    columns = ("Factor", "Type", "Range", "Default")
    rows = [(_marked(factor), factor["type"], _range(factor), _short(factor["default"])) for factor in factors]
    inert = ", - does nothing here" if any(factor["inert"] for factor in factors) else ""
    print_table(f"Factors of variation of {env_id} (* sampled by default{inert})", columns, rows)


def _marked(factor: dict[str, Any]) -> str:
    return factor["factor"] + " *" * factor["sampled"] + " -" * factor["inert"]


def _describe(name: str, space: Any, env: Any, sampled: bool) -> dict[str, Any]:
    low, high = space.bounds
    return {
        "factor": name,
        "type": type(space).__name__,
        "low": low.tolist(),
        "high": high.tolist(),
        "shape": list(space.shape),
        "default": None if space.init_value is None else space.init_value.tolist(),
        "sampled": sampled,
        "inert": name in env.inert_factors,
    }


def _range(factor: dict[str, Any]) -> str:
    shape = " x ".join(map(str, factor["shape"]))
    return f"[{_bound(factor['low'])}, {_bound(factor['high'])}]" + (f"  ({shape})" if shape else "")


def _bound(value: Any) -> str:
    """One number where all entries are equal, as most bounds are."""
    flat = _flat(value)
    return _short(flat[0]) if len(set(flat)) == 1 else _short(value)


def _flat(value: Any) -> list[Any]:
    return [entry for part in value for entry in _flat(part)] if isinstance(value, list) else [value]


def _short(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return f"({', '.join(map(_short, value))})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
