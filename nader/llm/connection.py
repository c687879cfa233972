"""One server: its address, key and connections, shared by the back ends that talk to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from nader.llm.errors import ErrorKind, LLMError
from nader.llm.secrets import Secret, shown_url
from nader.llm.wire import decode, failure

if TYPE_CHECKING:
    import openai

OPENAI_URL = "https://api.openai.com/v1"
LARGEST_ANSWER = 4 * 1024 * 1024
"""Bytes of a chat answer that are read before it is given up."""

Endpoint = Literal["chat", "responses", "embeddings", "models"]
_HTTP_LIBRARIES = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "h11"})


class Connection:
    """Posts JSON and gets JSON back, whole and of bounded size, or a typed error.

    Retrying is the caller's business (`nader.llm.call`), so the client's own is off.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: Secret | str | None = None,
        *,
        largest_answer: int = LARGEST_ANSWER,
    ) -> None:
        self.base_url = (base_url or OPENAI_URL).rstrip("/")
        self._key = Secret(api_key) if isinstance(api_key, str) else api_key
        self._largest = largest_answer
        self._client: openai.AsyncOpenAI | None = None

    @classmethod
    def from_environment(
        cls, base_url: str | None = None, *, api_key_env: str = "OPENAI_API_KEY"
    ) -> Connection:
        """The server of `base_url`, else of $OPENAI_BASE_URL, else OpenAI; the key of the variable named."""
        url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        return cls(url, Secret.from_environment(api_key_env))

    @property
    def shown(self) -> str:
        """The address as it may be written down."""
        return shown_url(self.base_url)

    @property
    def has_key(self) -> bool:
        """Whether a key is sent."""
        return self._key is not None

    def __repr__(self) -> str:
        return f"Connection({self.shown})"

    async def ask(
        self,
        endpoint: Endpoint,
        body: Mapping[str, Any] | None = None,
        *,
        deadline_s: float | None = None,
        largest: int | None = None,
    ) -> dict[str, Any]:
        """The server's JSON answer to the body. Raises LLMError.

        `deadline_s` bounds each wait for bytes; whoever calls bounds the whole. `largest` is in bytes.
        """
        import openai  # takes most of a second, and a campaign without a server needs none of it

        try:
            return decode(await self._fetch(endpoint, dict(body or {}), deadline_s, largest or self._largest))
        except openai.OpenAIError as error:
            raise self._clean(failure(error)) from error
        except LLMError as error:
            raise self._clean(error) from error.__cause__
        except Exception as error:
            # What breaks while a body is read comes from the HTTP library, unwrapped; anything else is a bug.
            if type(error).__module__.partition(".")[0] not in _HTTP_LIBRARIES:
                raise
            late = "Timeout" in type(error).__name__
            kind = ErrorKind.TIMEOUT if late else ErrorKind.CONNECTION
            what = "no further bytes came" if late else "the connection broke"
            told = LLMError(kind, f"{what} before the answer was whole ({type(error).__name__}).")
            raise self._clean(told) from error

    async def aclose(self) -> None:
        """Closes the connections; a later call opens them anew."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _fetch(
        self, endpoint: Endpoint, body: dict[str, Any], deadline_s: float | None, largest: int
    ) -> bytes:
        client = self._opened()
        timeout: dict[str, Any] = {} if deadline_s is None else {"timeout": deadline_s}
        opening: Any
        if endpoint == "models":
            opening = client.models.with_streaming_response.list(**timeout)
        else:
            resource: Any = {
                "chat": client.chat.completions,
                "responses": client.responses,
                "embeddings": client.embeddings,
            }[endpoint]
            opening = resource.with_streaming_response.create(**body, **timeout)
        async with opening as response:
            read = bytearray()
            async for chunk in response.iter_bytes():
                read += chunk
                if len(read) > largest:
                    raise LLMError(
                        ErrorKind.TOO_LARGE, f"the answer is larger than {largest:,} bytes and was given up."
                    )
            return bytes(read)

    def _opened(self) -> openai.AsyncOpenAI:
        if self._client is None:
            import openai

            # Local servers ask for no key, but the client insists on one.
            key = self._key.reveal() if self._key else "none"
            self._client = openai.AsyncOpenAI(api_key=key, base_url=self.base_url, max_retries=0)
        return self._client

    def _clean(self, error: LLMError) -> LLMError:
        """The error without the key, should a server have repeated it."""
        if self._key is not None:
            error.message = self._key.hide_in(error.message)
            error.args = (error.message,)
        return error
