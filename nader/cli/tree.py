"""`nader tree`: every candidate of a run, as the modification tree or as a table ordered by an objective."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from events.training import ResultReused, TrainingCompleted
from nader.cli.candidates import candidate_json, short_figures, status_text
from nader.cli.options import DEFAULT_WORKSPACE, AtOption, JsonOption, RunArgument, WorkspaceOption
from nader.cli.output import clean, count, number_of, percent, print_json, print_table, stdout, table
from nader.cli.reading import Run, open_run
from store.projections.objective import parse_objective
from store.projections.tree import Candidate, Stage

_GUIDE, _LABEL = 4, 62
"""Columns that a level of the tree is moved in by, and that a label wants."""
_COSTS = {"params": "params", "macs": "MACs", "latency_ms": "ms", "peak_memory": "MB"}
"""Figures that are better if they are less, with the heads of their columns."""


def tree(
    run: RunArgument = None,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            "-O",
            help="List by a sum of figures, such as `validation - 2*params_m`; the Pareto front is marked.",
        ),
    ] = None,
    at: AtOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Show every candidate of a run: what it was made from, how far it came, what it reached.

    Accuracies are means over seeds, in percent; test accuracy is reported and never used to choose. With
    `--objective` (figures: validation, params_m, gmacs, latency_ms, memory_mb) candidates are listed best
    first, and those that no other beats in everything are marked.
    """
    with open_run(workspace, run, at) as opened:
        if objective is not None:
            parse_objective(objective)
        if as_json:
            print_json(tree_json(opened, objective))
        elif objective is None:
            print_tree(stdout(), opened)
        else:
            _print_list(stdout(), opened, objective)


def tree_json(run: Run, objective: str | None = None) -> dict[str, object]:
    """The tree with the keys that docs/commands.md promises."""
    objective = objective or run.views.objective(run.upto)
    best = run.views.tree.best(run.upto, objective=objective)
    rows = []
    candidates = run.views.tree.candidates(run.upto)
    front = {candidate.id for candidate in pareto_front(candidates, _costs(run))}
    for candidate in candidates:
        row = candidate_json(candidate, best=best.id if best else None)
        score = run.views.tree.score(candidate, objective)
        row["objective"] = score if math.isfinite(score) else None
        row["pareto"] = candidate.id in front
        rows.append(row)
    return {
        "run": run.name,
        "position": run.position,
        "designer": run.views.status.designer(run.upto),
        "objective": objective,
        "best": best.id if best else None,
        "candidates": rows,
    }


def print_tree(console: Console, run: Run) -> None:
    """The modification tree, the base at its root."""
    candidates = run.views.tree.candidates(run.upto)
    best = run.views.best(run.upto)
    base = next((c for c in candidates if c.parent is None), None)
    console.print(
        Text.assemble(
            (clean(run.name), "bold"), f"  designed by {clean(run.views.status.designer(run.upto))}"
        )
    )
    if base is None:
        console.print("It has no candidate yet.")
        return
    console.print(_drawn(console, candidates, base, best))
    made = [candidate for candidate in candidates if candidate.parent is not None]
    numbers = [(stage, sum(candidate.stage is stage for candidate in made)) for stage in Stage]
    parts = [f"{number} {stage.value}" for stage, number in numbers if number]
    console.print(
        Text(
            f"{number_of(len(made), 'candidate')}: {', '.join(parts)}" if made else "no candidates yet",
            style="dim",
        )
    )


def _drawn(
    console: Console, candidates: Sequence[Candidate], base: Candidate, best: Candidate | None
) -> RenderableType:
    """The tree with branches, or as a list with parents where it is too deep for the terminal."""
    nodes = {base.id: Tree(_label(base, base, best), guide_style="dim")}
    depths = {base.id: 0}
    for candidate in candidates:
        if candidate.parent in nodes:
            nodes[candidate.id] = nodes[candidate.parent].add(_label(candidate, base, best))
            depths[candidate.id] = depths[candidate.parent] + 1
    if _GUIDE * max(depths.values()) + _LABEL <= console.width:
        return nodes[base.id]
    rows = Table.grid(padding=(0, 2))
    for candidate in candidates:
        rows.add_row(
            Text(f"from {clean(candidate.parent)}" if candidate.parent else ""), _label(candidate, base, best)
        )
    return rows


