"""Pieces of what models write: reasoning, tags, code fences, graphs."""

from __future__ import annotations

import html
import re
from itertools import pairwise

_REASONING = ("think", "thinking", "reasoning", "thought")
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([A-Za-z0-9_+-]*)[^\n]*$", re.MULTILINE)
_FENCE_LINE = re.compile(r"^[^\S\n]*(?:```|~~~)", re.MULTILINE)
_HEADER = re.compile(r"^[ \t>*]*#{2,3}[^#\n]{1,200}#{2,3}", re.MULTILINE)
_REASONING_MARK = re.compile(rf"<(/?)({'|'.join(_REASONING)})>", re.IGNORECASE)
EDGE = re.compile(r"(?:-[ \t]{0,8}>|=>|[→⟶⇒])[ \t]{0,8}[(\[{]?[ \t]{0,8}\d")
"""An edge with any arrow that the block language reads, and to a group of nodes too."""
_INPUT, _OUTPUT = (re.compile(rf":[ \t]{{0,8}}{end}\b", re.IGNORECASE) for end in ("input", "output"))


def without_reasoning(text: str) -> str:
    """The answer proper: the text without the reasoning of models that show it, before or after the answer.

    What stands before a closing tag that nothing opened is reasoning, whose opening is part of the model's
    own template; what stands after an opening tag that nothing closes was cut off.
    """
    said, _ = _parted(text)
    return said


def reasoning_in(text: str) -> list[str]:
    """The bodies of reasoning that is opened and closed."""
    _, bodies = _parted(text)
    return bodies


def _parted(text: str) -> tuple[str, list[str]]:
    said: list[str] = []
    bodies: list[str] = []
    end, opened = 0, None
    for mark in _REASONING_MARK.finditer(text):
        if opened is not None:
            if mark[1] and mark[2].lower() == opened[2].lower():
                bodies.append(text[opened.end() : mark.start()])
                end, opened = mark.end(), None
        elif mark[1]:
            said, end = [], mark.end()
        else:
            said.append(text[end : mark.start()])
            opened = mark
    if opened is None:
        said.append(text[end:])
    return "".join(said), bodies


def whole(graphs: list[str]) -> str | None:
    """The last graph that has an input and an output; where none has, the last one; None where there is none.

    Answers quote the block they change before the new one, or a part of the new one after it.
    """
    complete = (g for g in reversed(graphs) if _INPUT.search(g) and _OUTPUT.search(g))
    return next(complete, graphs[-1] if graphs else None)


def tagged(text: str, name: str) -> list[str]:
    """Bodies of `<name>…</name>`, any case; a last one left open runs to the end of the text.

    One that is opened again before it is closed was only mentioned ("I write <block> …") and does not count.
    """
    marks = list(re.finditer(rf"<(/?){name}>", text, re.IGNORECASE))
    bodies: list[str] = []
    for place, mark in enumerate(marks):
        following = marks[place + 1] if place + 1 < len(marks) else None
        if mark[1] or (following is not None and not following[1]):
            continue
        end = following.start() if following is not None else len(text)
        bodies.append(html.unescape(text[mark.end() : end]).strip())
    return [body for body in bodies if body]


def fenced(text: str) -> list[str]:
    """Bodies of code fences; one left open runs to the end."""
    bodies: list[str] = []
    start: int | None = None
    for fence in _FENCE.finditer(text):
        if start is None:
            start = fence.end()
        else:
            bodies.append(text[start : fence.start()].strip("\n"))
            start = None
    if start is not None:
        bodies.append(text[start:].strip("\n"))
    return [body for body in bodies if body.strip()]


def unfence(text: str) -> str:
    bodies = fenced(text)
    return bodies[-1] if bodies else text.strip()


def graphs_in(text: str) -> list[str]:
    """What looks like blocks: from each `##name##` header to the last edge before the next header."""
    starts = [m.start() for m in _HEADER.finditer(text)]
    found = []
    for start, end in pairwise([*starts, len(text)]):
        fence = _FENCE_LINE.search(text, start, end)
        lines = text[start : fence.start() if fence else end].splitlines()
        last_edge = next((n for n in range(len(lines), 0, -1) if EDGE.search(lines[n - 1])), 0)
        if last_edge:
            found.append("\n".join(lines[:last_edge]))
    return found
