"""What was said to a model and what it answered, with its cost."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from events.registry import Event, Upcaster

UNCERTAIN: dict[str, Any] = {"uncertain_tokens": 0, "uncertain_cost": 0.0}
"""What version 1 of some events did not tell."""
CANCELLED, LOST = "cancelled", "lost"
"""Errors of a try: broken off at a stop that waits for nothing; under way, perhaps, when a process ended
without a word.
"""


class MessageRef(BaseModel):
    """One message of a prompt; its text is a blob, so that a shared definition is stored once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: str
    digest: str


class ChatRequested(Event):
    """A prompt to be answered by a chat model (or the rule-based designer, or a person)."""

    agent: str
    prompt: str
    """Template name."""
    prompt_version: int
    prompt_digest: str
    """Digest of the template as it was."""
    messages: tuple[MessageRef, ...]
    backend: str
    """`openai`, `rule-based` or `inbox`."""
    model: str
    temperature: float
    max_tokens: int
    seed: int | None = None
    terminal: ClassVar[tuple[str, ...]] = ("ChatCompleted", "ChatFailed", "ChatCancelled")


class ChatAttempted(Event):
    """One try that did not give an answer, what it took, and what follows it.

    The request's end tells the sum over all tries of the same process. Where a process leaves no end, what
    its tries took stands here alone.
    """

    attempt: int
    """From 1 in each process; 0 where a process did not live to count it."""
    error: str
    message: str
    wait: float
    """Seconds until the next try; 0 when there is none."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    uncertain_tokens: int = 0
    """The most that this try may have cost of which the server said nothing."""
    uncertain_cost: float = 0.0
    latency: float = 0.0
    """Seconds."""
    version: ClassVar[int] = 2
    upcasters: ClassVar[dict[int, Upcaster]] = {1: lambda data: {**data, **UNCERTAIN, "latency": 0.0}}
    progress: ClassVar[bool] = True


class ChatCompleted(Event):
    """The answer, as it came."""

    answer: str
    """Blob digest."""
    model: str
    """As the server names it."""
    backend: str
    finish: str
    input_tokens: int
    output_tokens: int
    cost: float | None
    """US dollars; None where the model's price is not known."""
    latency: float
    """Seconds, retries included."""
    attempts: int
    uncertain_tokens: int = 0
    """The most that tries may have cost of which the server said nothing (a time-out)."""
    uncertain_cost: float = 0.0
    reused: str = ""
    """`branch:position` of the recorded answer that was taken, at a fork with --reuse."""
    temperature: float | None = None
    """As it was sent; None where it was left to the server, and in events of before this was told."""
    adjustments: tuple[str, ...] = ()
    """Parameters that the model does not take and that were left out or renamed (`max_tokens`); `structured`
    is the schema of the answer.
    """
    version: ClassVar[int] = 2
    upcasters: ClassVar[dict[int, Upcaster]] = {
        1: lambda data: {**data, "temperature": None, "adjustments": []}
    }


class ChatFailed(Event):
    """No answer: refused, cut off, unreachable, over budget; typed."""

    kind: str
    message: str
    attempts: int
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    latency: float = 0.0
    uncertain_tokens: int = 0
    uncertain_cost: float = 0.0


class ChatCancelled(Event):
    """A request that was open where a fork begins, and is not wanted there."""

    reason: str


class EmbeddingRequested(Event):
    """Texts to be turned into vectors."""

    agent: str
    texts: str
    """Blob digest: JSON list of texts."""
    count: int
    embedder: str
    dimension: int
    terminal: ClassVar[tuple[str, ...]] = ("EmbeddingCompleted", "EmbeddingFailed", "EmbeddingCancelled")


class EmbeddingAttempted(Event):
    """One try that gave no vectors; as `ChatAttempted`."""

    attempt: int
    error: str
    message: str
    wait: float
    tokens: int = 0
    cost: float | None = 0.0
    uncertain_tokens: int = 0
    uncertain_cost: float = 0.0
    latency: float = 0.0
    progress: ClassVar[bool] = True


class EmbeddingCompleted(Event):
    """The vectors, recorded once and never computed again."""

    vectors: str
    """Blob digest: float32, little endian, (count, dimension)."""
    embedder: str
    dimension: int
    count: int
    tokens: int
    cost: float | None
    latency: float
    uncertain_tokens: int = 0
    """The most that tries may have cost of which the server said nothing (a time-out)."""
    uncertain_cost: float = 0.0
    reused: str = ""
    """As of `ChatCompleted`."""
    version: ClassVar[int] = 3
    upcasters: ClassVar[dict[int, Upcaster]] = {
        1: lambda data: {**data, **UNCERTAIN},
        2: lambda data: {**data, "reused": ""},
    }


class EmbeddingFailed(Event):
    """No vectors: the campaign goes on with what is known."""

    kind: str
    message: str
    tokens: int = 0
    cost: float | None = 0.0
    uncertain_tokens: int = 0
    uncertain_cost: float = 0.0
    latency: float = 0.0
    version: ClassVar[int] = 2
    upcasters: ClassVar[dict[int, Upcaster]] = {1: lambda data: {**data, **UNCERTAIN, "latency": 0.0}}


class EmbeddingCancelled(Event):
    """A request that was open where a fork begins, and is not wanted there."""

    reason: str
