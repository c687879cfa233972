"""Named points at which a test can kill the process, as a power cut would.

`NADER_FAULT=after-append:3` in the environment kills this process with SIGKILL the third time it comes to
that point (`:1` if left out). Without the variable `fault` is an empty function.
"""

import os
import signal
from enum import StrEnum


class FaultPoint(StrEnum):
    """Every place where a crash must lose nothing that was acknowledged."""

    BEFORE_APPEND = "before-append"
    """A group of appends has been taken from the queue; nothing is written."""
    AFTER_APPEND = "after-append"
    """The group's rows are written, not yet committed."""
    BETWEEN_COMMIT_AND_PUBLISH = "between-commit-and-publish"
    """The group is durable; nobody has been told."""
    AFTER_EFFECT_BEFORE_RECORD = "after-effect-before-record"
    """An effector has acted on the world; its terminal event is not yet appended."""
    DURING_CHECKPOINT = "during-checkpoint"
    """Pages have been copied from the WAL into the file; the WAL is not yet reset."""
    DURING_FORK = "during-fork"
    """A branch's row and its first events are written, not yet committed."""


def _parse(text: str) -> tuple[FaultPoint, int]:
    name, _, count = text.partition(":")
    if name not in set(FaultPoint) or not (count or "1").isdigit():
        points = ", ".join(FaultPoint)
        raise ValueError(f"NADER_FAULT is {text!r}; write one of {points}, with :N for its N-th time")
    return FaultPoint(name), int(count or "1")


_setting = os.environ.get("NADER_FAULT")

if not _setting:

    def fault(point: FaultPoint) -> None:
        """Nothing: no fault is set."""

else:
    _target, _remaining = _parse(_setting)

    def fault(point: FaultPoint) -> None:
        """Kill this process if `point` is the one that NADER_FAULT names and its count is reached."""
        global _remaining
        if point is _target or point == _target:
            _remaining -= 1
            if _remaining == 0:
                os.kill(os.getpid(), signal.SIGKILL)
