"""Chat with any server that speaks the OpenAI API, through the `openai` client."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Literal

from nader.llm.connection import Connection
from nader.llm.errors import ErrorKind, LLMError
from nader.llm.types import BackendKind, ChatReply, ChatRequest
from nader.llm.wire import chat_reply, response_reply
from prompts import json_schema

Structured = Literal["auto", "on", "off"]
Api = Literal["chat", "responses"]

# How servers name, in a 400, the parameters that not all of them accept.
_NAMES = {
    "structured": ("response_format", "json_schema", "text.format", "structured output"),
    "max_tokens": ("max_tokens",),
    "temperature": ("temperature",),
    "seed": ("seed",),
}


class OpenAIChat:
    """A back end for Chat Completions (`api="chat"`) or Responses (`api="responses"`).

    `structured` sends the answer's JSON schema, where the prompt has one: `on` always, `auto` until the
    server rejects it, `off` never. Parameters that a server rejects (seed, temperature, max_tokens) are left
    out or renamed for that model from then on, and the reply's `adjustments` say so.
    """

    name = "openai"
    kind = BackendKind.OPENAI

    def __init__(
        self,
        connection: Connection,
        *,
        api: Api = "chat",
        structured: Structured = "off",
        extra_body: Mapping[str, Any] | None = None,
        schema_of: Callable[[str], dict[str, Any] | None] = json_schema,
    ) -> None:
        self.connection = connection
        self._api = api
        self._structured = structured
        self._extra = dict(extra_body or {})
        self._schema_of = schema_of
        self._rejected: dict[str, set[str]] = defaultdict(set)
        """By model: of two behind one endpoint, often only one takes a temperature."""

    async def chat(self, request: ChatRequest) -> ChatReply:
        """One attempt. Raises LLMError, retriable at once where it has just learnt what to leave out."""
        body = self._chat_body(request) if self._api == "chat" else self._responses_body(request)
        try:
            answer = await self.connection.ask(self._api, body, deadline_s=request.deadline_s)
        except LLMError as error:
            raise self._learnt(error, body, request) from error.__cause__
        reply = chat_reply(answer) if self._api == "chat" else response_reply(answer)
        return reply.model_copy(
            update={"model": reply.model or request.model, "adjustments": self._adjustments(request)}
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self.connection.aclose()

    def _chat_body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [message.model_dump() for message in request.messages],
        }
        rejected = self._rejected[request.model]
        limit = "max_completion_tokens" if "max_tokens" in rejected else "max_tokens"
        body[limit] = request.max_tokens
        if request.seed is not None and "seed" not in rejected:
            body["seed"] = request.seed
        schema = self._schema(request)
        if schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": request.prompt, "strict": True, "schema": schema},
            }
        return self._common(request, body)

    def _responses_body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model,
            "input": [message.model_dump() for message in request.messages],
            "max_output_tokens": request.max_tokens,
            "store": False,
        }
        schema = self._schema(request)
        if schema is not None:
            form = {"type": "json_schema", "name": request.prompt, "strict": True, "schema": schema}
            body["text"] = {"format": form}
        return self._common(request, body)

    def _common(self, request: ChatRequest, body: dict[str, Any]) -> dict[str, Any]:
        if request.temperature is not None and "temperature" not in self._rejected[request.model]:
            if not math.isfinite(request.temperature):
                raise LLMError(ErrorKind.BAD_REQUEST, f"temperature {request.temperature} is not a number.")
            body["temperature"] = request.temperature
        if self._extra:
            body["extra_body"] = self._extra
        return body

    def _schema(self, request: ChatRequest) -> dict[str, Any] | None:
        if self._structured == "off" or "structured" in self._rejected[request.model]:
            return None
        return self._schema_of(request.prompt)

    def _adjustments(self, request: ChatRequest) -> tuple[str, ...]:
        """Which parameters of this request its model does not take; those that it does not have are none."""
        chat = self._api == "chat"
        asked = {
            "structured": self._structured != "off" and self._schema_of(request.prompt) is not None,
            "max_tokens": chat,
            "temperature": request.temperature is not None,
            "seed": chat and request.seed is not None,
        }
        return tuple(sorted(name for name in self._rejected[request.model] if asked[name]))

    def _learnt(self, error: LLMError, body: Mapping[str, Any], request: ChatRequest) -> LLMError:
        """The error, to be retried at once where it names a parameter that we can do without."""
        if error.kind is not ErrorKind.BAD_REQUEST:
            return error
        said = f"{getattr(error.__cause__, 'param', None) or ''} {error.message}".lower()
        sent = {
            "structured": "response_format" in body or "text" in body,
            "max_tokens": "max_tokens" in body,
            "temperature": "temperature" in body,
            "seed": "seed" in body,
        }
        for name, words in _NAMES.items():
            droppable = name != "structured" or self._structured == "auto"
            if sent[name] and droppable and any(word in said for word in words):
                self._rejected[request.model].add(name)
                return LLMError(error.kind, error.message, retriable=True, retry_after=0.0)
        return error
