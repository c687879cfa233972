"""`nader verify`: proof that a log is whole, and that a run is what the agents do."""

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from nader.attached import AttachedLibrary
from nader.cli.failures import INVALID
from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, RunArgument, WorkspaceOption, kept_head
from nader.cli.output import clean, duration, facts, heading, indented, number_of, print_json, short, stdout
from nader.proof import VerifyReport
from nader.proof import verify as prove
from nader.workspace import LIBRARY, Workspace
from store import Reader

_SHOWN = 5


def verify(
    run: RunArgument = None,
    head: Annotated[
        str | None,
        typer.Option(
            "--head", metavar="HASH", help="The head hash (or its first 12 digits) as it was kept elsewhere."
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Check the hash chain of a run, then run every agent again from the log and compare each decision.

    Needs no model, no key, no network, no GPU and no data. It shows an event that was changed, taken out
    or put in, and code, prompts or rules that would decide otherwise now. It cannot show a tail that was
    cut off, unless you kept the head hash that ends every run: give it with `--head`. A head that was kept
    before the run went on proves the log up to there. Exit status 1 on any difference.
    """
    head = kept_head(head)
    with Workspace.at(workspace).reader() as log:
        report = asyncio.run(prove(log, run))
        kept = None if head is None else _position_of(log, report, head)
    ok = report.ok and (head is None or kept is not None)
    if as_json:
        print_json(_as_json(report, head, kept, ok))
    else:
        _print(stdout(), report, head, kept, ok)
    if not ok:
        raise typer.Exit(INVALID)


def _position_of(log: Reader, report: VerifyReport, head: str) -> int | None:
    """The newest position whose hash begins so; None where there is none."""
    now = report.chain.head
    if now.hash.startswith(head):
        return now.position
    return max((e.position for e in log.read(report.run) if e.hash.startswith(head)), default=None)


def _print(console: Console, report: VerifyReport, head: str | None, kept: int | None, ok: bool) -> None:
    chain = report.chain
    good, bad = ("holds", "green"), ("is broken", "bold red")
    rows: list[tuple[str, Any]] = [("run", clean(report.run))]
    rows.append(("hash chain", Text.assemble(good if chain.ok else bad, f" over {chain.events} events")))
    if not chain.ok:
        rows.append(("", Text(clean(chain.detail), style="red")))
    if chain.ok:
        rows.append(("decisions", _decisions(report)))
    rows += [("library" if n == 0 else "", _library(one)) for n, one in enumerate(report.libraries)]
    rows += [("head", chain.head.hash), ("", f"at position {chain.head.position}")]
    if head is not None:
        rows.append(("kept head", _kept(head, kept, chain.head.position)))
    rows.append(("took", duration(report.seconds)))
    console.print(facts(rows))
    for difference in report.differences[:_SHOWN]:
        console.print(
            heading(f"\n{difference.kind}: {clean(difference.event_type)} of {clean(difference.actor)}")
        )
        indented(console, Text(clean(difference.sentence())), 2)
        if difference.kind == "changed":
            for name, value in (("recorded", difference.recorded), ("computed", difference.computed)):
                indented(console, Text(f"{name}: {short(_text(value), 300)}"), 2)
        indented(console, Text(f"caused by: {' ← '.join(map(clean, difference.causes))}", style="dim"), 2)
    if len(report.differences) > _SHOWN:
        console.print(f"… and {len(report.differences) - _SHOWN} more; --json has them all")
    console.print(Text("\nverified" if ok else "\nnot verified", style="bold green" if ok else "bold red"))


def _kept(head: str, kept: int | None, end: int) -> Text:
    if kept is None:
        said = f"{clean(head)} is no event of this run: the log was cut off or rewritten, or it is another's"
        return Text(said, style="red")
    if kept == end:
        return Text("is the head", style="green")
    return Text(f"stands at position {kept}; {number_of(end - kept, 'event')} came after it", style="green")


def _decisions(report: VerifyReport) -> Text:
    said = Text(f"{number_of(report.handlers, 'handling')} run again, ")
    number = len(report.differences)
    said.append(f"{number} differ" if number else "all as recorded", style="red" if number else "green")
    if report.unfinished:
        said.append(f"; {report.unfinished} {'was' if report.unfinished == 1 else 'were'} not finished")
    if report.failed:
        said.append(f"; {report.failed} had failed for good")
    return said


def _library(library: AttachedLibrary) -> Text:
    said = Text(f"{clean(library.name.removeprefix(LIBRARY))} as of its position {library.at}: ")
    if not library.ok:
        return said.append("is not what the run took in", style="red")
    if library.recorded:
        return said.append("is what the run took in", style="green")
    said.append("its chain holds", style="green")
    return said.append("; which hash it had, runs of before did not record")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _as_json(report: VerifyReport, head: str | None, kept: int | None, ok: bool) -> dict[str, Any]:
    chain = report.chain
    return {
        "run": report.run,
        "ok": ok,
        "events": chain.events,
        "chain": {"ok": chain.ok, "broken": chain.broken, "position": chain.position, "detail": chain.detail},
        "head": {
            "position": chain.head.position, "hash": chain.head.hash, "expected": head,
            "expected_position": kept,
        },
        "handlers": report.handlers,
        "unfinished": report.unfinished,
        "failed": report.failed,
        "libraries": [
            {
                "library": one.name, "at": one.at, "ok": one.ok, "recorded": one.recorded or None,
                "hash": one.chain.head.hash,
            }
            for one in report.libraries
        ],
        "differences": [
            {
                "position": d.position, "actor": d.actor, "type": d.event_type, "kind": d.kind,
                "path": d.path,
                "recorded": d.recorded, "computed": d.computed, "causes": d.causes,
            }
            for d in report.differences
        ],
        "seconds": report.seconds,
    }  # fmt: skip
