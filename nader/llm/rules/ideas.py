"""Rules of the Reader and the Proposer: which sentences name an edit, and which edit to try next."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from nader.graph import Block, BlockError, parse, parse_all
from nader.graph.edit import EDITS, KINDS_BY_PHRASE, apply_edit, edit_named_in, edits_named_in
from nader.llm.rules.question import Question

_CANDIDATE = re.compile(r"^\[([^\]\s]+)\]\s*(.*)$", re.MULTILINE)
_GAIN = re.compile(r"^- ([+-]\d+(?:\.\d+)?) points: (.*?)(?: Lesson: |$)", re.MULTILINE)
_FAILED = re.compile(r"^- training failed: (.*?)(?: Lesson: |$)", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_STRUCTURE = re.compile(
    r"\b(network|architecture|backbone|block|layer|convolution|transformer|attention|module|encoder|cnn|vit)",
    re.IGNORECASE,
)
_RESOLUTION = re.compile(
    r"\bstride (?:of )?[24]\b|\bstrided\b|downsampl|\bsubsampl|\breduce (?:the )?resolution\b"
)
_HEADING = re.compile(r"^[ \t#]*(?:\d+(?:\.\d+)*\.?|[IVX]+\.)[ \t]+[^.!?\n]{1,80}$", re.MULTILINE)
"""A numbered heading on a line of its own."""
_SHRINKING = ("remove-layer", "remove-branch")
"""Kinds that only take away; tried last."""


def cell_edits_named_in(text: str) -> tuple[str, ...]:
    """The edits that an idea names for a cell: none where it is about the change of resolution, which no cell
    makes.
    """
    return () if _RESOLUTION.search(text.lower()) else edits_named_in(text)


def judge_relevance(q: Question) -> str:
    """Relevant where title or abstract name an edit and speak of networks."""
    text = f"{q.value('title')}. {q.value('abstract')}"
    named = edits_named_in(text)
    if named and _STRUCTURE.search(text):
        return f"<reason>It names {', '.join(named[:3])}.</reason>\n<verdict>yes</verdict>"
    return "<reason>It names no known structure of a block.</reason>\n<verdict>no</verdict>"


def extract_inspirations(q: Question) -> str:
    """Sentences of the section that name an edit, one a kind first."""
    text = _HEADING.sub("", q.value("section"))
    sentences = [" ".join(s.split()) for s in _SENTENCE.split(" ".join(text.split()))]
    named = [(s, edit_named_in(s)) for s in dict.fromkeys(sentences) if 6 <= len(s.split()) <= 60]
    chosen = _spread([(sentence, kind) for sentence, kind in named if kind is not None])
    found = [sentence for sentence, _ in chosen[: q.number("maximum", 8)]]
    return "\n".join(f"<inspiration>{sentence}</inspiration>" for sentence in found or ["none"])


def rank_inspirations(q: Question) -> str:
    """Those that name an applicable edit first; what helped before in front, what hurt behind."""
    block = cell_among(q.value("block"))
    gains = _gains(q.value("experience"))
    tiers: dict[int, list[tuple[str, str | None]]] = {0: [], 1: [], 2: [], 3: []}
    for number, text in q.shuffled(_CANDIDATE.findall(q.value("inspirations")), "rank"):
        kind = next((k for k in cell_edits_named_in(text)[:2] if block is None or applies(block, k)), None)
        if kind is None:
            tiers[3].append((number, edit_named_in(text)))
        elif gains.get(kind, 0.0) < 0 or kind in _SHRINKING:
            tiers[2].append((number, kind))
        else:
            tiers[0 if gains.get(kind, 0.0) > 0 or not _has(block, kind) else 1].append((number, kind))
    ids = [number for tier in sorted(tiers) for number, _ in _spread(tiers[tier])]
    return f"<ranking>{', '.join(ids[: q.number('count', len(ids))])}</ranking>"


def propose_freely(q: Question) -> str:
    """Applicable edits that were not tried yet, in an order of chance; tried ones after them."""
    block = cell_among(q.value("block"))
    history = q.value("history")
    tried = {kind for line in history.splitlines() if (kind := edit_named_in(line)) is not None}
    kinds = [k for k in q.shuffled(EDITS, "propose") if block is None or applies(block, k)]
    kinds.sort(key=lambda kind: (kind in tried, kind in _SHRINKING, _has(block, kind)))
    chosen = kinds[: q.number("count", 5)] or ["extra-skip"]
    return "\n".join(f"<proposal>{sentence_for(kind)}</proposal>" for kind in chosen)


@cache
def sentence_for(kind: str) -> str:
    """A sentence that asks for the edit, and in which `edit_named_in` recognises it."""
    phrase = next(phrase for phrase, named in KINDS_BY_PHRASE.items() if named == kind)
    description = EDITS[kind].description
    full = f"{phrase[0].upper()}{phrase[1:]}: {description[0].lower()}{description[1:]}."
    return full if edit_named_in(full) == kind else f"Use {phrase} in the block."


def cell_of(text: str) -> Block | None:
    """The block, or None where the text is none."""
    try:
        return parse(text)
    except BlockError:
        return None


def cell_among(text: str) -> Block | None:
    """The cell of a network's three blocks, or the one block that is there; None where there is none."""
    try:
        return parse_all(text)[0]
    except BlockError:
        return None


@lru_cache(maxsize=4096)
def applies(block: Block, kind: str) -> bool:
    """Whether the edit has a place in the block."""
    return apply_edit(block, kind).block is not None


def edited_name(block: Block, kind: str) -> str:
    """A name that tells the last edit: the original's, and the kind."""
    return f"{block.name.split('_')[0][:40]}_{kind.replace('-', '_')}"


def _has(block: Block | None, kind: str) -> bool:
    return block is not None and block.name.endswith(f"_{kind.replace('-', '_')}")


def _gains(experience: str) -> dict[str, float]:
    """Mean gain in points of each kind of edit, from lines such as `- +0.40 points: suggestion Lesson: …`; a
    training that failed counts as a loss of one point.
    """
    seen: dict[str, list[float]] = {}
    failed = [("-1", suggestion) for suggestion in _FAILED.findall(experience)]
    for points, suggestion in [*_GAIN.findall(experience), *failed]:
        kind = edit_named_in(suggestion)
        if kind is not None:
            seen.setdefault(kind, []).append(float(points))
    return {kind: sum(points) / len(points) for kind, points in seen.items()}


def _spread(items: list[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """The same items, the first of every kind before the second of any."""
    met: dict[str | None, int] = {}
    rounds = []
    for place, item in enumerate(items):
        met[item[1]] = met.get(item[1], 0) + 1
        rounds.append((met[item[1]], place, item))
    return [item for _, _, item in sorted(rounds, key=lambda entry: entry[:2])]
