"""Reading answers: from what models really write to one typed value a template, or a sentence that asks again."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prompts.errors import AnswerError
from prompts.message import Message

LONGEST = 400_000
"""Characters that an answer may have; more is not an answer to any of our questions."""


class Answer(BaseModel):
    """What an answer says, once read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Relevance(Answer):
    """Can the paper inspire the design of a block?"""

    reason: str = ""
    relevant: bool


class Inspirations(Answer):
    """Ideas found in a paper, or none."""

    inspirations: tuple[Annotated[str, Field(min_length=1)], ...]


class Ranking(Answer):
    """Ids of inspirations, the most useful first, none twice."""

    ids: tuple[str, ...] = Field(min_length=1)


class Proposals(Answer):
    """Modifications proposed without literature."""

    proposals: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)


class BlockText(Answer):
    """The text of one block, not yet parsed."""

    text: str = Field(min_length=1)


class StemAndDownsample(Answer):
    """The texts of the two blocks that go with a cell."""

    stem: str = Field(min_length=1)
    downsample: str = Field(min_length=1)


class Tip(Answer):
    """One general piece of advice."""

    text: str = Field(min_length=1)


class Judgement(Answer):
    """Does the modified block follow its suggestion?"""

    reason: str = ""
    follows: bool


class Code(Answer):
    """Source text of a Python module."""

    text: str = Field(min_length=1)


WORDS_OF_A_SUGGESTION = 50
"""Most words of a research-side suggestion (paper Table A9)."""


def parse_answer(template: str, text: str, *, ids: Collection[str] | None = None) -> Answer:
    """The typed answer to a template's question.

    Tolerates reasoning before the answer, `<think>` blocks, code fences, missing or upper-case tags and JSON.
    `ids` are the ids that a ranking may name; others are dropped. Raises AnswerError, a sentence for the model.
    """
    from prompts.template import load

    form = load(template).answer
    if len(text) > LONGEST:
        raise AnswerError(
            f"The answer has {len(text):,} characters, far more than asked for. {ANSWERS[form].ask}"
        )
    said = _without_reasoning(text)
    if not said.strip():
        raise AnswerError(f"The answer is empty after its reasoning. {ANSWERS[form].ask}")
    try:
        answer = _from_json(form, said) or ANSWERS[form].read(said)
    except (AnswerError, ValidationError) as error:
        why = str(error) if isinstance(error, AnswerError) else "A part of the answer is empty."
        raise AnswerError(f"{why} {ANSWERS[form].ask}") from None
    if isinstance(answer, Ranking) and ids is not None:
        answer = _known(answer, ids)
    return answer


def json_schema(template: str) -> dict[str, Any] | None:
    """The JSON schema for structured output, or None where free text serves better.

    Blocks and code are left as text: a graph inside a JSON string costs tokens and leaves no room to reason first.
    """
    from prompts.template import load

    form = ANSWERS[load(template).answer]
    if not form.structured:
        return None
    schema = form.model.model_json_schema()
    return _strict({"title": template, **{k: v for k, v in schema.items() if k != "title"}})


def repair_messages(
    messages: Sequence[Message], answer: str, error: AnswerError, *, keep: int = 6000
) -> list[Message]:
    """The conversation one turn on: the malformed answer (its last `keep` characters) and what to do about it."""
    shown = answer if len(answer) <= keep else "…" + answer[-keep:]
    said = Message(role="assistant", content=shown if shown.strip() else "(empty)")
    return [*messages, said, Message(role="user", content=f"{error} Answer the same task again.")]


class Form:
    """How one kind of answer is asked for and read."""

    def __init__(
        self, model: type[Answer], ask: str, read: Callable[[str], Answer], *, structured: bool = False
    ) -> None:
        self.model = model
        self.ask = ask
        self.read = read
        self.structured = structured


# -- pieces -------------------------------------------------------------------------------------------------------

_REASONING = ("think", "thinking", "reasoning", "thought")
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([A-Za-z0-9_+-]*)[^\n]*$", re.MULTILINE)
_HEADER = re.compile(r"^[ \t>*]*#{2,3}[ \t]*[^#\n]{1,200}?[ \t]*#{2,3}", re.MULTILINE)
_EDGE = re.compile(r"\d[\w, \t]*-[ \t]*>[ \t]*\d")
_YES = re.compile(r"\b(yes|true|relevant|follows)\b", re.IGNORECASE)
_NO = re.compile(r"\b(no|not|false|irrelevant)\b", re.IGNORECASE)
_ITEM = re.compile(r"^[ \t]*(?:[-*•]|\(?\d{1,3}[.)\]:])[ \t]+(\S.*)$", re.MULTILINE)
_ID = re.compile(r"[A-Za-z0-9][\w.:/-]*")


def _without_reasoning(text: str) -> str:
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


def _tagged(text: str, name: str) -> list[str]:
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


def _fenced(text: str) -> list[str]:
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


def _unfence(text: str) -> str:
    bodies = _fenced(text)
    return bodies[-1] if bodies else text.strip()


def _graphs(text: str) -> list[str]:
    """Stretches of the text that look like blocks: from a `##name##` header to the last edge before the next one."""
    starts = [m.start() for m in _HEADER.finditer(text)]
    found = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        kept: list[str] = []
        last_edge = 0
        for line in text[start:end].splitlines():
            if line.strip().startswith(("```", "~~~")):
                break
            kept.append(line)
            if _EDGE.search(line):
                last_edge = len(kept)
        if last_edge:
            found.append("\n".join(kept[:last_edge]))
    return found


