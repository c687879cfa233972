"""`nader why`: the causes of a candidate, up to the campaign's start."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from nader.audit import Why
from nader.audit import why as find_why
from nader.cli.candidates import became, candidate_json, figures_line
from nader.cli.log import Days, event_json, event_line
from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, RunOption, WorkspaceOption
from nader.cli.output import clean, facts, heading, indented, print_json, stdout
from nader.cli.reading import Run, open_run
from nader.cli.show import spent_text


def why(
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help="Its name, `best` or `base`.")],
    run: RunOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Say why a candidate was made: its parents, its idea and the paper it comes from, its causes, its cost.

    The chain of causes runs from the event that proposed it, each event caused by the next, to the first
    of the log. `nader log --from N --to N --full` shows any of them whole.
    """
    with open_run(workspace, run) as opened:
        found = find_why(opened.views, opened.history, opened.candidate(candidate))
        if as_json:
            print_json(_as_json(opened, found))
        else:
            _print(stdout(), found)


def _print(console: Console, why: Why) -> None:
    base = why.ancestors[-1] if why.ancestors else why.candidate
    console.print(Text.assemble((clean(why.candidate.id), "bold cyan"), "  ", became(why.candidate, base)))
    rows: list[tuple[str, Any]] = []
    if why.candidate.failed:
        rows.append(("reason", clean(why.candidate.reason)))
    if why.candidate.suggestion:
        rows.append(("idea", clean(why.candidate.suggestion)))
    if why.inspiration is not None:
        row = why.inspiration
        place = f", section {clean(row.section)}" if row.section else ""
        place += f", page {row.page}" if row.page else ""
        rows.append(("inspiration", f"{clean(row.id)}: {clean(row.text)}"))
        rows.append(("paper", f"{clean(row.title)} ({row.year or 'no year'}), {clean(row.ref)}{place}"))
    elif why.candidate.paper:
        rows.append(("paper", clean(why.candidate.paper)))
    rows.append(("cost", spent_text(why.spent)))
    console.print(facts(rows))
    if why.ancestors:
        console.print(heading("\nMade from"))
        for above in why.ancestors:
            indented(console, Text.assemble((clean(above.id), "cyan"), "  ", figures_line(above, base)), 2)
    console.print(heading("\nCauses"))
    deciding = [event for event in (why.parent_chosen, why.ranked) if event is not None]
    days = Days()
    for event in sorted({event.position: event for event in (*why.chain, *deciding)}.items(), reverse=True):
        days.tell(console, event[1])
        console.print(event_line(event[1]), soft_wrap=not console.is_terminal)


def _as_json(run: Run, why: Why) -> dict[str, Any]:
    inspiration, chosen = why.inspiration, run.views.best(run.upto)
    best = chosen.id if chosen else None
    return {
        "run": run.name,
        "candidate": candidate_json(why.candidate, best=best),
        "ancestors": [candidate_json(above, best=best) for above in why.ancestors],
        "inspiration": inspiration
        and {
            name: getattr(inspiration, name)
            for name in ("id", "text", "title", "year", "ref", "section", "page")
        },
        "parent_chosen": why.parent_chosen and event_json(why.parent_chosen),
        "ranked": why.ranked and event_json(why.ranked),
        "chain": [event_json(event) for event in why.chain],
        "spent": why.spent,
    }
