"""Arguments and options that several commands share, each defined once."""

import re
from pathlib import Path
from typing import Annotated

import typer

from nader.errors import WorkspaceError

DEFAULT_WORKSPACE = Path("nader-workspace")

WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace",
        "-w",
        envvar="NADER_WORKSPACE",
        help="Folder that holds the log, the trainings and the data.",
        show_default=str(DEFAULT_WORKSPACE),
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON with stable keys (see docs/commands.md).")
]
RunArgument = Annotated[
    str | None, typer.Argument(metavar="RUN", help="Run or fork; the newest if left out.")
]
RunOption = Annotated[str | None, typer.Option("--run", "-r", help="Run or fork; the newest if left out.")]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="POSITION",
        help="As of then: a position, a candidate (its last event), CANDIDATE:STAGE, a time, `best`, `head`.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change one setting, such as search.width=5; may be repeated."
    ),
]


def kept_head(words: str | None) -> str | None:
    """The head hash (or its first digits) that `--head` gives, in small letters.

    Raises `WorkspaceError` where it is too short to prove anything.
    """
    if words is None:
        return None
    head = words.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{12,64}", head):
        raise WorkspaceError(
            f"{words!r} is no head hash: give at least the first 12 of its 64 hexadecimal digits, "
            "as the run's end printed them"
        )
    return head
