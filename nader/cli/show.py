"""`nader show`: one candidate with its design, figures, drafts and experiences."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from events.training import RetrainingRecorded
from nader.cli.candidates import candidate_json, figures_line, status_text
from nader.cli.options import DEFAULT_WORKSPACE, AtOption, JsonOption, RunOption, WorkspaceOption
from nader.cli.output import (
    clean,
    count,
    duration,
    facts,
    heading,
    indented,
    mean_and_spread,
    money,
    number_of,
    print_json,
    short,
    size,
    stdout,
)
from nader.cli.reading import Run, open_run
from store.projections.experience import ExperienceRow
from store.projections.ledger import Totals
from store.projections.tree import Candidate


def show(
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help="Its name, `best` or `base`.")],
    run: RunOption = None,
    at: AtOption = None,
    drafts: Annotated[
        bool, typer.Option("--drafts", help="Every draft that was rejected, with its problems.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Show one candidate: the idea and its paper, the design, the figures, the drafts it took, what was
    learnt.

    `nader trace CANDIDATE` tells its life in time, `nader why CANDIDATE` its causes, `nader export
    CANDIDATE` writes its network.
    """
    with open_run(workspace, run, at) as opened:
        chosen = opened.candidate(candidate)
        spent = opened.views.ledger.by_candidate(opened.upto).get(chosen.id, Totals())
        if as_json:
            print_json(_as_json(opened, chosen, spent))
        else:
            _print(stdout(), opened, chosen, spent, drafts)


def design_text(run: Run, candidate: Candidate) -> str | None:
    """The three blocks of a candidate's design as text; None if it has none yet."""
    if candidate.design is None:
        return None
    return run.log.blob(candidate.design).decode("utf-8", "replace")


def _print(console: Console, run: Run, candidate: Candidate, spent: Totals, drafts: bool) -> None:
    base = run.views.tree.candidate("base", run.upto)
    title = Text.assemble((clean(candidate.id), "bold cyan"), "  ", status_text(candidate))
    console.print(title)
    rows: list[tuple[str, Any]] = [("figures", figures_line(candidate, base))]
    rows += [("made from", clean(candidate.parent))] if candidate.parent else []
    rows += [("idea", clean(candidate.suggestion))] if candidate.suggestion else []
    rows += [("paper", clean(candidate.paper))] if candidate.paper else []
    rows += [("reason", clean(candidate.reason))] if candidate.reason else []
    rows += [("outcome", candidate.outcome)] if candidate.outcome else []
    if candidate.width is not None:
        rows.append(("width", str(candidate.width)))
        rows.append(("digest", clean(candidate.digest)))
    if candidate.validations and len(candidate.validations) > 1:
        each = zip(candidate.seeds, candidate.validations, strict=False)
        rows.append(("per seed", ", ".join(f"{seed}: {value:.2f} %" for seed, value in each)))
    if candidate.seconds is not None:
        rows.append(("training", _training(candidate)))
    rows.append(("cost", spent_text(spent)))
    console.print(facts(rows))
    text = design_text(run, candidate)
    if text is not None:
        console.print(heading("\nDesign"))
        console.print(clean(text, lines=True).rstrip(), soft_wrap=True)
    _print_drafts(console, run, candidate, drafts)
    _print_learnt(console, run, candidate)
    _print_retrainings(console, run, candidate)


def _training(candidate: Candidate) -> str:
    parts = [duration(candidate.seconds)]
    parts += [f"last loss {candidate.loss:.4f}"] if candidate.loss is not None else []
    parts += [f"latency {candidate.latency_ms:.2f} ms"] if candidate.latency_ms is not None else []
    parts += [f"peak memory {size(candidate.peak_memory)}"] if candidate.peak_memory else []
    return ", ".join(parts)


def spent_text(spent: Totals) -> str:
    """What something cost, on one line."""
    parts = [number_of(spent.chat_calls, "question")]
    if spent.input_tokens or spent.output_tokens:
        parts.append(f"{count(spent.input_tokens)} + {count(spent.output_tokens)} tokens")
    if spent.cost or spent.unknown_price_calls:
        parts.append(money(spent.cost, spent.unknown_price_calls))
    if spent.uncertain_cost:
        parts.append(f"at most {money(spent.uncertain_cost)} more for tries without a word")
    if spent.trainings or spent.train_seconds:
        parts.append(f"training {duration(spent.train_seconds)}")
    if spent.stopped_early:
        parts.append(stopped_text(spent))
    return ", ".join(parts)


