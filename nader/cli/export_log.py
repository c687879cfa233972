"""`nader export-log`: whole runs in one file to keep or to send."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from nader.cli.output import clean, facts, number_of, print_json, size, stdout
from nader.portable import export_log as write
from nader.workspace import Workspace, find_run


def export_log(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help="Runs and forks; the newest if left out.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.", show_default="RUN.nader.zst")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every run, fork and library of the workspace.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Write runs into one portable file: JSON lines in zstd, with all they stand on (parents, libraries,
    blobs).

    `zstdcat FILE | head` shows what is in it, without nader. A run may be exported while it is running.
    """
    with Workspace.at(workspace).reader() as log:
        if everything:
            names = [info.name for info in log.branches()]
        else:
            names = [find_run(log, name).name for name in runs] if runs else [find_run(log).name]
        target = output or Path(f"{names[-1].replace('/', '-').replace(':', '-')}.nader.zst")
        contents = write(log, names, target)
    length = target.stat().st_size
    if as_json:
        print_json({"file": target, "bytes": length, "branches": contents.branches, "events": contents.events,
                    "blobs": contents.blobs, "acks": contents.acks})  # fmt: skip
        return
    rows = [
        (clean(b.name), f"{number_of(b.events, 'event')}, head {b.head.hash} at {b.head.position}")
        for b in contents.branches
    ]
    events = number_of(contents.events, "event")
    stdout().print(facts(rows))
    stdout().print(
        Text(f"wrote {clean(target)}: {events}, {number_of(contents.blobs, 'blob')}, {size(length)}"),
        soft_wrap=True,
    )
