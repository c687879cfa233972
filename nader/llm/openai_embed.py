"""Embeddings from any server that speaks the OpenAI API."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from nader.llm.connection import Connection
from nader.llm.errors import ErrorKind, LLMError
from nader.llm.types import EmbedReply
from nader.llm.wire import MOST_TOKENS

BATCH = 256
"""Texts in one request."""
_LARGEST = 64 * 1024 * 1024


class OpenAIEmbedder:
    """Embeds by `/v1/embeddings`.

    A dimension that is given is asked of the server and insisted on; else the first answer tells it.
    """

    def __init__(self, connection: Connection, model: str, *, dimension: int | None = None) -> None:
        self.connection = connection
        self.model = model
        self.name = model
        self._dimension = dimension
        self._asked = dimension is not None

    @property
    def dimension(self) -> int:
        """Length of every vector; known after the first answer where it was not given. Raises LLMError."""
        if self._dimension is None:
            raise LLMError(
                ErrorKind.WRONG_DIMENSION,
                f"the dimension of {self.model} is not known yet: state it in the settings, or embed once.",
            )
        return self._dimension

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [len(texts), dimension], rows of unit length. Raises LLMError."""
        return (await self.embed_counted(texts)).vectors

    async def embed_counted(self, texts: Sequence[str]) -> EmbedReply:
        """As `embed`, with tokens and time."""
        began = time.monotonic()
        parts: list[np.ndarray] = []
        tokens, known = 0, True
        for start in range(0, len(texts), BATCH):
            # Servers reject empty inputs, and a sentence of one dot means as little.
            batch = [text if text.strip() else "." for text in texts[start : start + BATCH]]
            try:
                vectors, used = await self._batch(batch)
            except LLMError as error:
                error.input_tokens += tokens
                raise
            parts.append(vectors)
            known = known and used is not None
            tokens += used or 0
        rows = np.concatenate(parts) if parts else np.zeros((0, self.dimension), np.float32)
        return EmbedReply(
            vectors=rows,
            model=self.model,
            input_tokens=tokens,
            usage_known=known,
            latency_s=time.monotonic() - began,
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self.connection.aclose()

    async def _batch(self, texts: list[str]) -> tuple[np.ndarray, int | None]:
        question: dict[str, Any] = {"model": self.model, "input": texts, "encoding_format": "float"}
        if self._asked:
            question["dimensions"] = self._dimension
        try:
            body = await self.connection.ask("embeddings", question, largest=_LARGEST)
        except LLMError as error:
            if self._asked and error.kind is ErrorKind.BAD_REQUEST and "dimensions" in error.message.lower():
                self._asked = (
                    False  # a model of one size only: ask again, and see whether it is the right one
                )
                raise LLMError(error.kind, error.message, retriable=True, retry_after=0.0) from error
            raise
        usage = body.get("usage")
        counted = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        tokens = counted if isinstance(counted, int) and 0 <= counted < MOST_TOKENS else None
        try:
            return self._rows(body, len(texts)), tokens
        except LLMError as error:
            error.input_tokens, error.usage_known = tokens or 0, tokens is not None
            raise

    def _rows(self, body: dict[str, Any], expected: int) -> np.ndarray:
        data = body.get("data")
        if not isinstance(data, list) or not all(isinstance(d, dict) for d in data):
            raise LLMError(ErrorKind.MALFORMED, "the answer holds no list of embeddings.")
        if len(data) != expected:
            raise LLMError(ErrorKind.WRONG_DIMENSION, f"asked for {expected} vectors, got {len(data)}.")
        lengths = {len(d["embedding"]) if isinstance(d.get("embedding"), list) else -1 for d in data}
        if -1 in lengths:
            raise LLMError(ErrorKind.MALFORMED, "an embedding is not a list of numbers.")
        if len(lengths) != 1 or (self._dimension is not None and lengths != {self._dimension}):
            wanted = f"{self._dimension}" if self._dimension is not None else "one length for all"
            got = ", ".join(str(n) for n in sorted(lengths))
            raise LLMError(
                ErrorKind.WRONG_DIMENSION,
                f"{self.model} gives vectors of dimension {got}, not {wanted}: those "
                "cannot be compared; set the dimension to the model's.",
            )
        data = sorted(enumerate(data), key=lambda pair: (_index(pair[1], pair[0]), pair[0]))
        try:
            rows = np.array([d["embedding"] for _, d in data], dtype=np.float32)
        except (ValueError, TypeError, OverflowError):
            raise LLMError(ErrorKind.MALFORMED, "an embedding is not a list of numbers.") from None
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        if rows.shape[1] == 0 or not all(math.isfinite(n) and n > 0 for n in norms[:, 0]):
            raise LLMError(ErrorKind.MALFORMED, "an embedding is empty, zero or not finite.")
        self._dimension = rows.shape[1]
        return (rows / norms).astype(np.float32)


def _index(entry: dict[str, Any], place: int) -> int:
    index = entry.get("index", place)
    return index if isinstance(index, int) else place
