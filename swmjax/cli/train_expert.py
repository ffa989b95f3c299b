"""`swmjax train-expert`: train a policy that solves a task, to collect datasets with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swmjax.cli import console
from swmjax.cli.modules import AllowModule, import_allowed
from swmjax.cli.run import check_output, folder_of_run, keeping, print_written, settings_of_run

if TYPE_CHECKING:
    from swmjax.runs.folder import RunFolder
    from swmjax.training import ExpertConfig

Optional = typer.Option
_OUTPUT = "Output"


@console.command
def train_expert_command(
    env_id: Annotated[str | None, typer.Argument(metavar="ENV_ID", help="Environment; see `swmjax envs`.")] = None,
    task: Annotated[str | None, Optional(help="Task of the environment: short for env_options.task.")] = None,
    algorithm: Annotated[str | None, Optional(metavar="sac|ppo", help="Learning algorithm.")] = None,
    steps: Annotated[int | None, Optional(help="Environment steps, rounded up to whole epochs.")] = None,
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
    allow_module: AllowModule = None,
    as_json: Annotated[bool, Optional("--json", help="Print the results as JSON.", rich_help_panel=_OUTPUT)] = False,
) -> None:
    """Train an expert with SAC or PPO; collect datasets with it by `swmjax collect`."""
    from swmjax import training
    from swmjax.training.experts.brax import brax_parts

    changes = {"env_options.task": task, "algorithm.name": algorithm, "steps": steps, "seed": seed}

    def load() -> "ExpertConfig":
        return training.load_expert_settings(env_id, config, changes, set_ or (), console.note)

    given = [env_id, config, set_, output, *changes.values()]
    import_allowed(allow_module)
    settings, resumed = settings_of_run(training.ExpertConfig, load, resume, output, given)
    brax_parts()
    remarks = settings.remarks()
    if resumed is None:
        check_output(output)
        with console.progress_bar(settings.probe_steps, "random steps", decimals=0) as (progress, note):
            training.check_reward(settings, progress, note)
    folder = folder_of_run(settings, resumed, output, remarks)
    console.quiet_saving()
    with keeping(folder, "train-expert"):
        results = _run(settings, folder, probed=resumed is None)
        folder.write_results(results)
    if as_json:
        console.print_json(results | {"folder": str(folder.path)})
    else:
        _report(settings, results, folder)


def _run(settings: "ExpertConfig", folder: "RunFolder", *, probed: bool) -> dict[str, Any]:
    from swmjax import training
    from swmjax.runs.interrupts import Stopped

    total = settings.trained_steps
    try:
        with console.progress_bar(total, "steps", decimals=0) as (progress, note):
            return training.train_expert(settings, folder.path, progress, note, probed=probed)
    except Stopped as stop:
        console.fail(
            f"interrupted: the state after {stop.done:,} of {total:,} steps is kept in {folder.path}; "
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
        *(("environment", remark) for remark in settings.make_env().env.remarks),
    ]  # fmt: skip
    console.print_facts(f"{results['env']}, {results['algorithm']}", rows)
    print_written(folder)
    task = settings.env_options.get("task")
    option = "" if task is None else f"--task {task} "
    hint = f"swmjax collect {settings.env} {option}--policy {folder.path} --output {folder.path.name}.lance"
    console.out().print(f"collect with: {hint}", highlight=False, markup=False)
