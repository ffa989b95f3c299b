"""`swmjax collect`: episodes of an expert or of random actions, as a dataset."""

from pathlib import Path
from typing import Annotated, Any

import typer

from swmjax.cli import console
from swmjax.cli.modules import AllowModule, import_allowed

Optional = typer.Option
_EPISODES = "Episodes"


@console.command
def collect_command(
    env_id: Annotated[str, typer.Argument(metavar="ENV_ID", help="Environment; see `swmjax envs`.")],
    output: Annotated[
        Path, Optional(metavar="PATH", help="The dataset; its format is what the name ends in, as .lance or .h5 do.")
    ],
    policy: Annotated[
        str,
        Optional(
            metavar="random|weak|expert|RUN_FOLDER|MODULE:NAME",
            help="Random actions, the behaviour policy or the expert that the environment brings, an expert of "
            "`swmjax train-expert`, or a policy of your own.",
        ),
    ] = "random",
    episodes: Annotated[int, Optional(help="Number of episodes.")] = 10,
    max_steps: Annotated[int, Optional(help="Steps after which an episode is cut.")] = 200,
    seed: Annotated[
        int | None,
        Optional(
            help="Seed of the first episode; episode i has seed + i. If not given, 0, or with --append the next after "
            "those of the dataset."
        ),
    ] = None,
    noise: Annotated[
        float, Optional(help="Standard deviation of noise on the expert's actions, which are of -1 to 1.")
    ] = 0.2,
    deterministic: Annotated[bool, Optional("--deterministic", help="The expert's most likely actions.")] = False,
    pixels: Annotated[bool, Optional(help="Render frames.", rich_help_panel=_EPISODES)] = True,
    image_size: Annotated[int, Optional(help="Height and width of the frames, px.", rich_help_panel=_EPISODES)] = 224,
    variation: Annotated[
        list[str] | None,
        Optional(
            metavar="NAME",
            help="Factor of variation to sample, or a group of them, or all; repeatable.",
            rich_help_panel=_EPISODES,
        ),
    ] = None,
    task: Annotated[
        str | None,
        Optional(help="Task of the environment: short for env_options.task.", rich_help_panel=_EPISODES),
    ] = None,
    set_: Annotated[
        list[str] | None,
        Optional(
            "--set",
            metavar="NAME=VALUE",
            help="An argument of the environment, e.g. env_options.resolution=64; repeatable.",
            rich_help_panel=_EPISODES,
        ),
    ] = None,
    form: Annotated[
        str | None, Optional("--format", help="Format of the dataset, for names that end in nothing special.")
    ] = None,
    batch_size: Annotated[int, Optional(help="Episodes side by side.", rich_help_panel=_EPISODES)] = 16,
    append: Annotated[bool, Optional("--append", help="Add to the dataset.")] = False,
    overwrite: Annotated[bool, Optional("--overwrite", help="Replace the dataset.")] = False,
    allow_module: AllowModule = None,
    as_json: Annotated[bool, Optional("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Collect episodes into a dataset of the reference's layout.

    A command that was stopped, or killed, goes on where it was when it is given again.
    """
    import envs_mjx
    from envs_mjx.checks import UserError
    from swmjax import world
    from swmjax.policies import make_policy
    from swmjax.runs.interrupts import Stopped

    if append and overwrite:
        console.fail("--append and --overwrite exclude each other")
    mode: Any = "append" if append else "overwrite" if overwrite else "error"
    import_allowed(allow_module)
    env_id = envs_mjx.import_named(env_id)
    env = envs_mjx.make(env_id, **_env_options(task, set_ or ()))
    names = None if variation is None else tuple(variation)
    shown = image_size if pixels else None
    world.check_collection(env, episodes, max_steps, seed, names, batch_size, shown)
    try:
        player = make_policy(policy, env, deterministic=deterministic, noise=noise)
    except UserError as error:
        console.fail(f"--policy: {error}")
    try:
        with console.progress_bar(episodes, "episodes") as (progress, note):
            written = world.collect(
                env,
                player,
                output,
                episodes,
                max_steps=max_steps,
                seed=seed,
                image_size=shown,
                variation=names,
                mode=mode,
                format=form,
                batch_size=batch_size,
                progress=progress,
                note=note,
            )
    except Stopped as stop:
        kept = f"{stop.done} of {episodes} episodes are kept in {output}; the same command collects the others"
        console.fail(f"interrupted: {kept if stop.done else 'nothing was written'}", console.INTERRUPTED)
    if as_json:
        results = {"env": env_id, "policy": policy, "episodes": written, "path": str(output)}
        console.print_json(results | {"notes": list(env.remarks)})
    else:
        console.out().print(f"{written} episodes of {env_id} written to {output}", highlight=False, markup=False)


def _env_options(task: str | None, assignments: Any) -> dict[str, Any]:
    from swmjax.runs.settings import assign, read_assignments

    settings: dict[str, Any] = {}
    if task is not None:
        assign(settings, "env_options.task", task)
    for name, value in read_assignments(assignments, "env_options.resolution=64"):
        assign(settings, name, value)
    for name in settings:
        if name != "env_options":
            console.fail(f"unknown setting {name!r}; --set changes env_options, such as env_options.task=run")
    options = settings.get("env_options", {})
    if not isinstance(options, dict):
        console.fail(f"env_options must be a mapping of names to values, got {options!r}")
    return options
