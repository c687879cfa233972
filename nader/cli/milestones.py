"""The events worth a line of their own while a campaign runs, and that line."""

from collections.abc import Callable
from typing import Any

from rich.text import Text

from events import Envelope
from nader.cli.candidates import gain_text
from nader.cli.output import clean, count, duration, percent, short
from store.projections import Views


def milestone(envelope: Envelope, views: Views) -> Text | None:
    """A line for an event that a person waits for; None for all others. `views` must hold the event
    already."""
    say = _LINES.get(envelope.type)
    return say(envelope.event, views) if say else None


def _name(candidate: str) -> tuple[str, str]:
    return f"{clean(candidate):<7}", "bold cyan"


def _designed(event: Any, views: Views) -> Text:
    what = f"designed: width {event.width}, {count(event.params)} parameters, {count(event.macs)} MACs"
    return Text.assemble(_name(event.candidate), what)


def _trained(event: Any, views: Views) -> Text | None:
    tree = views.tree
    candidate, base, best = tree.candidate(event.candidate), tree.candidate("base"), views.best()
    if candidate is None:
        return None
    line = Text.assemble(_name(candidate.id), ("trained ", "green"), f"in {duration(candidate.seconds)}: ")
    line.append(f"validation {percent(candidate.validation)} ")
    if base is not None and base.validation is not None and candidate.id != base.id:
        line.append_text(gain_text((candidate.validation or 0.0) - base.validation)).append(" ")
    line.append(f"test {percent(candidate.test)}")
    if best is not None and best.id == candidate.id and candidate.id != "base":
        line.append("  ★ best so far", style="bold yellow")
    return line


_WAITS = "a question waits for you"


def _asked(event: Any, views: Views) -> Text | None:
    """A question to a person; a model's need nobody."""
    if event.backend != "inbox":
        return None
    text = f" ({clean(event.prompt)}, for the {clean(event.agent)}): nader inbox, nader answer"
    again = any(message.role == "assistant" for message in event.messages)
    waits = "a question waits for you again: the last answer could not be used" if again else _WAITS
    return Text.assemble((waits, "bold yellow"), text)


_LINES: dict[str, Callable[[Any, Views], Text | None]] = {
    "BaseDesigned": lambda e, v: Text.assemble(
        _name(e.candidate),
        f"{clean(e.source)}: width {e.width}, {count(e.params)} parameters, {count(e.macs)} MACs",
    ),
    "ParentChosen": lambda e, v: Text(
        f"round {e.round} works on {clean(e.parent)}: {short(e.reason, 100)}", style="dim"
    ),
    "ProposalMade": lambda e, v: Text.assemble(
        _name(e.candidate), ("idea: ", "dim"), (short(e.suggestion, 100), "dim")
    ),
    "DesignReady": _designed,
    "DuplicateRecognised": lambda e, v: Text.assemble(
        _name(e.candidate), (f"same design as {clean(e.original)}, whose result it takes", "dim")
    ),
    "DesignAbandoned": lambda e, v: Text.assemble(
        _name(e.candidate), ("abandoned", "red"), f" after {e.attempts} drafts: {short(e.reason, 100)}"
    ),
    "CandidateTrained": _trained,
    "CandidateFailed": lambda e, v: Text.assemble(
        _name(e.candidate), ("failed", "red"), f" ({clean(e.kind)}): {short(e.message, 120)}"
    ),
    "ChatRequested": _asked,
    "ChatFailed": lambda e, v: Text.assemble(
        ("no answer", "red"), f" ({clean(e.kind)}): {short(e.message, 120)}"
    ),
    "HandlerFailed": lambda e, v: Text.assemble(
        (f"{clean(e.actor)} failed", "red"),
        f", attempt {e.attempt}{', given up' if e.final else ''}: {short(e.error, 120)}",
    ),
    "SettingsChanged": lambda e, v: Text(
        f"settings: {short(', '.join(f'{k}={x}' for k, x in e.changes.items()), 140)}"
    ),
}