def stopped_text(spent: Totals) -> str:
    """What was saved by stopping hopeless candidates early."""
    return f"stopped early: {spent.stopped_early}, epochs saved: {spent.epochs_saved}"


def _print_drafts(console: Console, run: Run, candidate: Candidate, all_of_them: bool) -> None:
    rows = run.views.tree.drafts(candidate.id, upto=run.upto)
    if not rows:
        return
    console.print(heading("\nDrafts"))
    for row in rows:
        said = Text(f"{row.role}, round {row.round}, try {row.attempt}: ")
        if row.problems is None:
            said.append("accepted", style="green").append(f" {short('; '.join(row.notes), 120)}", style="dim")
        else:
            said.append(f"rejected ({', '.join(row.codes)})", style="red")
        console.print(said)
        if all_of_them and row.problems is not None:
            for digest, style in ((row.block, "dim"), (row.problems, "")):
                text = run.log.blob(digest).decode("utf-8", "replace")
                for line in clean(text, lines=True).rstrip().splitlines():
                    indented(console, Text(line, style=style), 4)


def _experiences(run: Run, candidate: Candidate) -> list[ExperienceRow]:
    """What this candidate taught; what another run's candidate of the same id taught was brought along."""
    known = run.views.experience.all(run.upto)
    return [row for row in known if row.candidate == candidate.id and not row.origin]


def _print_learnt(console: Console, run: Run, candidate: Candidate) -> None:
    experiences = _experiences(run, candidate)
    lessons = [lesson for lesson in run.views.knowledge.lessons(run.upto) if lesson.candidate == candidate.id]
    if experiences or lessons:
        console.print(heading("\nLearnt"))
    for e in experiences:
        indented(console, Text(f"{e.kind}, {clean(e.category)} ({e.role}): {clean(e.tip)}"), 2)
    for lesson in lessons:
        gained = lesson.outcome if lesson.gain is None else f"{lesson.gain:+.2f} points"
        indented(console, Text(f"lesson ({gained}): {clean(lesson.text)}"), 2)


def retrainings(run: Run, candidate: Candidate) -> list[RetrainingRecorded]:
    """Final figures that were recorded for a candidate, in order."""
    found = []
    for envelope in run.history.events:
        if envelope.type == RetrainingRecorded.__name__ and envelope.correlation == candidate.id:
            event = envelope.event
            if isinstance(event, RetrainingRecorded) and (run.upto is None or envelope.position <= run.upto):
                found.append(event)
    return found


def _print_retrainings(console: Console, run: Run, candidate: Candidate) -> None:
    found = retrainings(run, candidate)
    if found:
        console.print(heading("\nRetrained"))
    for figures in found:
        said = f"{clean(figures.dataset)}, recipe {clean(figures.recipe)}, width {figures.width}, "
        said += f"seeds {', '.join(map(str, figures.seeds))}"
        said += f" ({len(figures.failures)} more failed)" if figures.failures else ""
        said += f": test {mean_and_spread(figures.test)}"
        indented(console, Text(said), 2)


def _as_json(run: Run, candidate: Candidate, spent: Totals) -> dict[str, Any]:
    best = run.views.best(run.upto)
    return {
        "run": run.name,
        "position": run.position,
        **candidate_json(candidate, best=best.id if best else None),
        "losses": candidate.losses,
        "design": design_text(run, candidate),
        "drafts": run.views.tree.drafts(candidate.id, upto=run.upto),
        "experiences": [
            {"kind": row.kind, "category": row.category, "role": row.role, "tip": row.tip}
            for row in _experiences(run, candidate)
        ],
        "lessons": [
            {"outcome": row.outcome, "gain": row.gain, "text": row.text}
            for row in run.views.knowledge.lessons(run.upto)
            if row.candidate == candidate.id
        ],
        "retrainings": retrainings(run, candidate),
        "spent": spent,
    }
