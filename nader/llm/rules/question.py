"""A rendered prompt taken apart again: its task, its sections, and chance that depends on nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from nader.llm.errors import ErrorKind, LLMError
from prompts import Message, section

_TASK = re.compile(r"^Task: ([a-z_]+)$", re.MULTILINE)
T = TypeVar("T")


class Question:
    """What the rules know: the messages, and nothing else. Raises LLMError for messages of another make."""

    def __init__(self, messages: Sequence[Message]) -> None:
        # A repair turn may follow; the task and its material are in the first two messages.
        self.text = "\n\n".join(message.content for message in messages[:2])
        tasks = _TASK.findall(messages[0].content if messages else "")
        if not tasks:
            raise LLMError(
                ErrorKind.BAD_REQUEST,
                "the rule-based designer answers this package's prompts only, and found no 'Task:' line.",
            )
        self.task = tasks[-1]
        self._seed = hashlib.sha256(self.text.encode()).hexdigest()

    def value(self, name: str) -> str:
        """The section's value; empty where absent or `(none)`."""
        value = section(self.text, name) or ""
        return "" if value.strip() == "(none)" else value

    def number(self, name: str, default: int) -> int:
        """The section as a whole number."""
        value = self.value(name).strip()
        return int(value) if value.isdigit() and len(value) < 7 else default

    def draw(self, purpose: str, below: int) -> int:
        """A number in [0, below) that depends on the prompt and the purpose only."""
        digest = hashlib.sha256(f"{self._seed}/{purpose}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % below

    def shuffled(self, items: Iterable[T], purpose: str) -> list[T]:
        """The items in an order that depends on the prompt and the purpose only."""
        return sorted(items, key=lambda item: (self.draw(f"{purpose}/{item}", 1 << 60), str(item)))
