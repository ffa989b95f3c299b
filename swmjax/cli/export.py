"""`swmjax export`: a checkpoint of swmjax becomes one of the reference."""

from typing import Annotated, Literal

import typer

from swmjax.cli.console import command, note, out, print_json


@command
def export_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Checkpoint; see `swmjax checkpoints`.")],
    dest: Annotated[str, typer.Argument(metavar="DEST", help="Folder to write; it must not exist yet.")],
    transformers: Annotated[
        int | None,
        typer.Option(
            metavar="4|5", min=4, max=5, help="Version of transformers to name tensors for; as they came if not given."
        ),
    ] = None,
    allow_nonfinite: Annotated[
        bool, typer.Option("--allow-nonfinite", help="Export weights that are NaN or infinite.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Export a checkpoint as config.json and weights.pt, for the reference's load_pretrained.

    Names are relative to $STABLEWM_HOME/checkpoints, unless they begin with / or a dot.
    """
    from swmjax.checkpoints import export_pretrained, load_checkpoint, read_state_dict

    version: Literal[4, 5] | None = None if transformers is None else 4 if transformers == 4 else 5
    loaded = load_checkpoint(name, allow_nonfinite=allow_nonfinite, note=note)
    folder = export_pretrained(loaded, dest, transformers=version)
    tensors = read_state_dict(folder / "weights.pt")
    if as_json:
        print_json({"source": name, "destination": str(folder), "tensors": len(tensors)})
    else:
        out().print(f"Exported {len(tensors)} tensors to {folder}", markup=False, highlight=False)
