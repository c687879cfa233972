"""`nader cost`: what a run has spent, by agent, by model and by candidate."""

from itertools import zip_longest

from rich.console import Console
from rich.text import Text

from events.training import RetrainingRecorded
from nader.cli.options import DEFAULT_WORKSPACE, AtOption, JsonOption, RunArgument, WorkspaceOption
from nader.cli.output import clean, count, duration, money, number_of, print_json, print_table, stdout, table
from nader.cli.reading import Run, open_run
from nader.cli.show import stopped_text
from nader.workspace import LIBRARY
from store.projections.ledger import Totals


def cost(
    run: RunArgument = None,
    at: AtOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Show what a run, or `library:NAME`, has spent: questions, tokens, money and training time, by agent, by
    model, by candidate.

    What `nader retrain` trained is told apart, and counts against no cap.

    Calls to a model whose price is not known are counted, and named beside the sum of the others. What a
    server may have charged for tries of which it said nothing is told at its most, and counts against caps.
    """
    with open_run(workspace, run, at) as opened:
        if as_json:
            print_json(_as_json(opened))
        else:
            _print(stdout(), opened)


def _as_json(run: Run) -> dict[str, object]:
    ledger, upto = run.views.ledger, run.upto
    return {
        "run": run.name,
        "position": run.position,
        "designer": run.views.status.designer(upto),
        "total": ledger.totals(upto),
        "agents": ledger.by_agent(upto),
        "models": ledger.by_model(upto),
        "candidates": ledger.by_candidate(upto),
        "retrained": _retrained(run),
        "open": ledger.open_requests(upto),
    }


def _retrained(run: Run) -> dict[str, dict[str, float]]:
    """Of each candidate, the trainings of `nader retrain` that were no earlier training's results: how many,
    how long they took (seconds), and how many more failed (of which no time is recorded).
    """
    found: dict[str, dict[str, float]] = {}
    for envelope in run.history.events:
        if envelope.type != RetrainingRecorded.__name__ or (
            run.upto is not None and envelope.position > run.upto
        ):
            continue
        event = envelope.event
        assert isinstance(event, RetrainingRecorded)
        trained = [seconds for seconds, source in zip_longest(event.seconds, event.adopted) if not source]
        if trained or event.failures:
            row = found.setdefault(event.candidate, {"trainings": 0, "seconds": 0.0, "failures": 0})
            row["trainings"] += len(trained)
            row["seconds"] += sum(trained)
            row["failures"] += len(event.failures)
    return found


def _print(console: Console, run: Run) -> None:
    ledger, upto = run.views.ledger, run.upto
    designer = clean(run.views.status.designer(upto))
    console.print(Text.assemble((clean(run.name), "bold"), f"  designed by {designer}"))
    groups = (
        ("agent", ledger.by_agent(upto)),
        ("model", ledger.by_model(upto)),
        ("paper" if run.name.startswith(LIBRARY) else "candidate", ledger.by_candidate(upto)),
    )
    for kind, rows in groups:
        if not rows and kind != "agent":
            continue
        shown = table(
            kind,
            ("questions", "right"),
            ("in", "right"),
            ("out", "right"),
            ("money", "right"),
            ("training", "right"),
        )
        for name, totals in [*rows.items(), *([("in all", ledger.totals(upto))] if kind == "agent" else [])]:
            shown.add_row(clean(name), *_figures(totals))
        print_table(console, shown)
    total = ledger.totals(upto)
    if total.uncertain_tokens:
        unsaid = f"at most {count(total.uncertain_tokens)} tokens more, {money(total.uncertain_cost)}"
        console.print(Text(f"{unsaid}, for tries of which the server said nothing.", style="yellow"))
    if total.stopped_early:
        console.print(Text(f"Hopeless trainings {stopped_text(total)}."))
    for candidate, row in _retrained(run).items():
        said = f"nader retrain {clean(candidate)}: {number_of(int(row['trainings']), 'training')}, "
        said += duration(row["seconds"]) + (f", {row['failures']} more failed" if row["failures"] else "")
        console.print(Text(f"{said}; in no sum above."))
    if waiting := len(ledger.open_requests(upto)):
        console.print(Text(f"without an end yet: {number_of(waiting, 'request')}", style="yellow"))


def _figures(totals: Totals) -> tuple[str, str, str, str, str]:
    return (
        str(totals.chat_calls),
        count(totals.input_tokens),
        count(totals.output_tokens),
        money(totals.cost, totals.unknown_price_calls),
        duration(totals.train_seconds) if totals.train_seconds else "-",
    )
