"""Rules that answer each prompt from the messages alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

from nader.llm.errors import ErrorKind, LLMError
from prompts import Message, section

_TASK = re.compile(r"^Task: ([a-z_]+)$", re.MULTILINE)


class Question:
    """A rendered prompt, taken apart again: its task and the value of each of its sections."""

    def __init__(self, messages: Sequence[Message]) -> None:
        # A repair turn may follow; the task and its material are in the first two messages.
        self.text = "\n\n".join(message.content for message in messages[:2])
        tasks = _TASK.findall(messages[0].content if messages else "")
        if not tasks:
            raise LLMError(
                ErrorKind.BAD_REQUEST,
                "the rule-based designer answers the prompts of this package only, and found no 'Task:' line.",
            )
        self.task = tasks[-1]
        self.seed = hashlib.sha256(self.text.encode()).hexdigest()

    def value(self, name: str) -> str:
        """The section's value; empty where absent or `(none)`."""
        value = section(self.text, name) or ""
        return "" if value.strip() == "(none)" else value

    def number(self, name: str, default: int) -> int:
        """The section as a whole number."""
        value = self.value(name).strip()
        return int(value) if value.isdigit() else default

    def draw(self, purpose: str, below: int) -> int:
        """A number in [0, below) that depends on the prompt and the purpose only."""
        digest = hashlib.sha256(f"{self.seed}/{purpose}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % below


def answer_prompt(messages: Sequence[Message]) -> str:
    """The rule-based answer, in the form that the prompt asks for. Raises LLMError for a prompt it does not know."""
    question = Question(messages)
    if question.task not in RULES:
        raise LLMError(ErrorKind.BAD_REQUEST, f"the rule-based designer has no rule for {question.task!r}.")
    return RULES[question.task](question)


def _judge_relevance(q: Question) -> str:
    return "<reason>Named a structure.</reason>\n<verdict>yes</verdict>"


def _extract(q: Question) -> str:
    return "<inspiration>none</inspiration>"


def _rank(q: Question) -> str:
    ids = re.findall(r"^\[([^\]\s]+)\]", q.value("inspirations"), re.MULTILINE)
    ids.sort(key=lambda i: q.draw(i, 1 << 30))
    return f"<ranking>{', '.join(ids[: q.number('count', len(ids))])}</ranking>"


def _propose(q: Question) -> str:
    return "<proposal>Add squeeze-and-excitation after the last convolution.</proposal>"


def _modify(q: Question) -> str:
    return f"<block>\n{q.value('block')}\n</block>"


def _stem(q: Question) -> str:
    quarter = q.value("stem_scale").strip() not in ("1", "1.0", "1/1")
    stride = 4 if quarter else 1
    kernel = 4 if quarter else 3
    stem = f"##stem##\n0:input\n1:output\n2:Conv2d(out_channels=dim,kernel_size={kernel},stride={stride})\n3:BN\n4:ReLU\n0->2\n2->3\n3->4\n4->1"
    down = "##downsample##\n0:input\n1:output\n2:Conv2d(out_channels=dim,kernel_size=3,stride=2)\n3:BN\n4:ReLU\n0->2\n2->3\n3->4\n4->1"
    return f"<stem>\n{stem}\n</stem>\n<downsample>\n{down}\n</downsample>"


def _repair(q: Question) -> str:
    return f"<block>\n{q.value('draft')}\n</block>"


def _tip(q: Question) -> str:
    return "<tip>Keep a skip connection from input to output.</tip>"


def _judge(q: Question) -> str:
    return "<reason>By rule.</reason>\n<verdict>yes</verdict>"


RULES: dict[str, Callable[[Question], str]] = {
    "judge_relevance": _judge_relevance,
    "extract_inspirations": _extract,
    "rank_inspirations": _rank,
    "propose_freely": _propose,
    "modify_cell": _modify,
    "design_stem_and_downsample": _stem,
    "repair": _repair,
    "reflect_invalid": _tip,
    "reflect_loss": _tip,
    "reflect_repair": _tip,
    "reflect_success": _tip,
    "judge_modification": _judge,
}
