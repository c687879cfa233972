"""What a scripted server is to do: answers, delays and faults, as data."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class FaultKind(StrEnum):
    """The ways in which a server can fail a client."""

    RATE_LIMITED = "429"
    RATE_LIMITED_WITH_PAUSE = "429-retry-after"
    QUOTA = "quota"
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    UNAUTHORISED = "401"
    NO_MODEL = "404"
    SILENT = "timeout"
    """Holds the connection and never answers."""
    RESET = "reset"
    """Sends half of the answer, then resets the connection."""
    SLOW_DRIP = "slow-drip"
    """Sends a byte now and then, for ever."""
    TRUNCATED = "truncated"
    """A complete HTTP answer whose JSON ends in the middle."""
    NOT_JSON = "not-json"
    """A proxy's error page with status 200."""
    ERROR_200 = "error-200"
    """An error object with status 200."""
    LARGE = "large"
    """A valid answer of 10 MB."""
    EMPTY_CHOICES = "empty-choices"
    EMPTY_TEXT = "empty-text"
    REFUSAL = "refusal"
    LENGTH = "length"
    """Cut off at the token limit."""
    WRONG_FORM = "wrong-form"
    """An answer that does not have the form asked for."""
    WRONG_DIMENSION = "wrong-dimension"
    WRONG_COUNT = "wrong-count"
    """One vector too few."""


class Fault(BaseModel):
    """A fault, and the requests it befalls; request numbers count from 1, per kind of endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind
    at: tuple[int, ...] = ()
    """These requests."""
    every: int | None = Field(default=None, ge=1)
    """Every n-th request."""
    share: float = Field(default=0.0, ge=0, le=1)
    """This share of prompts, chosen by the prompt's digest, at their first `times` tries: does not depend on
    the order in which requests come."""
    times: int = Field(default=1, ge=1)
    tasks: tuple[str, ...] = ()
    """Only prompts of these templates."""
    endpoint: str = "chat"
    """`chat` (both APIs) or `embeddings`."""
    retry_after_s: float = 0.05
    seconds: float = 30.0
    """How long a silent or dripping answer goes on."""

    def befalls(self, number: int, digest: str, tries: int, task: str) -> bool:
        """Whether the request meets this fault; `tries` counts how often the prompt came, this included."""
        if self.tasks and task not in self.tasks:
            return False
        if number in self.at or (self.every is not None and number % self.every == 0):
            return True
        if not self.share or tries > self.times:
            return False
        drawn = hashlib.sha256(f"{self.kind}/{digest}".encode()).digest()
        return int.from_bytes(drawn[:8], "big") / 2**64 < self.share


class Scenario(BaseModel):
    """A server's script."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...] = ("scripted",)
    listed: tuple[str, ...] | None = None
    """Models named in the list of models; None: all of them."""
    delay_s: float = Field(default=0.0, ge=0)
    """Before each chat answer."""
    answers: tuple[str, ...] = ()
    """Played in turn, over and over, whatever is asked; without any, the rule-based designer answers."""
    task_answers: dict[str, tuple[str, ...]] = {}
    """Answers by template, played in turn; after the last one the designer takes over."""
    faults: tuple[Fault, ...] = ()
    dimension: int = Field(default=64, ge=2)
    rejects: tuple[str, ...] = ()
    """Parameters answered with 400."""
    rejects_of: dict[str, tuple[str, ...]] = {}
    """As `rejects`, of single models."""
    key: str = ""
    """The key to be sent; none is asked for where empty."""
    context_length: int | None = 32768

    @classmethod
    def load(cls, path: Path) -> Scenario:
        """A scenario file. Raises pydantic's ValidationError, naming what is wrong."""
        return cls.model_validate_json(path.read_bytes())
