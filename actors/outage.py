"""Tells a server that is away from a call that failed: one is waited for, the other costs its candidate."""

from actors.context import EffectorContext
from actors.history import History
from actors.runtime import MustPause
from events.llm import (
    ChatCompleted,
    ChatFailed,
    ChatRequested,
    EmbeddingCompleted,
    EmbeddingFailed,
    EmbeddingRequested,
)
from nader.llm import ErrorKind, LLMError

OF_THE_SERVER = frozenset({ErrorKind.RATE_LIMITED, ErrorKind.SERVER, ErrorKind.CONNECTION, ErrorKind.TIMEOUT})
"""Kinds of failure, after all tries, that say more of the server than of the question."""


class Outage:
    """Counts calls in a row that ended without an answer for the server's sake, over all agents.

    The streak goes on where an earlier process left it, so that a campaign that is resumed while the server
    is still away gives up nothing more. Chat and embeddings each have their own: the one may answer while
    the other is away.
    """

    def __init__(self, limit: int) -> None:
        """`limit` calls in a row are an outage; 0 lets every call fail by itself."""
        self._limit = limit
        self._streaks: dict[str, int] | None = None
        self._away = False
        """Once so, for the rest of this process, which is leaving."""

    def failed(self, ctx: EffectorContext, error: LLMError) -> None:
        """Take in how a call ended. Raises `MustPause` where that makes, or goes on with, an outage."""
        if not self._limit or error.kind not in OF_THE_SERVER:
            return
        streaks = self._known(ctx)
        streaks[ctx.request.type] = streaks.get(ctx.request.type, 0) + 1
        length = sum(streaks.values())
        self._away = self._away or length >= self._limit
        if self._away:
            raise MustPause(
                f"outage: {length} calls in a row ended without an answer, each after all its tries, the "
                f"last with {error.kind} ({error.message.rstrip('.')}); the open questions are asked again "
                "when the work goes on"
            )

    def answered(self, ctx: EffectorContext) -> None:
        """A call was answered: its kind of call is not away."""
        self._known(ctx).pop(ctx.request.type, None)

    def _known(self, ctx: EffectorContext) -> dict[str, int]:
        if self._streaks is None:
            self._streaks = streaks(ctx.history)
        return self._streaks


_CALLS = {
    ChatRequested.__name__: (ChatCompleted.__name__, ChatFailed.__name__),
    EmbeddingRequested.__name__: (EmbeddingCompleted.__name__, EmbeddingFailed.__name__),
}
"""How each kind of call ends: answered, failed."""


def streaks(history: History) -> dict[str, int]:
    """Calls that failed for the server's sake since one was answered, by the request's type."""
    return {asked: history.failures_in_a_row(*ends, OF_THE_SERVER) for asked, ends in _CALLS.items()}
