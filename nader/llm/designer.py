"""The rule-based designer: answers the prompts by known architectural edits, without a language model."""

from __future__ import annotations

import anyio.to_thread

from nader.llm.rules import answer_prompt
from nader.llm.types import BackendKind, ChatReply, ChatRequest


class RuleBasedDesigner:
    """A back end that needs no model, key or network.

    A real baseline, always labelled `rule-based`: its answers are a function of the messages alone.
    """

    name = "rule-based"
    kind = BackendKind.RULE_BASED

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Answers for no tokens and no money, on a thread: trying edits takes up to a tenth of a second."""
        text = await anyio.to_thread.run_sync(answer_prompt, request.messages)
        return ChatReply(text=text, model=self.name, cost=0.0)

    async def aclose(self) -> None:
        """Nothing to give back."""
