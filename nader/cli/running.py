"""Runs a campaign in front of a person: display, Ctrl-C, and the summary at the end."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from actors.runtime import Ending
from events import Envelope
from events.reading import InspirationRepeated
from nader.campaign import Campaign
from nader.caps import resume_options
from nader.cli.candidates import candidate_json, short_figures
from nader.cli.display import Display, display_for
from nader.cli.failures import INVALID, STOPPED
from nader.cli.logging import beside_display
from nader.cli.options import in_workspace
from nader.cli.output import clean, facts, heading, indented, number_of, print_json, short, stderr, stdout
from nader.cli.reading import Run
from nader.cli.show import spent_text
from nader.cli.snapshot import Snapshot, snapshot
from nader.cli.tree import print_tree
from nader.exhaustion import why_exhausted
from nader.training import Backend
from nader.workspace import find_run

_REFRESH = 0.25
"""Seconds between two drawings."""
KEYBOARD, TERMINATED = "stopped from the keyboard", "stopped by the system (SIGTERM)"


async def run_campaign(campaign: Campaign, as_json: bool, backend: Backend | None = None) -> int:
    """Run until it is finished or paused, print the summary, and return the exit status.

    `backend` stands in for the trainings that the settings name.
    """
    console = stderr() if as_json else stdout()
    with contextlib.ExitStack() as stack:
        display = display_for(console)
        if console.is_terminal:
            stack.enter_context(beside_display(campaign.workspace.path / "nader.log"))
        stack.enter_context(display)
        display.say(
            f"{campaign.branch}: designed by {campaign.views.status.designer()}, log {campaign.workspace.log}"
        )
        if campaign.settings.llm.backend == "inbox":
            inbox = campaign.settings.llm.inbox or campaign.workspace.inbox
            display.say(
                f"You are the model: questions come to {inbox}; "
                f"`nader inbox next{in_workspace(campaign.workspace.path)}` shows the oldest"
            )
        if repeated := sum(e.type == InspirationRepeated.__name__ for e in campaign.history.events):
            display.say(f"{number_of(repeated, 'idea')} of its libraries counted as others that say the same")
        campaign.observe(lambda envelope: _later(display, envelope, campaign))
        stack.enter_context(_interruptible(campaign, display))
        drawing = asyncio.ensure_future(_draw(display, campaign))
        try:
            ending = await campaign.run(backend)
            await asyncio.sleep(0)
        finally:
            drawing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await drawing
    _summarise(campaign, ending, as_json)
    if ending.kind == "paused":
        return STOPPED if ending.reason in (KEYBOARD, TERMINATED) else 0
    return INVALID if ending.reason == "base-failed" else 0


def _later(display: Display, envelope: Envelope, campaign: Campaign) -> None:
    """Tell the display of an event once everything that takes in the same commit has done so."""
    asyncio.get_running_loop().call_soon(display.event, envelope, campaign.views)


async def _draw(display: Display, campaign: Campaign) -> None:
    began = time.monotonic()
    before: int | None = None

    def now() -> Snapshot:
        nonlocal before
        shown = snapshot(
            campaign.branch,
            campaign.views,
            campaign.settings,
            campaign.progress,
            elapsed=time.monotonic() - began,
            settled_before=before or 0,
        )
        before = shown.settled if before is None else before
        return shown

    while True:
        display.refresh(now)
        await asyncio.sleep(_REFRESH)


@contextlib.contextmanager
def _interruptible(campaign: Campaign, display: Display) -> Iterator[None]:
    """Ctrl-C once: stop in order; twice: now. A terminated process leaves in order too."""
    loop = asyncio.get_running_loop()
    pressed = 0

    def stop(reason: str) -> None:
        nonlocal pressed
        pressed += 1
        if pressed == 1:
            display.say(
                "Stopping in order: open answers are waited for, trainings checkpoint. Ctrl-C again: now."
            )
        campaign.pause(reason, now=pressed > 1)

    signals = {signal.SIGINT: KEYBOARD, signal.SIGTERM: TERMINATED}
    with contextlib.suppress(NotImplementedError):  # Windows: the default handler raises KeyboardInterrupt
        for number, reason in signals.items():
            loop.add_signal_handler(number, stop, reason)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError):
            for number in signals:
                loop.remove_signal_handler(number)


def _summarise(campaign: Campaign, ending: Ending, as_json: bool) -> None:
    head = campaign.log.head(campaign.branch)
    if as_json:
        print_json(_as_json(campaign, ending) | {"head": {"position": head.position, "hash": head.hash}})
        return
    console = stdout()
    info = find_run(campaign.log, campaign.branch)
    console.print()
    print_tree(console, Run(campaign.workspace, campaign.log, info, campaign.views, campaign.history, None))
    _print_result(console, campaign, ending)
    console.print(
        facts(
            [
                ("log", clean(campaign.workspace.log)),
                ("head", head.hash),
                ("", f"at position {head.position}; keep it: it proves later that nothing was cut off"),
            ]
        )
    )
    _print_next(console, campaign, ending)


def _print_result(console: Console, campaign: Campaign, ending: Ending) -> None:
    views = campaign.views
    base, best = views.tree.candidate("base"), views.tree.best(objective=campaign.settings.search.objective)
    how = "finished" if ending.kind == "finished" else "paused"
    console.print(
        heading(
            f"\n{campaign.branch} {how}: {clean(ending.reason)}, designed by {clean(views.status.designer())}"
        )
    )
    finished = views.status.finished()
    if finished is not None:
        detail = why_exhausted(views) if finished.reason == "exhausted" else finished.detail
        if detail:
            indented(console, Text(clean(detail)), 2)
    rows: list[tuple[str, Any]] = []
    if base is not None:
        rows.append(("base", Text.assemble((f"{base.id:<7}", "cyan"), short_figures(base))))
    if best is not None and base is not None and best.id != base.id:
        rows.append(("best", Text.assemble((f"{clean(best.id):<7}", "cyan"), short_figures(best, base))))
        rows.append(("", Text(short(best.suggestion, 160), style="dim")))
    elif best is not None:
        rows.append(("best", "none is better than the base"))
    rows.append(("cost", spent_text(views.ledger.totals())))
    console.print(facts(rows))


def _print_next(console: Console, campaign: Campaign, ending: Ending) -> None:
    """Commands that go on from here."""
    where = in_workspace(campaign.workspace.path)
    steps = [
        ("nader show best", "the best design, its idea and its figures"),
        ("nader why best", "why it was made"),
        ("nader log", "every event; --full with prompts and answers"),
        ("nader verify", "prove the log"),
        ("nader export best", "take the network away"),
    ]
    if campaign.views.tree.best() is None:
        steps = [("nader trace base", "what happened to the base"), *steps[2:4]]
    if ending.kind == "paused":
        raised = resume_options(ending.reason)
        said = "go on, with a higher cap" if raised else "go on"
        steps.insert(0, (f"nader resume {campaign.branch}{raised}", said))
    console.print(heading("\nNext"))
    console.print(facts((f"{command}{where}", said) for command, said in steps))


def _as_json(campaign: Campaign, ending: Ending) -> dict[str, Any]:
    views = campaign.views
    base, best = views.tree.candidate("base"), views.tree.best(objective=campaign.settings.search.objective)
    return {
        "run": campaign.branch,
        "ending": ending.kind,
        "reason": ending.reason,
        "designer": views.status.designer(),
        "log": campaign.workspace.log,
        "base": base and candidate_json(base),
        "best": best and candidate_json(best, best=best.id),
        "candidates": len([c for c in views.tree.candidates() if c.parent is not None]),
        "spent": views.ledger.totals(),
    }
