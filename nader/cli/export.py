"""`nader export`: a candidate's blocks and its network as files to take away."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from nader.cli.files import write_text
from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, RunOption, WorkspaceOption
from nader.cli.output import clean, print_json, stdout
from nader.cli.reading import Run, open_run
from nader.cli.show import design_text
from nader.errors import WorkspaceError
from nader.graph import Design
from nader.network import Skeleton, export_onnx, get_skeleton, to_source
from store.projections.tree import Candidate


def export(
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help="Its name, `best` or `base`.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder to write to.", show_default="the candidate's name"
        ),
    ] = None,
    run: RunOption = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write an ONNX file too (extra `onnx`).")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Write a candidate's blocks (`blocks.txt`) and its network (`model.py`), which runs with torch alone.

    The Python file is readable source with no import of nader; weights are those of a fresh initialisation.
    """
    with open_run(workspace, run) as opened:
        chosen = opened.candidate(candidate)
        text = design_text(opened, chosen)
        if text is None or chosen.width is None:
            raise WorkspaceError(
                f"{chosen.id} has no design to export: {chosen.reason or chosen.stage.value}"
            )
        skeleton, classes = _frame(opened)
        folder = output or Path(_folder_name(chosen))
        design, width = Design.from_text(text), chosen.width
        files = [folder / "blocks.txt", folder / "model.py"]
        write_text(files[0], text if text.endswith("\n") else f"{text}\n")
        write_text(files[1], to_source(design, skeleton, width, classes))
        if onnx:
            files.append(folder / "model.onnx")
            export_onnx(design, skeleton, width, classes, files[-1])
    if as_json:
        print_json({"run": opened.name, "candidate": chosen.id, "folder": folder, "files": files})
        return
    for file in files:
        stdout().print(Text(f"wrote {clean(file)}"), soft_wrap=True)
    stdout().print(Text(f"try: python {clean(files[1])}", style="dim"), soft_wrap=True)


def _frame(run: Run) -> tuple[Skeleton, int]:
    """The skeleton that the run puts its cells in, for its data's images, and the number of classes."""
    ground = run.views.status.ground(run.upto)
    name = run.views.status.settings(run.upto)["training"]["skeleton"]
    return get_skeleton(name).for_image(*ground.image), ground.classes


def _folder_name(candidate: Candidate) -> str:
    """A candidate's name as a folder: letters, digits and dashes only."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in candidate.id)
