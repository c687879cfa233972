"""Brings the design experience of earlier campaigns into a new one."""

from collections.abc import Sequence

from events import Envelope
from events.reflection import ExperienceRecorded
from nader.workspace import find_run
from store import Reader


def imported(log: Reader, runs: Sequence[str]) -> list[ExperienceRecorded]:
    """The experiences of other runs of the workspace, marked with their origin; the newest of each."""
    found: dict[str, Envelope] = {}
    for run in runs:
        for envelope in log.read(find_run(log, run).name, types=(ExperienceRecorded.__name__,)):
            found[f"{run}/{envelope.data()['experience']}"] = envelope
    events = []
    for identity, envelope in found.items():
        event = envelope.event
        assert isinstance(event, ExperienceRecorded)
        if not event.origin:
            run = identity.split("/", 1)[0]
            events.append(event.model_copy(update={"experience": identity, "origin": run, "round": 0}))
    return events
