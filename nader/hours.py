"""The cap on hours of running: how long the processes of a run have worked, and the timer that pauses one."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from actors.history import History
from actors.runtime import Runtime
from events.campaign import CampaignResumed, CampaignStarted, Forked
from events.reading import ReadingStarted
from events.training import RetrainingRecorded
from nader.settings import CampaignSettings
from store import Reader

SESSION_STARTS = frozenset(
    {CampaignStarted.__name__, CampaignResumed.__name__, Forked.__name__, ReadingStarted.__name__}
)
FINISH_ON_STOP = ("gateway", "embedder")
"""Effectors whose running requests are waited for at a stop: a paid answer is not thrown away. Trainings
checkpoint.
"""
FINISH_AT_CAP = (*FINISH_ON_STOP, "training", "paper-source")
"""Those that are waited for when the hours are used up: nobody is in a hurry then."""


@contextmanager
def hours_capped(runtime: Runtime, settings: CampaignSettings, history: History) -> Iterator[None]:
    """Pause the runtime, in order, when the processes of its run have worked as long as the settings allow.

    To be entered on the event loop.
    """
    timer = None
    if settings.budget.hours:
        left = settings.budget.hours * 3600 - seconds_run(runtime.store, runtime.branch, history)
        # A person may take for ever to answer; the question stays in the inbox.
        finish = [name for name in FINISH_AT_CAP if name != "gateway" or settings.llm.backend != "inbox"]
        reason = f"budget: the cap of {settings.budget.hours:g} hours of running is reached"
        timer = asyncio.get_running_loop().call_later(
            max(left, 0.0), lambda: runtime.pause(reason, finish=finish)
        )
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()


def seconds_run(log: Reader, branch: str, history: History) -> float:
    """How long the processes of this run have worked on it so far, in seconds.

    A process that was killed worked until the last event of any kind, be it an epoch.
    """
    total, began = 0.0, None
    for envelope in history.events:
        if envelope.type in SESSION_STARTS:
            if began is not None:
                total += _last_work(log, branch, envelope.position - 1) - began
            began = envelope.time
    return total if began is None else total + _last_work(log, branch, history.head) - began


def _last_work(log: Reader, branch: str, position: int) -> float:
    """Time of the newest event up to a position that is a process's own; a retraining is recorded days after
    it has left.
    """
    envelope = log.at(branch, position)
    while envelope.type == RetrainingRecorded.__name__:
        envelope = log.at(branch, envelope.position - 1)
    return envelope.time
