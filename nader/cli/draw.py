"""`nader draw`: a block as a picture."""

import re
from pathlib import Path
from typing import Annotated

import typer

from nader.cli.blockfiles import read_text
from nader.cli.files import write_text
from nader.cli.output import clean, stderr
from nader.errors import WorkspaceError
from nader.graph import Block, BlockError, parse_all, to_svg


def draw(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Block file; `-` reads standard input.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="SVG",
            help="File to write; `-` prints it.",
            show_default="the file's name with .svg",
        ),
    ] = None,
    block: Annotated[
        str | None, typer.Option("--block", "-b", help="Draw only the block of this name.")
    ] = None,
) -> None:
    """Draw a block as SVG: nodes in layers from input to output, sources of each edge above its target.

    A file of several blocks gives one picture for each, named after the block. No other program is needed.
    """
    try:
        blocks = _chosen(parse_all(read_text(file)), block)
    except BlockError as error:
        raise WorkspaceError(f"{file}: {error}") from None
    if output is not None and str(output) == "-":
        print("\n".join(to_svg(one) for one in blocks))
        return
    base = output or Path("block.svg" if str(file) == "-" else f"{file.stem}.svg")
    for one in blocks:
        target = (
            base
            if len(blocks) == 1
            else base.with_name(f"{base.stem}-{_file_name(one.name)}{base.suffix or '.svg'}")
        )
        write_text(target, to_svg(one))
        stderr().print(f"wrote {clean(target)}")


def _chosen(blocks: tuple[Block, ...], name: str | None) -> tuple[Block, ...]:
    if name is None:
        return blocks
    chosen = tuple(block for block in blocks if block.name == name)
    if not chosen:
        there = ", ".join(block.name for block in blocks)
        raise typer.BadParameter(f"the file holds no block {name!r}; it holds {there}")
    return chosen


def _file_name(name: str) -> str:
    """A block's name as part of a file name: it comes from a model, and could name a path."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:60] or "block"
