"""How a candidate is shown: as a row, as JSON with stable keys, and with its outcome in words and colours."""

from typing import Any

from rich.text import Text

from nader.cli.output import clean, count, percent, short
from store.projections.tree import Candidate, Stage

STYLES = {
    Stage.TRAINED: "green",
    Stage.TRAINING: "cyan",
    Stage.FAILED: "red",
    Stage.ABANDONED: "red",
    Stage.DUPLICATE: "dim",
}


def candidate_json(candidate: Candidate, *, best: str | None = None) -> dict[str, Any]:
    """A candidate with the keys that docs/commands.md promises."""
    return {
        "id": candidate.id,
        "parent": candidate.parent,
        "round": candidate.round,
        "index": candidate.index,
        "status": candidate.stage,
        "outcome": candidate.outcome,
        "best": candidate.id == best,
        "digest": candidate.digest,
        "original": candidate.original,
        "width": candidate.width,
        "parameters": candidate.params,
        "macs": candidate.macs,
        "validation": candidate.validation,
        "validations": candidate.validations,
        "test": candidate.test,
        "seeds": candidate.seeds,
        "loss": candidate.loss,
        "seconds": candidate.seconds,
        "latency_ms": candidate.latency_ms,
        "peak_memory": candidate.peak_memory,
        "inspiration": candidate.inspiration or None,
        "suggestion": candidate.suggestion or None,
        "paper": candidate.paper or None,
        "reason": candidate.reason or None,
        "failure": candidate.failure or None,
    }


def status_text(candidate: Candidate) -> Text:
    """Its stage, with what became of it."""
    said = candidate.stage.value
    if candidate.stage is Stage.DUPLICATE:
        said = f"same as {clean(candidate.original)}"
    elif candidate.failure and candidate.validation is None:
        said = f"failed: {clean(candidate.failure)}"
    elif candidate.stage is Stage.ABANDONED and candidate.reason:
        said = f"abandoned: {short(candidate.reason, 60)}"
    return Text(said, style=STYLES.get(candidate.stage, ""))


def figures_line(candidate: Candidate, base: Candidate | None = None) -> Text:
    """Its accuracies and size on one line, with the gain over the base."""
    line = Text()
    if candidate.validation is not None:
        line.append(f"validation {percent(candidate.validation)}", style="bold")
        if base is not None and base.validation is not None and base.id != candidate.id:
            line.append(" ").append_text(gain_text(candidate.validation - base.validation))
        line.append(f"  test {percent(candidate.test)}")
    if candidate.params is not None:
        line.append(f"  {count(candidate.params)} parameters, {count(candidate.macs)} MACs", style="dim")
    return line


def became(candidate: Candidate, base: Candidate | None = None) -> Text:
    """What became of a candidate: its figures if it was trained itself, else its stage and its size."""
    if candidate.stage is Stage.TRAINED:
        return figures_line(candidate, base)
    said = status_text(candidate)
    if candidate.params is not None:
        size = f"  {count(candidate.params)} parameters, {count(candidate.macs)} MACs"
        said.append(size, style="dim")
    return said


def short_figures(candidate: Candidate, base: Candidate | None = None) -> Text:
    """As `figures_line`, for where there is little room."""
    line = Text()
    if candidate.validation is not None:
        line.append(percent(candidate.validation), style="bold")
        if base is not None and base.validation is not None and base.id != candidate.id:
            line.append(" ").append_text(gain_text(candidate.validation - base.validation))
        line.append(f"  test {percent(candidate.test)}  ")
    if candidate.params is not None:
        line.append(f"{count(candidate.params)} params  {count(candidate.macs)} MACs", style="dim")
    return line


def gain_text(points: float) -> Text:
    """A difference of accuracies, in percentage points."""
    return Text(f"({points:+.2f})", style="green" if points > 0 else "red" if points < 0 else "dim")
