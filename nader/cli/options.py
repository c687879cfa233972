"""Arguments and options that several commands share, each defined once."""

from pathlib import Path
from typing import Annotated

import typer

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
