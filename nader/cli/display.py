"""What is drawn while a campaign runs: a live table on a terminal, plain lines anywhere else."""

import time
from collections.abc import Callable
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from events import Envelope
from nader.cli.candidates import short_figures
from nader.cli.milestones import milestone
from nader.cli.output import clean, count, duration, money
from nader.cli.snapshot import Snapshot, Working
from store.projections import Views

_ROWS = 10
"""Candidates in the live table; more are counted."""
_QUIET = 30.0
"""Seconds between two plain lines about the epochs of one training."""

_MINOR = frozenset({"ProposalMade", "DesignReady"})
"""Milestones that the live table shows as they come, so that only plain output needs a line for each."""


class Display(Protocol):
    """Is told of every event, and now and then of the campaign as it is."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def event(self, envelope: Envelope, views: Views) -> None:
        """An event was committed; `views` holds it."""

    def refresh(self, snapshot: Callable[[], Snapshot]) -> None:
        """Draw the campaign as it is."""

    def say(self, text: str) -> None:
        """Print a line about the process itself."""


def display_for(console: Console) -> Display:
    """A live display for a terminal that can be drawn on, else plain lines."""
    return (
        LiveDisplay(console)
        if console.is_terminal and not console.is_dumb_terminal
        else PlainDisplay(console)
    )


class PlainDisplay:
    """One line a milestone, with the time; epochs only now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def event(self, envelope: Envelope, views: Views) -> None:
        line = milestone(envelope, views)
        if line is None and envelope.type == "EpochFinished":
            line = self._epoch(envelope)
        if line is not None:
            stamp = Text(f"{time.strftime('%H:%M:%S', time.localtime(envelope.time))} ", style="dim")
            self._console.print(stamp.append_text(line), soft_wrap=True)

    def refresh(self, snapshot: Callable[[], Snapshot]) -> None:
        pass

    def say(self, text: str) -> None:
        self._console.print(Text(clean(text)), soft_wrap=True)

    def _epoch(self, envelope: Envelope) -> Text | None:
        epoch = envelope.data()
        before = self._said.setdefault(epoch["job"], envelope.time)
        if envelope.time - before < _QUIET:
            return None
        self._said[epoch["job"]] = envelope.time
        name = f"{clean(envelope.correlation or ''):<7}"
        return Text.assemble(
            (name, "bold cyan"), f"epoch {epoch['epoch']}/{epoch['epochs']}, loss {epoch['loss']:.3f}"
        )


class LiveDisplay:
    """Milestones scroll by above a table that is drawn anew in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.update(Text(""))
        self._live.__exit__(None, None, None)

    def event(self, envelope: Envelope, views: Views) -> None:
        line = None if envelope.type in _MINOR else milestone(envelope, views)
        if line is not None:
            self._console.print(line)

    def refresh(self, snapshot: Callable[[], Snapshot]) -> None:
        self._live.update(render(snapshot()), refresh=True)

    def say(self, text: str) -> None:
        self._console.print(Text(clean(text), style="yellow"))


def render(shown: Snapshot) -> RenderableType:
    """The live table: who designs and on what, how far it is, what is being done, the best so far, the
    cost."""
    head = Text.assemble(
        (clean(shown.run), "bold"),
        "  designer: ",
        (clean(shown.designer), "bold"),
        f"  data: {clean(shown.dataset)}",
    )
    return Group(Text(""), head, _overall(shown), *_table(shown), *_best(shown), _cost(shown))


def _overall(shown: Snapshot) -> RenderableType:
    row = Table.grid(padding=(0, 2))
    left = "" if shown.left is None else f", about {duration(shown.left)} left"
    bar = ProgressBar(total=max(1, shown.wanted), completed=min(shown.settled, shown.wanted), width=24)
    row.add_row(
        f"trained {shown.settled} of {shown.wanted}",
        bar,
        Text(f"{duration(shown.elapsed)}{left}", style="dim"),
    )
    return row


def _table(shown: Snapshot) -> list[RenderableType]:
    if not shown.working:
        return []
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(no_wrap=True)
    made.add_column(no_wrap=True)
    made.add_column(no_wrap=True, overflow="ellipsis")
    for working in shown.working[:_ROWS]:
        made.add_row(
            Text(clean(working.candidate), style="cyan"),
            Text(working.stage),
            _bar(working),
            Text(clean(working.detail), style="dim"),
        )
    more = len(shown.working) - _ROWS
    return [made, Text(f"and {more} more", style="dim")] if more > 0 else [made]


def _bar(working: Working) -> RenderableType:
    if working.fraction is None:
        return Text(f"from {clean(working.parent)}" if working.parent else "", style="dim")
    return ProgressBar(total=1.0, completed=working.fraction, width=16)


def _best(shown: Snapshot) -> list[RenderableType]:
    lines: list[RenderableType] = []
    base, best = shown.base, shown.best
    if base is not None and base.validation is not None:
        lines.append(Text.assemble("base  ", short_figures(base)))
    if best is not None and base is not None and best.id != base.id:
        name = (f"{clean(best.id)}  ", "cyan")
        lines.append(Text.assemble(("best  ", "bold yellow"), name, short_figures(best, base)))
    return lines


def _cost(shown: Snapshot) -> Text:
    totals = shown.totals
    parts = [f"questions {totals.chat_calls}"]
    if totals.input_tokens or totals.output_tokens:
        parts.append(f"tokens {count(totals.input_tokens)} in, {count(totals.output_tokens)} out")
    cap = f" of {money(shown.budget)}" if shown.budget else ""
    parts.append(f"{money(totals.cost, totals.unknown_price_calls)}{cap}")
    parts.append(f"training {duration(totals.train_seconds)}")
    parts += [f"{shown.failures} failures"] if shown.failures else []
    return Text("  ".join(parts), style="dim")
