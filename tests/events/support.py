"""An event as the log would give it back."""

from events import GENESIS, Envelope


def envelope(type_name: str, version: int, payload: str, *, position: int = 1, time: float = 1.0) -> Envelope:
    """An envelope around a stored payload; everything else is of no account."""
    return Envelope(
        position, position, "id", "run-1", "run-1", time, "tester", type_name, version, None, None, None,
        None, GENESIS, GENESIS, payload,
    )  # fmt: skip