def _label(candidate: Candidate, base: Candidate, best: Candidate | None) -> Text:
    chosen = best is not None and candidate.id == best.id
    label = Text(no_wrap=True, overflow="ellipsis")
    label.append(clean(candidate.id), style="bold cyan").append(
        " ★ best  " if chosen else "  ", style="bold yellow"
    )
    if candidate.stage is not Stage.TRAINED:
        label.append_text(status_text(candidate)).append("  ")
    if candidate.stage is not Stage.DUPLICATE:
        label.append_text(short_figures(candidate, base))
    if candidate.suggestion:
        label.append(f"\n{clean(candidate.suggestion)}", style="dim")
    return label


def _print_list(console: Console, run: Run, objective: str) -> None:
    """Trained candidates, best first."""
    trained = [c for c in run.views.tree.candidates(run.upto) if c.trained and c.stage is not Stage.DUPLICATE]
    ordered = sorted(trained, key=lambda c: (-run.views.tree.score(c, objective), c.params or 0, c.place))
    costs = _costs(run)
    front = {candidate.id for candidate in pareto_front(trained, costs)}
    shown = table(
        "candidate", ("score", "right"), ("validation", "right"), ("test", "right"), ("params", "right"),
        ("MACs", "right"), ("ms", "right"), ("MB", "right"),
    )  # fmt: skip
    for candidate in ordered:
        score = run.views.tree.score(candidate, objective)
        latency = "-" if candidate.latency_ms is None else f"{candidate.latency_ms:.2f}"
        name = Text.assemble((clean(candidate.id), "cyan"), (" ◆" if candidate.id in front else "", "yellow"))
        shown.add_row(
            name, f"{score:.3f}" if math.isfinite(score) else "-", percent(candidate.validation),
            percent(candidate.test), count(candidate.params), count(candidate.macs), latency,
            "-" if candidate.peak_memory is None else f"{candidate.peak_memory / 1e6:.0f}",
        )  # fmt: skip
    print_table(console, shown)
    console.print(Text(_legend(trained, costs), style="dim"))


def _costs(run: Run) -> tuple[str, ...]:
    """The figures of cost that candidates are compared by: on a CPU, peak memory is mostly that of the worker
    itself, and says little about a network."""
    kinds = (TrainingCompleted.__name__, ResultReused.__name__)
    devices = (
        e.data()["device"] for e in run.history.events if e.type in kinds and e.position <= run.position
    )
    on_cpu = any(device.startswith("cpu") for device in devices)
    return tuple(name for name in _COSTS if not (on_cpu and name == "peak_memory"))


def _legend(candidates: Sequence[Candidate], costs: Sequence[str]) -> str:
    """What the mark of the Pareto front stands for."""
    *names, last = ["validation", *(_COSTS[name] for name in _known_of_all(candidates, costs))]
    named = f"{', '.join(names)} and {last}" if names else last
    return f"◆ no other is at least as good in {named}, and better in one of them"


@dataclass(frozen=True)
class _Point:
    gain: float
    costs: tuple[float, ...]

    def beats(self, other: "_Point") -> bool:
        """At least as good in everything, and better in something."""
        as_good = self.gain >= other.gain and all(
            a <= b for a, b in zip(self.costs, other.costs, strict=True)
        )
        return as_good and (self.gain, self.costs) != (other.gain, other.costs)


def pareto_front(candidates: Sequence[Candidate], costs: Sequence[str] = tuple(_COSTS)) -> list[Candidate]:
    """The trained candidates that no other beats in validation accuracy and in every one of these costs that
    all have a figure for."""
    trained = [c for c in candidates if c.validation is not None and c.stage is not Stage.DUPLICATE]
    compared = _known_of_all(trained, costs)
    points = {
        c.id: _Point(c.validation or 0.0, tuple(getattr(c, name) for name in compared)) for c in trained
    }
    return [c for c in trained if not any(points[o.id].beats(points[c.id]) for o in trained)]


def _known_of_all(candidates: Sequence[Candidate], costs: Sequence[str]) -> list[str]:
    return [name for name in costs if all(getattr(c, name) is not None for c in candidates)]
