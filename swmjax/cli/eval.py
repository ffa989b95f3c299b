"""`swmjax eval`: plan episodes and report how they go, and how fast."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swmjax.cli import console
from swmjax.cli.modules import AllowModule, import_allowed
from swmjax.cli.run import folder_of_run, keeping, print_written, settings_of_run

if TYPE_CHECKING:
    from swmjax.runs.folder import RunFolder
    from swmjax.world import EvalConfig

Optional = typer.Option
_PLANNING = "Planning"
_OUTPUT = "Output"


@console.command
def eval_command(
    env_id: Annotated[str | None, typer.Argument(metavar="ENV_ID", help="Environment; see `swmjax envs`.")] = None,
    model: Annotated[
        str | None,
        Optional(metavar="oracle|NAME_OR_PATH", help="The environment's own physics, or a checkpoint to plan with."),
    ] = None,
    config: Annotated[
        str | None, Optional(metavar="FILE", help="YAML of settings, or a shipped preset such as eval/pusht.yaml.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        Optional("--set", metavar="NAME=VALUE", help="Change any setting, e.g. solver.num_samples=1000; repeatable."),
    ] = None,
    problems: Annotated[
        Path | None,
        Optional(metavar="FILE", help="NPZ with recorded start and goal states; all of them without --episodes."),
    ] = None,
    variation: Annotated[
        list[str] | None,
        Optional(metavar="NAME", help="Factor of variation to sample, or a group of them, or all; repeatable."),
    ] = None,
    value: Annotated[
        list[str] | None,
        Optional(metavar="NAME=VALUE", help="Factor that is the same in every episode; repeatable."),
    ] = None,
    skip_solved: Annotated[
        bool, Optional("--skip-solved", help="Leave problems that are solved at the start out of the figures.")
    ] = False,
    allow_nonfinite: Annotated[
        bool, Optional("--allow-nonfinite", help="Plan with weights that are NaN or infinite.")
    ] = False,
    episodes: Annotated[int | None, Optional(help="Number of episodes.")] = None,
    seed: Annotated[int | None, Optional(help="Seed of the first episode; episode i has seed + i.")] = None,
    budget: Annotated[int | None, Optional(help="Environment steps per episode.")] = None,
    solver: Annotated[str | None, Optional(help="Solver by name.", rich_help_panel=_PLANNING)] = None,
    horizon: Annotated[int | None, Optional(help="Planner steps per plan.", rich_help_panel=_PLANNING)] = None,
    receding_horizon: Annotated[
        int | None, Optional(help="Planner steps executed before the next plan.", rich_help_panel=_PLANNING)
    ] = None,
    action_block: Annotated[
        int | None, Optional(help="Environment actions per planner step.", rich_help_panel=_PLANNING)
    ] = None,
    action_stats: Annotated[
        Path | None,
        Optional(help="JSON with action_mean and action_std of the training data.", rich_help_panel=_PLANNING),
    ] = None,
    output: Annotated[
        Path | None,
        Optional(help="Run folder, new or empty; results/<time>-<name> otherwise.", rich_help_panel=_OUTPUT),
    ] = None,
    resume: Annotated[
        Path | None, Optional(metavar="FOLDER", help="Finish an interrupted run.", rich_help_panel=_OUTPUT)
    ] = None,
    video: Annotated[bool, Optional(help="Make a video of a few episodes.", rich_help_panel=_OUTPUT)] = True,
    allow_module: AllowModule = None,
    as_json: Annotated[bool, Optional("--json", help="Print the results as JSON.", rich_help_panel=_OUTPUT)] = False,
) -> None:
    """Plan episodes and report how many succeed or what they return, and how fast.

    Without arguments: PushT, CEM through the environment's own physics, 20 episodes with reachable goals.
    """
    from swmjax import world
    from swmjax.runs.settings import read_assignments
    from swmjax.world.results import every_plan_failed
    from swmjax.world.rows import episodes_table

    changes = {
        "episodes": episodes,
        "seed": seed,
        "budget": budget,
        "solver.name": solver,
        "plan.horizon": horizon,
        "plan.receding_horizon": receding_horizon,
        "plan.action_block": action_block,
        "problems": None if problems is None else str(problems),
        "action_stats": None if action_stats is None else str(action_stats),
        "video_episodes": None if video else 0,
        "variation": variation,
        "values": dict(read_assignments(value, "agent.color=[255,0,0]", "--value")) if value else None,
        "skip_solved": True if skip_solved else None,
        "allow_nonfinite": True if allow_nonfinite else None,
    }

    def load() -> "EvalConfig":
        if problems is not None and episodes is None:
            changes["episodes"] = world.Recorded.read(problems, 0).count
        return world.load_settings(env_id, model, config, changes, set_ or (), console.note)

    given = [env_id, model, config, set_, output, *changes.values()]
    import_allowed(allow_module)
    settings, resumed = settings_of_run(world.EvalConfig, load, resume, output, given)
    setup = world.set_up(settings)
    table = episodes_table(settings.factors(setup.env))
    done = table.read(resumed.path) if resumed is not None and table.path(resumed.path).exists() else []
    folder = folder_of_run(settings, resumed, output, setup.env.remarks)
    for note in setup.notes:
        console.note(note)
    results = _run(settings, setup, folder, done)
    if as_json:
        console.print_json(results | {"folder": str(folder.path)})
    else:
        _report(results, folder, setup.env.remarks)
        for note in results["notes"][len(setup.notes) :]:
            console.note(note)
    if every_plan_failed(results):
        console.fail(
            f"all {results['plans']} plans failed, so these figures say nothing of {settings.model}: no candidate had "
            "a finite cost",
            1,
        )


def _run(settings: "EvalConfig", setup: Any, folder: "RunFolder", done: list[dict[str, Any]]) -> dict[str, Any]:
    from swmjax import world
    from swmjax.runs.interrupts import Stopped

    try:
        with (
            keeping(folder, "eval"),
            console.progress_bar(settings.episodes, "episodes", len(done)) as (progress, note),
        ):
            return world.evaluate(settings, setup, folder, done, progress, note)
    except Stopped as stop:
        console.fail(
            f"interrupted: {stop.done} of {settings.episodes} episodes are kept in {folder.path}; "
            f"finish with `swmjax eval --resume {folder.path}`",
            console.INTERRUPTED,
        )


def _report(results: dict[str, Any], folder: "RunFolder", remarks: Sequence[str]) -> None:
    latency, compiled = results["plan_latency_s"], results["compile_s"]
    rows = [
        *_figures(results),
        (
            "planning latency",
            "-  (every episode starts solved, so nothing was planned)"
            if latency is None
            else f"median {_seconds(latency['median'])}, p95 {_seconds(latency['p95'])}  "
            f"(one problem, warm, {latency['calls']} calls)",
        ),
        ("compile time", f"{_seconds(compiled['episodes'])}"),
        ("run time", f"{_seconds(results['run_s'])} for the episodes"),
        ("candidates scored", _rate(results["candidates_per_s"])),
        ("environment steps", f"{_rate(results['env_steps_per_s'])} in all, "
         f"{_rate(results['executed_env_steps_per_s'])} executed"),
        ("device", f"{results['device']}, {results['dtype']}"),
        *(("environment", remark) for remark in remarks),
    ]  # fmt: skip
    title = f"{results['env']}, model {results['model']}, solver {results['solver']}"
    console.print_facts(title, rows)
    print_written(folder)


def _figures(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Success and distance, or the return where the protocol plays whole episodes."""
    rows = []
    if results["success_rate"] is not None:
        low, high = results["success_interval_95"]
        of = f"({results['successes']} of {results['counted']} episodes)"
        rows += [
            ("success rate", f"{results['success_rate']:.1%}  {of}"),
            ("95 % interval", f"{low:.1%} to {high:.1%}  (Wilson)"),
        ]
    if results["protocol"] == "episodic" and results["mean_return"] is not None:
        interval = results["return_interval_95"]
        between = "of 1 episode" if interval is None else f"95 % interval {interval[0]:.4g} to {interval[1]:.4g}"
        rows.append(("mean return", f"{results['mean_return']:.4g}  ({between})"))
    if results["mean_final_distance"] is not None:
        rows.append(("mean final distance", f"{results['mean_final_distance']:.1f}"))
    return rows


def _seconds(value: float) -> str:
    return f"{value * 1e3:.1f} ms" if value < 1.0 else f"{value:.1f} s"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} per s"
