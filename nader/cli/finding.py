"""One line of `nader doctor`: what was looked at, how it stands, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """How a finding bears on the main job."""

    OK = "ok"
    NOTE = "note"
    """Works, or is not needed for the main job; may be slow or limited."""
    PROBLEM = "problem"
    """Stops `nader run` or makes its results doubtful."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it stands, what was seen, and what to do about what does not work."""

    area: str
    standing: Standing
    what: str
    advice: str = ""


def ok(area: str, what: str) -> Finding:
    """It works."""
    return Finding(area, Standing.OK, what)


def note(area: str, what: str, advice: str = "") -> Finding:
    """It is worth knowing."""
    return Finding(area, Standing.NOTE, what, advice)


def problem(area: str, what: str, advice: str) -> Finding:
    """It has to be mended."""
    return Finding(area, Standing.PROBLEM, what, advice)
