"""The values that travel between an agent's question and a model's answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from prompts import Message


class BackendKind(StrEnum):
    """What stands behind a back end; recorded with every call so that none is taken for another."""

    OPENAI = "openai"
    RULE_BASED = "rule-based"
    INBOX = "inbox"


class ChatRequest(BaseModel):
    """One question to a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    """Name of the template the messages were rendered from."""
    messages: tuple[Message, ...]
    model: str = ""
    temperature: float | None = None
    """None leaves the choice to the server."""
    max_tokens: int = Field(default=4096, gt=0)
    """Upper bound on the answer's tokens (reasoning included); also what a reservation assumes."""
    seed: int | None = None
    role: str = ""
    """The agent that asks (`proposer`, `modifier`, …): caps are kept per role."""
    key: str = ""
    """Identity of the request across restarts (the effect key); names an inbox file."""
    deadline_s: float | None = None
    """Seconds for one attempt; None takes the retry policy's."""

    @property
    def digest(self) -> str:
        """SHA-256 over everything that determines the answer."""
        said = self.model_dump(mode="json", exclude={"key", "role", "deadline_s"})
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


class ChatReply(BaseModel):
    """A usable answer and what it took.

    Tokens and cost cover every attempt of the call, failed ones included, as the server reported them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    model: str
    """The model that answered, as the server names it."""
    finish: str = "stop"
    input_tokens: int = 0
    output_tokens: int = 0
    latency_s: float = 0.0
    """Seconds from the first attempt to the answer, pauses included."""
    attempts: int = 1
    cost: float | None = None
    """Money (USD) for all attempts; None where the model's price is unknown."""
    usage_known: bool = True
    """Whether the server said how many tokens this answer took."""
    uncertain_tokens: int = 0
    """Upper bound of tokens that attempts may have cost without the server saying so."""
    uncertain_cost: float = 0.0
    adjustments: tuple[str, ...] = ()
    """Parameters that the server did not accept and that were therefore left out or renamed."""


@runtime_checkable
class ChatBackend(Protocol):
    """Whatever answers a question: a server, a rule, a person."""

    name: str
    kind: BackendKind

    async def chat(self, request: ChatRequest) -> ChatReply:
        """One attempt. Raises LLMError."""
        ...

    async def aclose(self) -> None:
        """Give back connections."""
        ...


class EmbedReply(BaseModel):
    """Vectors, one row a text, and what they took."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    vectors: np.ndarray
    """float32 [texts, dimension], rows of unit length."""
    model: str
    input_tokens: int = 0
    usage_known: bool = True
    latency_s: float = 0.0
    attempts: int = 1
    cost: float | None = None
    uncertain_tokens: int = 0
    """As in `ChatReply`."""
    uncertain_cost: float = 0.0


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors; `name` and `dimension` are recorded with every vector."""

    name: str

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        ...

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [len(texts), dimension], rows of unit length. Raises LLMError."""
        ...

    async def embed_counted(self, texts: Sequence[str]) -> EmbedReply:
        """As `embed`, with tokens and time."""
        ...

    async def aclose(self) -> None:
        """Give back connections."""
        ...
