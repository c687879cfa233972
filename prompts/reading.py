"""Pieces of what models write: reasoning, tags, code fences, graphs."""

from __future__ import annotations

import html
import re

_REASONING = ("think", "thinking", "reasoning", "thought")
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([A-Za-z0-9_+-]*)[^\n]*$", re.MULTILINE)
_HEADER = re.compile(r"^[ \t>*]*#{2,3}[ \t]*[^#\n]{1,200}?[ \t]*#{2,3}", re.MULTILINE)
EDGE = re.compile(r"\d[\w, \t]*-[ \t]*>[ \t]*\d")


def without_reasoning(text: str) -> str:
    """The answer proper: what follows the reasoning of models that show it."""
    said = text
    for name in _REASONING:
        lower = said.lower()
        closing = lower.rfind(f"</{name}>")
        if closing >= 0:
            said = said[closing + len(name) + 3 :]
        elif (opening := lower.find(f"<{name}>")) >= 0:
            said = said[:opening]
    return said


def tagged(text: str, name: str) -> list[str]:
    """Bodies of `<name>…</name>`, any case; a last one left open runs to the end of the text."""
    lower = text.lower()
    opening, closing = f"<{name}>", f"</{name}>"
    bodies: list[str] = []
    at = lower.find(opening)
    while at >= 0:
        start = at + len(opening)
        end = lower.find(closing, start)
        again = lower.find(opening, start)
        if end < 0 or 0 <= again < end:
            # Never closed, or mentioned in passing ("I write <block> …") before the real one opens.
            end = len(text) if again < 0 else again
        bodies.append(html.unescape(text[start:end]).strip())
        at = lower.find(opening, end)
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
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        kept: list[str] = []
        last_edge = 0
        for line in text[start:end].splitlines():
            if line.strip().startswith(("```", "~~~")):
                break
            kept.append(line)
            if EDGE.search(line):
                last_edge = len(kept)
        if last_edge:
            found.append("\n".join(kept[:last_edge]))
    return found
