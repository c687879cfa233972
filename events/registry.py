"""The event types by name and version, and the one way from stored text to a typed event.

A type never changes in place: a new shape raises `version` and brings an upcaster (dict → dict, one step),
which runs before validation. Stored bytes and hashes stay as they were written.
"""

import json
from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class EventError(ValueError):
    """A stored event that cannot be read; the message says which and why."""


class UnknownEventError(EventError):
    """A type or version this program does not know: the log was written by a newer one."""


class Event(BaseModel):
    """Base of all events: frozen, and strict about its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    version: ClassVar[int] = 1
    upcasters: ClassVar[dict[int, Upcaster]] = {}
    """From version n to n + 1, for every n below `version`."""
    terminal: ClassVar[tuple[str, ...]] = ()
    """For a request: the event types one of which answers it, with the request's position as causation."""
    progress: ClassVar[bool] = False
    """A fact of the world on the way to a terminal event (an epoch, an attempt): kept, shown, never
    compared.
    """

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        missing = [n for n in range(1, cls.version) if n not in cls.upcasters]
        if missing:
            raise TypeError(f"{cls.__name__} version {cls.version} lacks upcasters from {missing}")
        _TYPES[cls.__name__] = cls


_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
"""As `events.envelope.canonical_json`, made once."""
_TYPES: dict[str, type[Event]] = {}


def event_types() -> dict[str, type[Event]]:
    """Every registered event type by its name."""
    _load()
    return dict(_TYPES)


def known_versions() -> list[tuple[str, int]]:
    """Every (type, version) that can be read, oldest version first."""
    return [(name, n) for name, cls in sorted(event_types().items()) for n in range(1, cls.version + 1)]


def encode(event: Event) -> tuple[str, int, str]:
    """An event as (type, version, canonical JSON): what the log stores."""
    return type(event).__name__, type(event).version, _JSON.encode(event.model_dump(mode="json"))


def known_type(type_name: str, version: int) -> type[Event]:
    """The class that a stored type and version are read as. Raises `UnknownEventError` for those of a newer
    program, `EventError` for a version that there cannot be.
    """
    cls = _TYPES.get(type_name)
    if cls is None:
        _load()
        cls = _TYPES.get(type_name)
    if cls is None:
        raise UnknownEventError(
            f"this log holds events of type {type_name[:80]!r}, which this version of nader does not know; "
            "it was written by a newer one: upgrade nader to read it"
        )
    if version > cls.version:
        raise UnknownEventError(
            f"this log holds {type_name} version {version}, and this nader knows up to version "
            f"{cls.version}; "
            "it was written by a newer one: upgrade nader to read it"
        )
    if version < 1:
        raise EventError(f"this log holds {type_name} version {version}, which no version of nader wrote")
    return cls


def decode(type_name: str, version: int, payload: str) -> Event:
    """The event that was stored as `payload`, upcast to the newest version.

    By the type's own validator: one tagged union over all types takes three times as long, a `TypeAdapter`
    half as long again.
    """
    cls = known_type(type_name, version)
    try:
        if version == cls.version:
            event: Event = cls.__pydantic_validator__.validate_json(payload)
            return event
        data = json.loads(payload)
        for step in range(version, cls.version if isinstance(data, dict) else version):
            data = cls.upcasters[step](data)
        return cls.model_validate(data)
    except (ValidationError, ValueError, RecursionError) as error:
        raise EventError(
            f"an event of type {type_name} version {version} does not read: {_first_problem(error)}"
        ) from error


def _first_problem(error: ValueError | RecursionError) -> str:
    """The first thing that is wrong, on one line and without the values, which may be long or hostile."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'its text'}: {first['msg'].lower()}"


def _load() -> None:
    """Import every conversation, so that their types are registered."""
    from events import campaign, development, llm, reading, reflection, research, training  # noqa: F401
