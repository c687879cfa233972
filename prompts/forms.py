"""Forms of answers: how each is asked for, and how its text is read."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass

from prompts.errors import AnswerError
from prompts.reading import EDGE, fenced, graphs_in, tagged, unfence, whole
from prompts.values import (
    Answer,
    BlockText,
    Code,
    Inspirations,
    Judgement,
    Proposals,
    Ranking,
    Relevance,
    StemAndDownsample,
    Tip,
)

WORDS_OF_A_SUGGESTION = 50
"""Most words of a research-side suggestion (paper Table A9)."""

_YES = re.compile(r"\b(yes|true|relevant|follows)\b", re.IGNORECASE)
_NO = re.compile(r"\b(no|not|false|irrelevant)\b", re.IGNORECASE)
_ITEM = re.compile(r"^[ \t]*(?:[-*•]|\(?\d{1,3}[.)\]:])[ \t]+(\S.*)$", re.MULTILINE)
_ID = re.compile(r"[A-Za-z0-9][\w.:/-]*")
_RANKED = re.compile(
    r"^[ \t]*(?:[-*•]|\(?\d{1,3}[.)\]:])[ \t]+"
    r"(?:[*`]*\[([^\]\s]+)\]|[*`]+([\w./-]+)[*`:]+|([\w./-]+)[ \t]*(?:[:–—]|- |$))"
)
"""A line of a list that begins with an id: `1. [b] because …`, `- **b**: …`, `2) b`."""
_BOLD = re.compile(r"\*\*(.+?)\*\*", re.DOTALL)
_LABEL = re.compile(r"^[\s>#*_]*(?:tip|suggestion)[*_]*[ \t]*[:\n][\s*_]*", re.IGNORECASE)
"""What a tip begins with that is no part of it: `**Tip:**`, `### Suggestion`."""


@dataclass(frozen=True)
class Form:
    """How one kind of answer is asked for and read."""

    model: type[Answer]
    ask: str
    """The sentence that states the form, for a repair turn."""
    read: Callable[[str], Answer]
    structured: bool = False
    """Whether JSON by schema serves as well as text."""

    def stands_in(self, text: str) -> bool:
        """Whether the text holds every tag of the form, closed; a reason may be wanting."""
        tags, lower = set(re.findall(r"</(\w+)>", self.ask)) - {"reason"}, text.lower()
        return all(0 <= lower.find(f"<{tag}>") < lower.rfind(f"</{tag}>") for tag in tags)


def _verdict(said: str) -> tuple[bool, str]:
    """The verdict and its reason; without a tag, a short last line or the first one's beginning tells."""
    reasons = tagged(said, "reason")
    places = tagged(said, "verdict")[-1:]
    if not places:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        places = [line for line in lines[-1:] if len(line) <= 60] + [lines[0][:12]]
    for place in places:
        words = ((True, _YES.search(place)), (False, _NO.search(place)))
        found = sorted((match.start(), says) for says, match in words if match)
        # "No, not relevant": of two the first counts, if the line begins with it.
        if found and (len(found) == 1 or found[0][0] <= 3):
            return found[0][1], reasons[-1] if reasons else ""
    raise AnswerError("The verdict is neither yes nor no.")


def _relevance(said: str) -> Answer:
    verdict, reason = _verdict(said)
    return Relevance(relevant=verdict, reason=reason)


def _judgement(said: str) -> Answer:
    verdict, reason = _verdict(said)
    return Judgement(follows=verdict, reason=reason)


def _items(said: str, name: str) -> tuple[str, ...]:
    """Tagged sentences, or else the items of a list; each on one line."""
    found = tagged(said, name) or [m[1] for m in _ITEM.finditer(said)]
    lines = [" ".join(re.sub(r"\*\*", "", item).split()) for item in found]
    return tuple(dict.fromkeys(line for line in lines if line))


def _inspirations(said: str) -> Answer:
    items = _items(said, "inspiration")
    if not items and not re.search(r"\b(none|no inspirations?)\b", said, re.IGNORECASE):
        raise AnswerError("The answer holds no inspiration.")
    return Inspirations(inspirations=tuple(i for i in items if i.lower().strip(". ") != "none"))


def _proposals(said: str) -> Answer:
    items = _items(said, "proposal")
    if not items:
        raise AnswerError("The answer holds no proposal.")
    return Proposals(proposals=items)


def _ranking(said: str) -> Answer:
    bodies = tagged(said, "ranking") or tagged(said, "response")
    if bodies:
        body = bodies[-1]
    else:
        body = ", ".join(_last_list(said))
        if not body:
            raise AnswerError("The answer holds no ranking.")
    return unique(Ranking(ids=tuple(_ID.findall(unfence(body)))))


def _last_list(said: str) -> list[str]:
    """The ids of the last list in a text, which stands on one line, or has a line for each id."""
    found: list[str] = []
    in_lines = False
    for line in said.splitlines():
        if ranked := _RANKED.match(line):
            found = [*(found if in_lines else ()), ranked[1] or ranked[2] or ranked[3]]
            in_lines = True
        elif len(on_one_line := _listed(line)) > 1:
            found, in_lines = on_one_line, False
    return found


