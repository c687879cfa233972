"""How many tokens a request can take at most, before a server has counted them."""

from __future__ import annotations

from collections.abc import Sequence

from nader.llm.types import ChatRequest

_PER_MESSAGE = 16
_PER_REQUEST = 64


def prompt_bound(request: ChatRequest) -> int:
    """No tokenizer makes more tokens of the prompt than this.

    Byte-level tokenizers spend at least one byte on a token; a chat template adds a few marks to each message
    and a short preamble.
    """
    said = sum(len(message.content.encode()) + _PER_MESSAGE for message in request.messages)
    return said + _PER_REQUEST


def texts_bound(texts: Sequence[str]) -> int:
    """The same for texts to embed."""
    return sum(len(text.encode()) + 8 for text in texts)
