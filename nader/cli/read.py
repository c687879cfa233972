"""`nader read`: papers become a library of inspirations that many campaigns share."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from events import Envelope
from nader.caps import cap_reached
from nader.cli.failures import INVALID
from nader.cli.log import event_line
from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, SetOption, WorkspaceOption, in_workspace
from nader.cli.output import clean, count, facts, money, number_of, print_json, stderr, stdout
from nader.cli.show import spent_text
from nader.effect import READ, require_effect
from nader.ground import resolve_backend
from nader.library import Plan, ReadingReport, look_up
from nader.library import plan as make_plan
from nader.library import read as read_source
from nader.literature.sources import FORMS
from nader.settings import load_settings, named_keys
from nader.workspace import LIBRARY, Workspace, require_name

_WATCHED = frozenset(
    {"PaperFinished", "PaperTextFailed", "InspirationRecorded", "ChatFailed", "HandlerFailed"}
)


def read(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help=f"{FORMS}, or a JSON list of inspirations.")
    ],
    library: Annotated[
        str, typer.Option("--library", "-l", help="Library to read into; it is made or gone on with.")
    ] = "papers",
    maximum: Annotated[
        int, typer.Option("--max", min=1, help="Papers to take from the source at most.")
    ] = 50,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show how much there is, and about what it would cost.")
    ] = False,
    everything: Annotated[
        bool,
        typer.Option(
            "--everything", help="Of a list of inspirations, enter also those that do not speak of blocks."
        ),
    ] = False,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Settings (model, limits, budget) from a TOML file.")
    ] = None,
    sets: SetOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Read papers, or import a list, into a library of inspirations with the paper, section and page of each.

    Abstracts are judged, PDFs are read to their method section, ideas are extracted, near-duplicates
    merged. Stop it at any time: the same command goes on, and no paper is read twice. A campaign uses it
    with `nader run --set 'search.library=["papers"]'`. The text of a paper is only ever quoted to a model;
    nothing in it is obeyed.
    """
    settings, place = resolve_backend(load_settings(file, None, sets or [])), Workspace.at(workspace)
    require_effect(named_keys(sets or []), settings, READ)
    require_name(library, "library")
    offer = look_up(place, source, library, maximum)
    planned = make_plan(place, source, library, settings, maximum, offer)
    if not as_json:
        _print_plan(stdout(), planned)
    if dry_run:
        if as_json:
            print_json({"plan": planned, "report": None})
        return
    watch = _watcher(stderr(), planned.papers - planned.known)
    report = asyncio.run(
        read_source(
            place, source, library, settings, maximum, offer=offer, filtered=not everything, watch=watch
        )
    )
    if as_json:
        print_json({"plan": planned, "report": report})
    else:
        _print_report(stdout(), report, in_workspace(place.path))
    if not report.whole:
        raise typer.Exit(INVALID)


def _watcher(console: Console, papers: int) -> Callable[[Envelope], None]:
    """Prints what a reading brings, as it comes, and how many of its papers are done; an import brings
    thousands at once and is not told one by one."""
    done = 0

    def watch(envelope: Envelope) -> None:
        nonlocal done
        if envelope.type in _WATCHED and envelope.actor != "operator":
            line = event_line(envelope)
            if envelope.type == "PaperFinished":
                done += 1
                line.append(f"  {done}/{max(papers, done)}", style="bold")
            console.print(line, soft_wrap=not console.is_terminal)

    return watch


def _print_plan(console: Console, plan: Plan) -> None:
    cost = "price not known" if plan.money is None else money(plan.money)
    took = f"{number_of(plan.calls, 'question')}, {count(plan.tokens)} tokens, {cost}"
    if plan.inspirations:
        how = f"imported without a chat model; about {took}" if plan.calls else "imported without a model"
        console.print(Text(f"{clean(plan.source)}: {plan.inspirations} entries, {how}"))
        return
    new = plan.papers - plan.known
    console.print(
        facts(
            [
                ("source", clean(plan.source)),
                ("papers", f"{plan.papers}, of which {plan.known} are read already"),
                ("about", f"{took}, if all {new} are relevant" if new else "nothing to do"),
            ]
        )
    )


def _print_report(console: Console, report: ReadingReport, where: str) -> None:
    failed = ", ".join(f"{number} {kind}" for kind, number in sorted(report.failed.items()))
    rows = [
        ("library", clean(report.library)),
        ("inspirations", f"{report.entered} entered, {report.merged} merged into ones that say the same"),
    ]
    if report.papers:
        rows.append(
            (
                "papers",
                f"{report.papers}, {report.relevant} relevant{f'; no text: {failed}' if failed else ''}",
            )
        )
    if report.unanswered:
        owed = ", ".join(f"{number} {clean(kind)}" for kind, number in sorted(report.unanswered.items()))
        said = f"{number_of(sum(report.unanswered.values()), 'paper')} got no answer or no text: {owed}; "
        rows.append(("to do", f"{said}the same command asks again"))
    if (left := report.papers - report.finished - sum(report.unanswered.values())) > 0:
        key = cap_reached(report.ending.reason)
        raised = f" with --set {key}=…" if key else ""
        rows.append(("to do", f"{number_of(left, 'paper')} not read yet; the same command goes on{raised}"))
    if report.irrelevant:
        rows.append(
            ("left out", f"{report.irrelevant} that do not speak of blocks; --everything enters them")
        )
    rows.append(("cost", spent_text(report.spent)))
    rows.append(("ended", f"{report.ending.kind}: {clean(report.ending.reason)}"))
    rows.append(("stands at", f"position {report.position} of {clean(LIBRARY + report.library)}"))
    console.print(facts(rows))
    if report.entered:
        use = f"""nader run --set 'search.library=["{clean(report.library)}"]'{where}"""
        console.print(Text(f"use it: {use}", style="dim"), soft_wrap=True)