def _from_json(form: str, said: str) -> Answer | None:
    """The answer where the model wrote JSON of the form's shape, else None."""
    for body in (said, *_fenced(said)):
        body = body.strip()
        if not body.startswith("{"):
            continue
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            continue
        model = ANSWERS[form].model
        if isinstance(value, dict):
            value = {k: v for k, v in value.items() if k in model.model_fields}
            if "ids" in value and isinstance(value["ids"], list):
                value["ids"] = [str(i) for i in value["ids"]]
            try:
                answer = model.model_validate(value)
            except ValidationError:
                continue
            return _unique(answer) if isinstance(answer, Ranking) else answer
    return None


def _strict(schema: Any) -> Any:
    """The schema as structured output wants it: every property required, no defaults, no other keywords."""
    if isinstance(schema, dict):
        kept = {
            k: _strict(v)
            for k, v in schema.items()
            if k not in {"default", "description", "minItems", "minLength"}
        }
        if "properties" in kept:
            kept["properties"] = {k: _strict(v) for k, v in schema["properties"].items()}
            for value in kept["properties"].values():
                value.pop("title", None)
            kept["required"] = list(kept["properties"])
        return kept
    return [_strict(v) for v in schema] if isinstance(schema, list) else schema


# -- readers, one a form ------------------------------------------------------------------------------------------


def _verdict(said: str) -> tuple[bool, str]:
    reasons = _tagged(said, "reason")
    verdicts = _tagged(said, "verdict")
    if verdicts:
        where = verdicts[-1]
    else:
        lines = [line for line in said.splitlines() if line.strip()]
        where = lines[-1] if len(lines[-1]) <= 60 else lines[0][:12]
    yes, no = _YES.search(where), _NO.search(where)
    if bool(yes) == bool(no):
        first = min((m for m in (yes, no) if m), key=lambda m: m.start(), default=None)
        if first is None or first.start() > 3:
            raise AnswerError("The verdict is neither yes nor no.")
        return first is yes, reasons[-1] if reasons else ""
    return yes is not None, reasons[-1] if reasons else ""


def _relevance(said: str) -> Answer:
    verdict, reason = _verdict(said)
    return Relevance(relevant=verdict, reason=reason)


def _judgement(said: str) -> Answer:
    verdict, reason = _verdict(said)
    return Judgement(follows=verdict, reason=reason)


def _items(said: str, name: str) -> tuple[str, ...]:
    """Tagged sentences, or else the items of a list; each on one line."""
    found = _tagged(said, name) or [m[1] for m in _ITEM.finditer(said)]
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
    bodies = _tagged(said, "ranking") or _tagged(said, "response")
    if bodies:
        body = bodies[-1]
    else:
        lists = re.findall(r"\[?[\w.:/-]+\]?(?:[ \t]*[,>][ \t]*\[?[\w.:/-]+\]?)+", said)
        if not lists:
            raise AnswerError("The answer holds no ranking.")
        body = lists[-1]
    return _unique(Ranking(ids=tuple(_ID.findall(_unfence(body)))))


def _unique(ranking: Ranking) -> Ranking:
    return Ranking(ids=tuple(dict.fromkeys(ranking.ids)))


def _known(ranking: Ranking, ids: Collection[str]) -> Ranking:
    known = tuple(i for i in ranking.ids if i in ids)
    if not known:
        raise AnswerError(f"The ranking names none of the ids given. {ANSWERS['ranking'].ask}")
    return Ranking(ids=known)


def _one_block(said: str, *names: str) -> str | None:
    """The last graph in one of the tags, or the tag's text where it only resembles one."""
    for name in names:
        for body in reversed(_tagged(said, name)):
            graphs = _graphs(body)
            if graphs:
                return graphs[-1]
            if _EDGE.search(body):
                return _unfence(body)
    return None


def _block(said: str) -> Answer:
    text = _one_block(said, "block", "cell", "stem", "downsample")
    if text is None:
        graphs = _graphs(html.unescape(said))
        fenced = [body for body in _fenced(said) if _EDGE.search(body)]
        text = graphs[-1] if graphs else fenced[-1] if fenced else None
    if text is None:
        raise AnswerError("The answer holds no block: no '##name##' line with nodes and edges after it.")
    return BlockText(text=text)


def _stem_and_downsample(said: str) -> Answer:
    stem, downsample = _one_block(said, "stem"), _one_block(said, "downsample")
    if stem is None or downsample is None:
        graphs = _graphs(html.unescape(said))
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
    bodies = _tagged(said, "tip") or _tagged(said, "suggestion")
    text = bodies[-1] if bodies else said.strip().split("\n\n")[-1]
    line = " ".join(text.split())
    if not bodies and len(line.split()) > 2 * WORDS_OF_A_SUGGESTION:
        raise AnswerError("The answer holds no tip.")
    return Tip(text=line)


def _suggestion(said: str) -> Answer:
    line = _tip(said).text  # type: ignore[attr-defined]
    if len(line.split()) > WORDS_OF_A_SUGGESTION:
        # A first sentence that is short enough by itself is the suggestion; what follows explains it.
        ends = [m.end() for m in re.finditer(r"[.!?](?=\s|$)", line)]
        fit = [end for end in ends if len(line[:end].split()) <= WORDS_OF_A_SUGGESTION]
        if not fit:
            raise AnswerError(
                f"The suggestion has {len(line.split())} words, and may have {WORDS_OF_A_SUGGESTION}."
            )
        line = line[: fit[-1]]
    return Tip(text=line)


def _code(said: str) -> Answer:
    bodies = _tagged(said, "code")
    text = _unfence(bodies[-1]) if bodies else "\n\n".join(_fenced(said))
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
        "Put each inspiration into its own <inspiration>…</inspiration>, or write <inspiration>none</inspiration>.",
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
