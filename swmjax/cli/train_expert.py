"""`swmjax train-expert`: train a policy that solves a task, to collect datasets with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swmjax.cli import console

if TYPE_CHECKING:
    from swmjax.training import ExpertConfig
    from swmjax.world import RunFolder

Optional = typer.Option
_OUTPUT = "Output"


@console.command
def train_expert_command(
    env_id: Annotated[str | None, typer.Argument(metavar="ENV_ID", help="Environment; see `swmjax envs`.")] = None,
    task: Annotated[str | None, Optional(help="Task of the environment: short for env_options.task.")] = None,
    algorithm: Annotated[str | None, Optional(metavar="sac|ppo", help="Learning algorithm.")] = None,
    steps: Annotated[int | None, Optional(help="Environment steps of the training.")] = None,
    config: Annotated[
        str | None, Optional(metavar="FILE", help="YAML of settings, or a shipped preset such as expert/cartpole.yaml.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        Optional("--set", metavar="NAME=VALUE", help="Change any setting, e.g. algorithm.batch_size=512; repeatable."),
    ] = None,
    seed: Annotated[int | None, Optional(help="Seed of the training.")] = None,
    output: Annotated[
        Path | None,
        Optional(help="Run folder, new or empty; results/<time>-<name> otherwise.", rich_help_panel=_OUTPUT),
    ] = None,
    resume: Annotated[
        Path | None, Optional(metavar="FOLDER", help="Go on with an interrupted run.", rich_help_panel=_OUTPUT)
    ] = None,
    as_json: Annotated[bool, Optional("--json", help="Print the results as JSON.", rich_help_panel=_OUTPUT)] = False,
) -> None:
    """Train an expert with SAC or PPO; collect datasets with it by `swmjax collect`."""
    from swmjax import training, world
    from swmjax.training.brax_parts import brax_parts

    changes = {"env_options.task": task, "algorithm.name": algorithm, "steps": steps, "seed": seed}
    if resume is not None:
        if any(value is not None for value in [env_id, config, set_, output, *changes.values()]):
            console.fail("--resume takes its settings from the run folder; give it without other settings")
        folder = world.RunFolder(resume)
        settings = training.ExpertConfig.from_dict(folder.read_config())
        if folder.complete:
            console.fail(f"{resume}: this run is complete, nothing is left to resume")
    else:
        settings, folder = training.load_expert_settings(env_id, config, changes, set_ or ()), None
    brax_parts()
    settings.make_task()
    if folder is None:
        name = f"{settings.env.rsplit('/', 1)[-1]}-{settings.env_options.get('task', '')}-{settings.algorithm['name']}"
        path = world.create_run_folder(Path("results"), name) if output is None else world.explicit_run_folder(output)
        folder = world.RunFolder(path)
        folder.write_config(settings.to_dict())
    results = _run(settings, folder)
    folder.write_results(results)
    if as_json:
        console.print_json(results | {"folder": str(folder.path)})
    else:
        _report(settings, results, folder)


def _run(settings: "ExpertConfig", folder: "RunFolder") -> dict[str, Any]:
    from swmjax import training

    def note(text: str) -> None:
        console.err().print(f"[yellow]note:[/] {text}", highlight=False)

    total = settings.epochs * settings.steps_per_epoch
    try:
        with console.progress_bar(total, "steps", decimals=0) as progress:
            return training.train_expert(settings, folder.path, progress, note)
    except training.Stopped as stop:
        console.fail(
            f"interrupted: the state after {stop.steps:,} of {total:,} steps is kept in {folder.path}; "
            f"go on with `swmjax train-expert --resume {folder.path}`",
            console.INTERRUPTED,
        )
    except KeyboardInterrupt:
        console.fail(
            f"interrupted before the first state; begin again with `swmjax train-expert --resume {folder.path}`",
            console.INTERRUPTED,
        )


def _report(settings: "ExpertConfig", results: dict[str, Any], folder: "RunFolder") -> None:
    rate = results["steps"] / results["train_s"] if results["train_s"] else 0.0
    rows = [
        ("best return", f"{results['best_return']:.1f}  (after {results['best_steps']:,} steps; kept as the expert)"),
        ("final return", f"{results['final_return']:.1f}"),
        ("random actions", f"{results['random_return']:.1f}"),
        ("steps", f"{results['steps']:,} of the environment, {results['updates']:,} of the gradient"),
        ("time", f"{results['train_s']:.0f} s of training ({rate:,.0f} steps per s), "
         f"{results['compile_s']:.0f} s of compiling"),
        ("device", results["device"]),
    ]  # fmt: skip
    console.print_facts(f"{results['env']}, {results['algorithm']}", rows)
    files = sorted(path.name for path in folder.path.iterdir() if not path.name.startswith("."))
    console.out().print(f"written to {folder.path}: {', '.join(files)}", highlight=False, markup=False)
    task = settings.env_options.get("task")
    option = "" if task is None else f"--task {task} "
    hint = f"swmjax collect {settings.env} {option}--policy {folder.path} --output {folder.path.name}.lance"
    console.out().print(f"collect with: {hint}", highlight=False, markup=False)
