"""`nader diff`: where two runs part, and what each found."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from nader.audit import Diff, Side
from nader.audit import diff as compare
from nader.cli.candidates import became, candidate_json, figures_line
from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from nader.cli.output import clean, facts, heading, indented, print_json, short, stdout
from nader.cli.reading import open_run
from nader.cli.show import spent_text

_SHOWN = 20


def diff(
    run_a: Annotated[str, typer.Argument(metavar="RUN_A")],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    other: Annotated[
        Path | None,
        typer.Option("--other", help="Workspace of RUN_B.", show_default="the same"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show where two runs part: the last event they share, the settings that differ, the first decision
    that differs, and the candidates, best result and cost of each from there on.

    A candidate is told where it was proposed, designed, trained or given up after the parting. A history that
    was imported under another name is known again.
    """
    with ExitStack() as stack:
        a = stack.enter_context(open_run(workspace, run_a))
        b = stack.enter_context(open_run(other or workspace, run_b))
        folded = ((a.views, a.history), (b.views, b.history))
        found = compare((a.log, b.log), (a.name, b.name), folded)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(stdout(), found)


def _print(console: Console, diff: Diff) -> None:
    a, b = diff.sides
    where = f"share their history up to position {diff.shared}" if diff.shared else "share no history"
    console.print(Text.assemble((clean(a.run), "bold"), " and ", (clean(b.run), "bold"), f" {where}"))
    keys = list(dict.fromkeys([*a.settings, *b.settings]))
    if keys:
        console.print(heading("\nSettings that differ"))
        console.print(
            facts(
                (key, f"{short(a.settings.get(key), 60)}  |  {short(b.settings.get(key), 60)}")
                for key in keys
            )
        )
    if diff.first is not None:
        first = diff.first
        console.print(heading("\nFirst decision that differs"))
        at = " and ".join(map(str, first.positions))
        indented(
            console,
            Text(f"{clean(first.type)} of {clean(first.actor)}, at positions {at}, in {clean(first.path)}"),
            2,
        )
        for side, value in zip(diff.sides, first.values, strict=True):
            indented(console, Text(f"{clean(side.run)}: {short(value, 300)}"), 4)
    for side in diff.sides:
        _print_side(console, side)
    if diff.same_designs:
        console.print(heading("\nThe same designs in both"))
        indented(
            console, Text(", ".join(f"{clean(one)} = {clean(other)}" for one, other in diff.same_designs)), 2
        )


def _print_side(console: Console, side: Side) -> None:
    console.print(heading(f"\n{clean(side.run)}, designed by {clean(side.designer)}"))
    rows: list[tuple[str, Any]] = [("events since", str(side.events)), ("cost since", spent_text(side.spent))]
    if side.best is not None:
        rows.append(("best", Text.assemble((clean(side.best.id), "cyan"), "  ", figures_line(side.best))))
    console.print(facts(rows))
    for candidate in side.candidates[:_SHOWN]:
        said = Text.assemble((f"{clean(candidate.id):<7}", "cyan"), became(candidate))
        indented(console, said.append(f"  {short(candidate.suggestion, 80)}", style="dim"), 2)
    if len(side.candidates) > _SHOWN:
        console.print(Text(f"  … {len(side.candidates) - _SHOWN} more", style="dim"))


def _as_json(diff: Diff) -> dict[str, Any]:
    return {
        "shared": diff.shared,
        "first_decision": diff.first,
        "same_designs": diff.same_designs,
        "runs": [
            {
                "run": side.run,
                "designer": side.designer,
                "events": side.events,
                "settings": side.settings,
                "best": side.best and candidate_json(side.best, best=side.best.id),
                "candidates": [
                    candidate_json(candidate, best=side.best.id if side.best else None)
                    for candidate in side.candidates
                ],
                "spent": side.spent,
            }
            for side in diff.sides
        ],
    }
