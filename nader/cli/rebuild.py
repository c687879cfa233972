"""`nader rebuild`: proof that a run's state is a fold of its log, and of nothing else."""

from typing import Annotated

import typer
from rich.text import Text

from nader.cli.failures import INVALID
from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, RunArgument, WorkspaceOption
from nader.cli.output import clean, duration, facts, print_json, stdout
from nader.proof import rebuild as prove
from nader.workspace import Workspace


def rebuild(
    run: RunArgument = None,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="Positions at which states are compared.")
    ] = 8,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Fold a run from zero and compare: the state asked *as of* a position equals a fold of only the
    events up to it.

    Nothing is stored beside the log, so there is nothing to repair; this shows that it is so. Exit status
    1 if not.
    """
    with Workspace.at(workspace).reader() as log:
        report = prove(log, run, samples)
    if as_json:
        print_json({"ok": report.ok, **vars(report)})
    else:
        console = stdout()
        rate = report.events / report.seconds if report.seconds else 0.0
        console.print(
            facts(
                [
                    ("run", clean(report.run)),
                    (
                        "events",
                        f"{report.events}, in {duration(report.seconds)} ({rate:,.0f} events a second)",
                    ),
                    ("compared at", ", ".join(map(str, report.positions))),
                ]
            )
        )
        for mismatch in report.mismatches:
            console.print(Text(clean(mismatch), style="red"))
        said = "state from zero equals state kept up" if report.ok else "states differ"
        console.print(Text(said, style="bold green" if report.ok else "bold red"))
    if not report.ok:
        raise typer.Exit(INVALID)
