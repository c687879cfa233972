"""What these tests share: requests, a clock that does not wait, back ends on a scripted server or on none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

import prompts
from nader.llm import ChatReply, ChatRequest, Clock, Connection, LLMError, OpenAIChat
from nader.llm.types import BackendKind
from tests.servers.openai_server import ScriptedServer

CELL = "##Plain##\n0:input\n1:output\n2:Conv2d(C,3)\n3:BN\n4:ReLU\n0->2\n2->3\n3->4\n4->1"
LANGUAGE = "A block is a name, numbered nodes and edges."
GENEROUS = 60.0
"""Seconds: a deadline that a loaded machine keeps."""


def ask(prompt: str = "modify_cell", **changes: object) -> ChatRequest:
    """A rendered request; `values` replaces variables."""
    values = {name: f"about {name}" for name in prompts.load(prompt).variables}
    values |= {
        "block": CELL,
        "cell": CELL,
        "draft": CELL,
        "parent": CELL,
        "child": CELL,
        "language": LANGUAGE,
    }
    values |= {"count": "3", "maximum": "5", "stem_scale": "1", "role": "cell"}
    values |= changes.pop("values", {})  # type: ignore[arg-type]
    used = {name: value for name, value in values.items() if name in prompts.load(prompt).variables}
    messages = tuple(prompts.load(prompt).render(**used))
    fields = {
        "prompt": prompt,
        "messages": messages,
        "model": "scripted",
        "max_tokens": 2048,
        "role": "modifier",
    }
    return ChatRequest(**{**fields, **changes})


def chat_on(server: ScriptedServer, **options: object) -> OpenAIChat:
    """The real client, pointed at the server."""
    return OpenAIChat(Connection(server.url), **options)  # type: ignore[arg-type]


@dataclass
class FakeTime:
    """Time that passes only when someone waits for it; remembers the waits."""

    at: float = 0.0
    waits: list[float] = field(default_factory=list)

    def clock(self, jitter: float = 0.5) -> Clock:
        """A clock on this time."""

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)
            self.at += seconds
            await anyio.lowlevel.checkpoint()

        return Clock(now=lambda: self.at, sleep=sleep, jitter=lambda: jitter)


class Played:
    """A back end that plays replies and errors in turn."""

    name = "played"
    kind = BackendKind.OPENAI

    def __init__(self, turns: Sequence[ChatReply | LLMError]) -> None:
        self.turns = list(turns)
        self.asked = 0

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The next turn; the last one is repeated."""
        turn = self.turns[min(self.asked, len(self.turns) - 1)]
        self.asked += 1
        if isinstance(turn, LLMError):
            raise turn
        return turn

    async def aclose(self) -> None:
        """Nothing to give back."""