def _listed(line: str) -> list[str]:
    """The items of a line such as `My order: b, a > c`; empty where its parts are no single words."""
    first, *rest = re.split(r"[,>]", line)
    items = [*first.split()[-1:], *(part.strip() for part in rest)]
    return items if all(_ID.fullmatch(item.strip("[]()*`. ")) for item in items) else []


def unique(ranking: Ranking) -> Ranking:
    """The ranking without repetitions."""
    return Ranking(ids=tuple(dict.fromkeys(ranking.ids)))


def _one_block(said: str, *names: str) -> str | None:
    """The last whole graph in one of the tags, or the tag's text where it only resembles one."""
    for name in names:
        found: list[str] = []
        for body in tagged(said, name):
            found += graphs_in(body) or ([unfence(body)] if EDGE.search(body) else [])
        if found:
            return whole(found)
    return None


def _block(said: str) -> Answer:
    text = _one_block(said, "block", "cell", "stem", "downsample")
    if text is None:
        graphs = graphs_in(html.unescape(said))
        listings = [body for body in fenced(said) if EDGE.search(body)]
        text = whole(graphs or listings)
    if text is None:
        raise AnswerError("The answer holds no block: no '##name##' line with nodes and edges after it.")
    return BlockText(text=text)


def _stem_and_downsample(said: str) -> Answer:
    stem, downsample = _one_block(said, "stem"), _one_block(said, "downsample")
    if stem is None or downsample is None:
        graphs = graphs_in(html.unescape(said))
        stem = stem or next((g for g in reversed(graphs) if "stem" in _title(g)), None)
        downsample = downsample or next((g for g in reversed(graphs) if "down" in _title(g)), None)
        if len(graphs) == 2:
            stem, downsample = stem or graphs[0], downsample or graphs[1]
    absent = [name for name, text in (("stem", stem), ("downsample", downsample)) if text is None]
    if stem is None or downsample is None:
        raise AnswerError(f"The answer lacks the {' and the '.join(absent)} block.")
    return StemAndDownsample(stem=stem, downsample=downsample)


def _title(graph: str) -> str:
    return graph.strip().splitlines()[0].lower()


def _tip(said: str) -> Answer:
    bodies = tagged(said, "tip") or tagged(said, "suggestion")
    text = bodies[-1] if bodies else said.strip().split("\n\n")[-1]
    line = " ".join(_LABEL.sub("", _BOLD.sub(r"\1", text)).split())
    if not bodies and len(line.split()) > 2 * WORDS_OF_A_SUGGESTION:
        raise AnswerError("The answer holds no tip.")
    return Tip(text=line)


def _suggestion(said: str) -> Answer:
    line = _tip(said).text  # type: ignore[attr-defined]
    if len(line.split()) > WORDS_OF_A_SUGGESTION:
        # A first sentence that is short enough by itself is the suggestion; what follows explains it.
        start = " ".join(line.split()[:WORDS_OF_A_SUGGESTION])
        fit = [m.end() for m in re.finditer(r"[.!?](?=\s|$)", start)]
        if not fit:
            raise AnswerError(
                f"The suggestion has {len(line.split())} words, and may have {WORDS_OF_A_SUGGESTION}."
            )
        line = line[: fit[-1]]
    return Tip(text=line)


def _code(said: str) -> Answer:
    bodies = tagged(said, "code")
    text = unfence(bodies[-1]) if bodies else "\n\n".join(fenced(said))
    if "def " not in text and "class " not in text:
        raise AnswerError("The answer holds no Python code.")
    return Code(text=text + "\n")


ANSWERS: dict[str, Form] = {
    "relevance": Form(
        Relevance,
        "Give your reason in <reason>…</reason>, then <verdict>yes</verdict> or <verdict>no</verdict>.",
        _relevance,
        structured=True,
    ),
    "inspirations": Form(
        Inspirations,
        "Put each inspiration into its own <inspiration>…</inspiration>; write none in it if there is none.",
        _inspirations,
        structured=True,
    ),
    "ranking": Form(
        Ranking,
        "Put the ids, the most useful first, separated by commas, into <ranking>…</ranking>.",
        _ranking,
        structured=True,
    ),
    "proposals": Form(
        Proposals, "Put each proposal into its own <proposal>…</proposal>.", _proposals, structured=True
    ),
    "block": Form(
        BlockText, "Put the whole block, from its ##name## line on, into <block>…</block>.", _block
    ),
    "stem_and_downsample": Form(
        StemAndDownsample,
        "Put the whole stem block into <stem>…</stem> and the whole downsample block into "
        "<downsample>…</downsample>, each from its ##name## line on.",
        _stem_and_downsample,
    ),
    "tip": Form(Tip, "Put the tip into <tip>…</tip>.", _tip),
    "suggestion": Form(
        Tip,
        f"Put one sentence of at most {WORDS_OF_A_SUGGESTION} words into <tip>…</tip>.",
        _suggestion,
    ),
    "judgement": Form(
        Judgement,
        "Give your reason in <reason>…</reason>, then <verdict>yes</verdict> or <verdict>no</verdict>.",
        _judgement,
        structured=True,
    ),
    "code": Form(Code, "Put the whole Python module into <code>…</code>.", _code),
}
"""The forms of answers, by the name that front matter uses."""
