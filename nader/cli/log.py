"""`nader log`: the events of a run, filtered, whole if asked, and followed while it runs."""

import contextlib
import difflib
import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from events import Envelope, EventError, event_types, is_digest, is_time, named_blobs
from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, RunArgument, WorkspaceOption
from nader.cli.output import clean, indented, print_json_line, stderr, stdout
from nader.cli.sentences import sentence
from nader.conversations import QUESTIONS, conversations
from nader.errors import WorkspaceError
from nader.positions import find_candidate, find_position, number_in
from nader.workspace import Workspace, find_run, fold
from store import OperationalError, Reader
from store.lineage import MASK

ACTOR_STYLES = {
    "director": "magenta",
    "proposer": "blue",
    "modifier": "cyan",
    "reflector": "yellow",
    "reader": "blue",
    "training": "green",
    "gateway": "dim",
    "embedder": "dim",
    "operator": "bold",
    "supervisor": "red",
}
EPOCHS = ("EpochFinished",)
"""Types that are shown on demand alone: nine tenths of a long log."""
_POLL = 0.5
"""Seconds between two looks at a log that is followed."""
_LOST = "(the log no longer holds this text)"


def log(
    run: RunArgument = None,
    actor: Annotated[
        list[str] | None, typer.Option("--actor", "-a", help="Only events of this actor; may be repeated.")
    ] = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", "-t", help="Only this event type; may be repeated.")
    ] = None,
    candidate: Annotated[
        list[str] | None,
        typer.Option(
            "--candidate",
            "-c",
            help="Only events about this candidate (or round, such as round-2); may be repeated.",
        ),
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="POSITION", help="From this position on.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="POSITION", help="Up to this position.")] = None,
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent",
            help="What this agent asked its models: each question with its tries and its answer.",
        ),
    ] = None,
    epochs: Annotated[bool, typer.Option("--epochs", help="With every epoch of every training.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as events are added, until Ctrl-C.")
    ] = False,
    full: Annotated[
        bool,
        typer.Option("--full", help="Whole events: every field, prompts, answers and blocks as they were."),
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Show what happened, event by event: position, time, actor, type, candidate, and what it says.

    Filters are joined by *and*, repeated ones by *or*. A position may be a number, a candidate,
    `CANDIDATE:STAGE`, `best`, `head`, or a time (2026-03-01T14:30, 2026-03-01, or 14:30 of the day of the
    last event). With `--json`, one event a line. What exactly an agent saw and said: `nader
    log --agent modifier --candidate best --full`.
    """
    if agent is not None and follow:
        raise WorkspaceError("--agent puts each answer under its question, and --follow cannot wait for it")
    types, console = _types(type_ or []), stdout()
    hidden = () if types or epochs else EPOCHS
    with Workspace.at(workspace).reader() as reader:
        branch = find_run(reader, run).name
        actors = [*(actor or []), *([] if agent is None else [agent])]
        wanted = _Filter(reader, branch, actors, candidate or [], first, last, follow)
        shown = _events(reader, branch, wanted, types, hidden, follow)
        if agent is not None:
            _check_asks(reader, branch, agent)
            shown = _conversations(reader, branch, wanted, types, agent, set(actor or []))
        days, nothing = Days(), True
        with contextlib.suppress(KeyboardInterrupt):
            for envelope in shown:
                if not as_json:
                    days.tell(console, envelope)
                _show(console, reader, envelope, full, as_json)
                nothing = False
        if nothing:
            stderr().print(Text(f"no event of {clean(branch)} is asked for by all of this", style="dim"))


def _types(names: list[str]) -> list[str] | None:
    """The event types that are named, None for all: also those that this version does not know.

    Raises WorkspaceError with the nearest name.
    """
    known = event_types()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.4)
            hint = f"did you mean {near[0]}?" if near else f"types are {', '.join(sorted(known))}"
            raise WorkspaceError(f"there is no event type {name!r}; {hint}")
    return names or None


class _Filter:
    """What is shown: a range of positions, actors, candidates. Names are checked against the run."""

    def __init__(
        self,
        log: Reader,
        branch: str,
        actors: list[str],
        candidates: list[str],
        first: str | None,
        last: str | None,
        follow: bool,
    ) -> None:
        self.first, self.last = 1, None if last is None else _number(last)
        if first is not None:
            self.first = _number(first) or 1
        words = [word for word in (first, last) if word is not None and _number(word) is None]
        self.actors, self.candidates = set(actors), set(candidates)
        if actors:
            _check_actors(actors, {event.actor for event in log.read(branch, without=EPOCHS)})
        if words or candidates:
            views, history = fold(log, branch)
            about = {event.correlation for event in history.events}
            self.candidates = {n if n in about else find_candidate(views, n).id for n in candidates}
            if first is not None and first in words:
                self.first = find_position(first, log, branch, views, history, first=True)
            if last is not None and last in words:
                self.last = find_position(last, log, branch, views, history)
        for given, number in ((first, self.first), (last, self.last)):
            if given is not None and number is not None and not follow:
                number_in(number, log, branch)

    def admits(self, envelope: Envelope) -> bool:
        """Whether the event is shown."""
        return (not self.actors or envelope.actor in self.actors) and self.is_about(envelope)

    def is_about(self, envelope: Envelope) -> bool:
        """Whether the event is about a candidate that is asked for."""
        return not self.candidates or envelope.correlation in self.candidates


def _number(word: str) -> int | None:
    return min(int(word[:18]), MASK) if word.isdecimal() else None


def _check_actors(names: list[str], there: set[str]) -> None:
    for name in names:
        if name not in there:
            near = difflib.get_close_matches(name, there, 1, 0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(there))}"
            raise WorkspaceError(f"no actor {name!r} has acted in this run; {hint}")


def _check_asks(log: Reader, branch: str, agent: str) -> None:
    asking = {event.actor for event in log.read(branch, types=QUESTIONS)}
    if agent not in asking:
        others = f"; {', '.join(sorted(asking))} did" if asking else ", nor did another"
        raise WorkspaceError(f"{agent} has asked no model in this run{others}")


def _conversations(
    log: Reader, branch: str, wanted: _Filter, types: list[str] | None, agent: str, actors: set[str]
) -> Iterator[Envelope]:
    """Each question of an agent, then what belongs to it; the range and the candidates are the questions'."""
    for told in conversations(log, branch, agent, wanted.first - 1, wanted.last):
        if wanted.is_about(told.request):
            for envelope in (told.request, *told.after):
                if (types is None or envelope.type in types) and (not actors or envelope.actor in actors):
                    yield envelope


def _events(
    log: Reader, branch: str, wanted: _Filter, types: list[str] | None, hidden: Sequence[str], follow: bool
) -> Iterator[Envelope]:
    """The events in order; with `follow`, those to come too."""
    after = wanted.first - 1
    while True:
        for envelope in log.read(branch, after, wanted.last, types, without=hidden):
            after = envelope.position
            if wanted.admits(envelope):
                yield envelope
        if not follow or (wanted.last is not None and after >= wanted.last):
            return
        time.sleep(_POLL)


def when(moment: float) -> str:
    """A time as people write it, in the local zone."""
    return _local(moment, "%Y-%m-%d %H:%M:%S")


def _local(moment: float, form: str) -> str:
    """A log from elsewhere may hold any number for a time."""
    return datetime.fromtimestamp(moment).strftime(form) if is_time(moment) else "no time"


class Days:
    """Says which day the lines below are of, where it is not today or changes from line to line."""

    def __init__(self) -> None:
        self._told = f"{datetime.now():%Y-%m-%d}"

    def tell(self, console: Console, envelope: Envelope) -> None:
        """To be called before each event's line."""
        day = _local(envelope.time, "%Y-%m-%d")
        if day != self._told:
            self._told = day
            console.print(Text(f"       {day}", style="bold"))


def event_line(envelope: Envelope) -> Text:
    """An event on one line."""
    return Text.assemble(
        (f"{envelope.position:>6} ", "dim"),
        (f"{_local(envelope.time, '%H:%M:%S')} ", "dim"),
        (f"{clean(envelope.actor):<10} ", ACTOR_STYLES.get(envelope.actor, "")),
        (f"{clean(envelope.correlation or ''):<8} ", "cyan"),
        (f"{clean(envelope.type)}  ", "bold"),
        sentence(envelope),
    )


def event_json(envelope: Envelope) -> dict[str, Any]:
    """An event with the keys that docs/commands.md promises; `event` is the payload as it was stored."""
    return {
        "position": envelope.position,
        "id": envelope.id,
        "time": envelope.time,
        "run": envelope.run,
        "branch": envelope.branch,
        "actor": envelope.actor,
        "type": envelope.type,
        "version": envelope.version,
        "candidate": envelope.correlation,
        "causation": envelope.causation,
        "effect_key": envelope.effect_key,
        "input_digest": envelope.input_digest,
        "hash": envelope.hash,
        "event": payload(envelope),
    }


def payload(envelope: Envelope) -> Any:
    """The payload as it was stored; the bare text of one that does not read."""
    try:
        return envelope.data()
    except EventError:
        return envelope.payload


def _show(console: Console, log: Reader, envelope: Envelope, full: bool, as_json: bool) -> None:
    if as_json:
        blobs = {"blobs": dict(_texts(log, payload(envelope), _named(envelope)))} if full else {}
        print_json_line(event_json(envelope) | blobs)
        return
    console.print(event_line(envelope), soft_wrap=full or not console.is_terminal)
    if full:
        _print_fields(console, log, envelope)


def _print_fields(console: Console, log: Reader, envelope: Envelope) -> None:
    """Every field of an event; in place of a blob's digest, its text."""
    causes = f"caused by {envelope.causation}" if envelope.causation is not None else "caused from outside"
    console.print(Text(f"       {when(envelope.time)}, {causes}, hash {envelope.hash[:12]}", style="dim"))
    stored, blobs = payload(envelope), _named(envelope)
    for name, value in (stored if isinstance(stored, dict) else {"payload": stored}).items():
        texts = list(_texts(log, value, blobs))
        if not texts:
            said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            _print_text(console, name, str(said))
        roles = [item["role"] for item in value] if name == "messages" else []
        for index, (digest, text) in enumerate(texts):
            title = f"{name} [{clean(roles[index])}]" if index < len(roles) else name
            console.print(Text(f"       {title}", style="bold").append(f"  {digest[:12]}", style="dim"))
            for line in clean(_LOST if text is None else text, lines=True).rstrip().splitlines():
                indented(console, Text(line), 9)


def _print_text(console: Console, name: str, text: str) -> None:
    indented(console, Text.assemble((f"{clean(name)}: ", "bold"), clean(text)), 7)


def _named(envelope: Envelope) -> set[str]:
    """Digests that an event names blobs by; of an event that does not read, nobody knows."""
    try:
        return {digest for _, digest in named_blobs(envelope)}
    except EventError:
        return set()


def _texts(log: Reader, value: Any, blobs: set[str]) -> Iterator[tuple[str, str | None]]:
    """(digest, text) of the blobs that a value names, in order; binary ones by their size.

    None stands for the text of one of `blobs` that is lost. Raises CorruptedError for one that was changed.
    """
    if is_digest(value):
        try:
            data = log.blob(value)
        except OperationalError:
            if value in blobs:
                yield value, None
            return  # else it is a digest of something that is no blob
        try:
            yield value, data.decode("utf-8")
        except UnicodeDecodeError:
            yield value, f"({len(data)} bytes)"
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(log, item, blobs)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(log, item, blobs)
