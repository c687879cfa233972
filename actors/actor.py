"""What an actor is: a name, the events it handles, and how many it handles at once."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from events import Envelope, Event

if TYPE_CHECKING:
    from actors.context import EffectorContext

F = TypeVar("F", bound=Callable[..., Any])


def handles(event_type: type[Event]) -> Callable[[F], F]:
    """Marks a method as the handler of an event type."""

    def mark(method: F) -> F:
        method.handled_type = event_type.__name__  # type: ignore[attr-defined]
        return method

    return mark


class Actor:
    """Base of both kinds; `handled` maps event type names to the methods marked with `@handles`."""

    name: ClassVar[str]
    concurrency: int = 1
    """How many handlers run at once; 1 where `serial`."""
    handled: ClassVar[dict[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {m.handled_type: n for n, m in vars(cls).items() if hasattr(m, "handled_type")}
        cls.handled = {**cls.handled, **own}

    def handler(self, type_name: str) -> Callable[..., Awaitable[Any]]:
        """The bound method that handles an event type."""
        method: Callable[..., Awaitable[Any]] = getattr(self, self.handled[type_name])
        return method


class Agent(Actor):
    """An actor that decides: its handlers are deterministic and see only their context."""

    serial: ClassVar[bool] = False
    """Handles one at a time, and its view also includes its own earlier emissions."""
    answered: ClassVar[tuple[str, ...]] = ()
    """Handled types that are requests to this agent: it must record their terminal event."""

    def answers(self, type_name: str) -> bool:
        """Whether this agent owes a terminal event to a type it handles."""
        return type_name in self.answered

    def give_up(self, cause: Event, error: str) -> list[Event]:
        """The events that stand in for a handling that failed for good; a request's must hold its terminal
        event.
        """
        return []


class Effector(Actor):
    """An actor that acts on the world: it turns a request into exactly one terminal event."""

    ends_softly: ClassVar[bool] = False
    """Whether `end` brings what runs to an end that keeps more than a cancellation does."""

    async def end(self) -> None:
        """Bring everything that runs to a good end, soon; requests stay open."""

    async def perform(self, ctx: "EffectorContext", request: Envelope) -> Event:
        """Carry out a request and return its terminal event; cancellation leaves the request open."""
        raise NotImplementedError

    def failure(self, request: Event, error: str) -> Event:
        """The terminal event of a request whose execution keeps raising."""
        raise NotImplementedError
