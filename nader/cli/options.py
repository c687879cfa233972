"""Arguments and options that several commands share, each defined once."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from nader.cli.output import clean
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
        help="As of then: a position, a candidate (its last event), CANDIDATE:STAGE, `best`, `head`, or a "
        "time: 2026-03-01T14:30, 2026-03-01, or 14:30 of the day of the last event.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change one setting, such as search.width=5; may be repeated."
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Chat model: short for --set llm.model=… --set llm.backend=openai."),
]


def quoted(value: str | None) -> str | None:
    """A text as `key=value` takes it, whatever it looks like."""
    return None if value is None else "'" + value.replace("'", "") + "'"


def in_workspace(path: Path) -> str:
    """The option that names a workspace, for a command to copy; empty for the default one."""
    return "" if path == DEFAULT_WORKSPACE else f" -w {clean(shlex.quote(str(path)))}"


def with_model(sets: Sequence[str] | None, model: str | None) -> list[str]:
    """What `--set` and `--model` change: a model that is named is asked, unless `--set` says who answers."""
    changes = [*(sets or [])]
    if model is None:
        return changes
    said = any(change.split("=")[0].strip() == "llm.backend" for change in changes)
    return [*changes, f"llm.model={quoted(model)}", *([] if said else ["llm.backend=openai"])]


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
