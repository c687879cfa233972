"""What can be wrong with a block, in words a language model can act on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class ProblemCode(StrEnum):
    """The category of a problem; stable, for programs."""

    SYNTAX = "syntax"
    UNKNOWN_OPERATOR = "unknown operator"
    UNDEFINED_NODE = "undefined node"
    CYCLE = "cycle"
    UNUSED_NODE = "unused node"
    ARITY = "arity"
    ARGUMENT = "argument"
    SHAPE = "shape"
    GROUPS = "groups"
    BATCH = "batch"
    CHANNELS_LAST = "channels-last"
    OUTPUT_SHAPE = "output shape"
    SCALE = "scale"
    SIZE_LIMIT = "size limit"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a block.

    Attributes:
        code: the category.
        message: what is wrong, one or two sentences.
        node: index of the node concerned, if one is.
        operation: that node's operation as it is printed, such as ``Conv2d(out_channels=C,kernel_size=3)``.
        shapes: the shapes that met, printed, such as ``("(B, 64, 32, 32)", "(B, 32, 32, 64)")``.
        hint: what would be right.
        line: the line of the text it was read from, from 1.
    """

    code: ProblemCode
    message: str
    node: int | None = None
    operation: str | None = None
    shapes: tuple[str, ...] = ()
    hint: str = ""
    line: int | None = None

    def __str__(self) -> str:
        where = []
        if self.node is not None:
            where.append(f"node {self.node}:{self.operation or '?'}")
        if self.line is not None:
            where.append(f"line {self.line}")
        head = f"[{self.code.value}] {', '.join(where)}: " if where else f"[{self.code.value}] "
        text = head + self.message
        if self.shapes:
            text += " Input shapes: " + "; ".join(self.shapes) + "."
        return f"{text} Fix: {self.hint}" if self.hint else text


def report(problems: Iterable[Problem]) -> str:
    """All problems as a numbered list for a language model; empty text if there are none."""
    lines = [f"{number}. {problem}" for number, problem in enumerate(problems, start=1)]
    if not lines:
        return ""
    head = "The block has 1 problem:" if len(lines) == 1 else f"The block has {len(lines)} problems:"
    return "\n".join([head, *lines])


class GraphError(ValueError):
    """Base of every error of the block language."""


class BlockError(GraphError):
    """A text is not a block, or a block cannot stand where it was asked to.

    Attributes:
        problems: everything that is wrong, in the order of the text.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(report(self.problems))

    def __reduce__(self) -> tuple[type[BlockError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)
