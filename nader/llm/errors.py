"""What can go wrong between a question to a model and a usable answer, as one typed error."""

from __future__ import annotations

from enum import StrEnum


class ErrorKind(StrEnum):
    """Why a call gave no usable answer."""

    RATE_LIMITED = "rate-limited"
    """The server asked us to slow down (429)."""
    QUOTA = "quota-exhausted"
    """The account has no money or quota left (429 `insufficient_quota`, 402): waiting does not help."""
    SERVER = "server-error"
    """The server failed (5xx)."""
    TIMEOUT = "timeout"
    """No complete answer within the call's deadline."""
    CONNECTION = "connection"
    """No connection, or one that broke before the answer was whole."""
    MALFORMED = "malformed-answer"
    """A complete HTTP answer whose body is not what the API promises."""
    EMPTY = "empty-answer"
    """No choice, or a choice without text."""
    REFUSAL = "refusal"
    """The model or a content filter declined."""
    CUT_OFF = "cut-off"
    """The answer ended at the token limit."""
    TOO_LARGE = "too-large"
    """The answer is larger than any answer may be."""
    NO_MODEL = "no-such-model"
    """The server does not offer the model (404)."""
    AUTHENTICATION = "authentication"
    """Key missing, wrong or without permission (401, 403)."""
    CONTEXT_LENGTH = "context-length"
    """The prompt does not fit the model's context."""
    BAD_REQUEST = "bad-request"
    """The server rejects the request as such (400, 422)."""
    WRONG_DIMENSION = "wrong-dimension"
    """Vectors of another length, or another number of them, than asked for."""
    BUDGET = "budget"
    """A cap would be passed; nothing was sent."""
    UNKNOWN_PRICE = "unknown-price"
    """A money cap is set and the model has no known price; nothing was sent."""


RETRIABLE = frozenset(
    {
        ErrorKind.RATE_LIMITED,
        ErrorKind.SERVER,
        ErrorKind.TIMEOUT,
        ErrorKind.CONNECTION,
        ErrorKind.MALFORMED,
        ErrorKind.EMPTY,
        ErrorKind.TOO_LARGE,
    }
)
"""Kinds that may go away when the same call is made again."""

UNCERTAIN = frozenset(
    {ErrorKind.TIMEOUT, ErrorKind.CONNECTION, ErrorKind.MALFORMED, ErrorKind.EMPTY, ErrorKind.TOO_LARGE}
)
"""Kinds after which a provider may charge for tokens that it never reported to us."""


class LLMError(RuntimeError):
    """A call to a model that gave no usable answer.

    `input_tokens`, `output_tokens` and `cost` are what the server reported and charged nevertheless: of
    one attempt where a back end raises it, of all attempts where `call` raises it. `uncertain_tokens`
    and `uncertain_cost` bound what it may have charged without saying so (a time-out, a broken connection).
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        retriable: bool | None = None,
        retry_after: float | None = None,
        input_tokens: int = 0,
        output_tokens: int = 0,
        usage_known: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retriable = kind in RETRIABLE if retriable is None else retriable
        self.retry_after = retry_after
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        self.usage_known = usage_known or bool(input_tokens or output_tokens)
        self.attempts = 1
        self.latency_s = 0.0
        self.cost: float | None = 0.0
        self.uncertain_tokens = 0
        self.uncertain_cost = 0.0


class BudgetExceeded(LLMError):
    """A cap on money, tokens or time leaves no room for the call, even once those in flight are settled."""

    def __init__(self, message: str, *, scope: str, resource: str, cap: float, spent: float) -> None:
        super().__init__(ErrorKind.BUDGET, message)
        self.scope = scope
        """`campaign` or the role's name."""
        self.resource = resource
        """`money`, `tokens` or `time`."""
        self.cap = cap
        self.spent = spent
