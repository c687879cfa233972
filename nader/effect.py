"""Settings that can change nothing where a person sets them by hand: refused, with what to write instead.

A preset or a file may say more than a command needs; what is written out in a command is meant.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from nader.errors import SettingsError
from nader.settings import CampaignSettings

Command = Literal["run", "change", "read", "reflect"]
RUN: Command = "run"
CHANGE: Command = "change"
"""A resume or a fork."""
READ: Command = "read"
REFLECT: Command = "reflect"
_CAMPAIGN = frozenset({RUN, CHANGE})

_SECTIONS: dict[Command, tuple[str, ...]] = {
    RUN: ("search", "modifier", "training", "llm", "budget"),
    CHANGE: ("search", "modifier", "training", "llm", "budget"),
    READ: ("reading", "llm", "budget"),
    REFLECT: ("llm", "budget"),
}
"""Sections that each command looks at; `seed` and `synchronous` are no section's."""
_AT_A_START = (
    "search.library",
    "search.shipped_inspirations",
    "search.experience_from",
    "llm.embedding_tries",
)
"""Settings of what a campaign takes in when it starts, and never again."""
_OF_REPEATS = ("reading.near_duplicate", "reading.near_duplicate_words")
"""Settings by which a campaign tells that ideas of two libraries are one."""
_ASKS: dict[Command, tuple[str, ...]] = {
    RUN: ("proposer", "modifier", "reflector"),
    CHANGE: ("proposer", "modifier", "reflector"),
    READ: ("reader",),
    REFLECT: ("reflector",),
}
"""Agents that ask a chat model in each command."""
_DESIGNERS = {"rule-based": "the rule-based designer answers", "inbox": "a person answers, by the inbox"}


@dataclass(frozen=True)
class _Need:
    """What has to be set for some settings to count."""

    keys: tuple[str, ...]
    met: Callable[[CampaignSettings], bool]
    why: Callable[[CampaignSettings], str]
    write: str


def _of_chat(settings: CampaignSettings) -> bool:
    return settings.llm.backend == "openai"


def _of_endpoint(settings: CampaignSettings) -> bool:
    return _of_chat(settings) or settings.llm.embedder == "openai"


def _who_answers(settings: CampaignSettings) -> str:
    return _DESIGNERS.get(settings.llm.backend, f"llm.backend = {settings.llm.backend!r}")


_NEEDS = (
    _Need(
        ("llm.model", "llm.models", "llm.temperature", "llm.temperatures", "llm.api", "llm.structured"),
        _of_chat,
        _who_answers,
        "--set llm.backend=openai",
    ),
    _Need(
        ("llm.base_url", "llm.api_key_env", "llm.prices", "llm.unlisted"),
        _of_endpoint,
        lambda s: f"{_who_answers(s)}, and vectors are made here",
        "--set llm.backend=openai",
    ),
    _Need(
        ("llm.embedding_model",),
        lambda s: s.llm.embedder == "openai",
        lambda s: "vectors are made here (llm.embedder = 'hashed')",
        "--set llm.embedder=openai",
    ),
    _Need(
        ("llm.inbox",),
        lambda s: s.llm.backend == "inbox",
        lambda s: f"llm.backend = {s.llm.backend!r} asks no person",
        "--set llm.backend=inbox",
    ),
    _Need(
        ("search.strategy", "search.near_success", "search.unexplored", "search.failure_weight",
         "search.near_failure"),
        lambda s: s.search.proposer == "on",
        lambda s: "search.proposer = 'off' draws at random",
        "--set search.proposer=on",
    ),
    _Need(
        ("search.near_success", "search.unexplored", "search.failure_weight", "search.near_failure"),
        lambda s: s.search.reader == "on",
        lambda s: f"search.reader = {s.search.reader!r} retrieves no inspirations",
        "--set search.reader=on",
    ),
    _Need(
        ("search.retrieved",),
        lambda s: s.search.reader != "fixed-list",
        lambda s: "search.reader = 'fixed-list' retrieves no inspirations",
        "--set search.reader=on",
    ),
)  # fmt: skip


def require_effect(
    keys: Iterable[str], settings: CampaignSettings, command: Command, begun: CampaignSettings | None = None
) -> None:
    """That each of `keys`, as written in a command, can change something under `settings`.

    `begun` are the settings that a run which is changed has started with. Raises `SettingsError` with one
    sentence that says what to write.
    """
    for key in keys:
        reason = _idle(key, settings, command, begun)
        if reason:
            raise SettingsError(f"{key} would change nothing: {reason}, or leave it out")


def _idle(
    key: str, settings: CampaignSettings, command: Command, begun: CampaignSettings | None
) -> str | None:
    """Why a setting would change nothing, and what to write; None where it counts."""
    section, _, rest = key.partition(".")
    if command == RUN and _is(key, _OF_REPEATS):
        if settings.search.library:
            return None
        return "one source holds no idea twice; name a library in search.library"
    if rest and section not in _SECTIONS[command]:
        return _of_another_command(section, command)
    if command == CHANGE and _is(key, _AT_A_START):
        return "it says what a campaign takes in when it starts; start a new run"
    if command not in _CAMPAIGN and _is(key, ("llm.embedding_tries",)):
        return "it is for what a campaign takes in when it starts; set it in `nader run`"
    for group in ("llm.models.", "llm.temperatures."):
        agent = key.removeprefix(group)
        if agent != key and agent not in _ASKS[command]:
            return f"no {agent} asks a chat model here; name {' or '.join(_ASKS[command])}"
    for need in _NEEDS:
        if _is(key, need.keys) and not need.met(settings):
            return f"{need.why(settings)}; add {need.write}"
    if begun is not None and key == "search.reader" and settings.search.reader == "on" != begun.search.reader:
        return f"the run began with search.reader = {begun.search.reader!r} and took in none; start a new run"
    return None


def _of_another_command(section: str, command: Command) -> str:
    if section == "reading":
        return "a campaign reads no papers; set it in `nader read`"
    what = "a reading" if command == READ else "reflecting again"
    return f"{what} looks at {', '.join(_SECTIONS[command])} alone; set it in `nader run`"


def _is(key: str, among: Iterable[str]) -> bool:
    """Whether a dotted key is one of the settings, or an entry of one that is a table."""
    return any(key == one or key.startswith(f"{one}.") for one in among)
