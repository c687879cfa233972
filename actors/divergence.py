"""How a handler that runs again can differ from its record, told so that a person sees what changed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from events import Envelope

MISSING = "(nothing)"


@dataclass(frozen=True)
class Difference:
    """The first difference between what was recorded and what the code does."""

    position: int
    """Position of the recorded event that differs, or of the cause where an event is missing."""
    actor: str
    event_type: str
    kind: Literal["missing", "extra", "changed"]
    """missing: the code emits it and the record lacks it, or the content that it names is gone; extra: it is
    recorded, and the code does not emit it.
    """
    path: str
    """JSON path of the first differing value, `$` for the whole event; a column of the log by its name."""
    recorded: Any
    computed: Any
    causes: tuple[str, ...] = ()
    """The causation chain from the event up to the campaign's start, as `position type`."""

    def sentence(self) -> str:
        """One line that names the place and both values."""
        what = {
            "missing": "is due and is not in the log"
            if self.path == "$"
            else f"names at {self.path} what the log does not hold",
            "extra": "is in the log and is not emitted by the code",
            "changed": f"differs at {self.path}",
        }[self.kind]
        values = ""
        if self.kind == "changed":
            values = f": recorded {_short(self.recorded)}, computed {_short(self.computed)}"
        return f"at position {self.position}, {self.actor}'s {self.event_type} {what}{values}"


class Diverged(Exception):
    """A handler does something else than its record says. Never silent, never retried."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(difference.sentence())
        self.difference = difference


@dataclass(frozen=True)
class JsonDifference:
    """The first differing value of two JSON values, by path."""

    path: str
    recorded: Any
    computed: Any


def first_difference(recorded: Any, computed: Any, path: str = "$") -> JsonDifference | None:
    """The first place, in key order, where two JSON values differ; None where they are equal."""
    if isinstance(recorded, dict) and isinstance(computed, dict):
        for key in sorted(recorded.keys() | computed.keys()):
            found = first_difference(recorded.get(key, MISSING), computed.get(key, MISSING), f"{path}.{key}")
            if found:
                return found
        return None
    if isinstance(recorded, list) and isinstance(computed, list):
        for index in range(max(len(recorded), len(computed))):
            left = recorded[index] if index < len(recorded) else MISSING
            right = computed[index] if index < len(computed) else MISSING
            found = first_difference(left, right, f"{path}[{index}]")
            if found:
                return found
        return None
    if recorded == computed and type(recorded) is type(computed):
        return None
    return JsonDifference(path, recorded, computed)


def causation_chain(envelope: Envelope, at: Callable[[int], Envelope | None]) -> tuple[str, ...]:
    """From an event up to the first of its causes, as `position type`; a cause that does not come before its
    effect, as no program writes it, ends the chain.
    """
    chain = []
    current: Envelope | None = envelope
    while current is not None:
        chain.append(f"{current.position} {current.type}")
        cause = current.causation
        current = at(cause) if cause is not None and cause < current.position else None
    return tuple(chain)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
