"""The method section of a paper: found by its headings or its place, and cut to a budget of tokens."""

import math
import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from pydantic import BaseModel, ConfigDict

from nader.literature.clean import count_tokens, one_line
from nader.literature.papers import PaperText
from nader.literature.titles import plausible_title


class Section(BaseModel):
    """A part of a paper, ready for a prompt.

    heading: as the paper has it, "" for a part without one; first_page, last_page: counting from 1; text:
    with lines of a paragraph joined; tokens: estimate; note: what was left out or guessed, "" if nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    heading: str
    first_page: int
    last_page: int
    text: str
    tokens: int
    note: str = ""


class _Part(StrEnum):
    ABSTRACT = "abstract"
    BEFORE = "before"
    METHOD = "method"
    EXPERIMENTS = "experiments"
    AFTER = "after"
    OTHER = "other"


# First match wins. A heading is one of these only where it is a heading, so the words may be common ones.
_KINDS = (
    (_Part.ABSTRACT, r"abstract|summary"),
    (
        _Part.BEFORE,
        r"introduction|related works?|background|preliminar\w+|motivation|prior work",
    ),
    (
        _Part.EXPERIMENTS,
        r"experiment\w*|results?|evaluations?|empirical\w*|ablation\w*|implementation details|benchmarks?|"
        r"discussions?|analys[ei]s|applications?",
    ),
    (
        _Part.AFTER,
        r"conclusions?|concluding|limitations?|future works?|acknowledge?ments?|references|bibliography|"
        r"appendi\w+|supplementary|broader impact|ethics|reproducibility|funding|author contributions?",
    ),
    (
        _Part.METHOD,
        r"methods?|methodology|approach|architectures?|models?|networks?|framework|modules?|blocks?|design|"
        r"formulation|algorithms?|proposed|layers?|building",
    ),
)
_LONGEST_HEADING = 130
_LONGEST_NAME = 200  # of the headings of all sections that were taken
_NUMBER = r"(?:[A-Z]?\d{1,2}(?:\.\d{1,2}){0,3}|[IVX]{1,5}|[A-H](?=\.))\.?"
_NUMBERED = re.compile(rf"^(?P<number>{_NUMBER})[\s:]+(?P<title>[A-Z\d][^\n]{{0,110}})$")
_BARE_NUMBER = re.compile(rf"^{_NUMBER}$")
_MARKDOWN = re.compile(r"^(?P<marks>#{1,6})\s*(?P<title>\S.*?)\s*#*$")
_TAGS = re.compile(r"<[^<>]{0,200}>")
_SMALL_CAPS = re.compile(r"\b([A-Z]) ([A-Z]{2,})\b")
_LEADERS = re.compile(r"(?:\.\s?){4,}\d*$")
_BARE_HEADINGS = re.compile(
    r"^(abstract|introduction|related works?|background|preliminaries|methodology|materials and methods|"
    r"(the )?(proposed |our )?(methods?|approach)|architecture|experiments?|experimental results|results|"
    r"evaluation|discussion|conclusions?|acknowledge?ments?|references|bibliography|appendix)[:.]?$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Line:
    text: str
    page: int


@dataclass(frozen=True)
class _Heading:
    line: int
    body: int
    """The line after the heading: a number alone on its line belongs to the heading."""
    title: str
    depth: int
    kind: _Part
    number: int | None = None
    """Its place among the sections of its depth; None where it is not counted 1, 2, 3 or I, II, III."""


def method_section(paper: PaperText, budget_tokens: int = 6000) -> Section:
    """The part of a paper that says how its network is made, at most `budget_tokens` long (an estimate).

    All sections whose headings speak of a method, else those between introduction and experiments, else what
    follows the front matter: which of these it was stands in the note. Paper §3.3.1: "focusing on the method
    section". A paper without any text gives an empty section.
    """
    lines = _lines(paper)
    headings = _top_level(_headings(lines))
    chosen, note = _choose(headings)
    if chosen:
        ends = {h.line: n.line for h, n in pairwise(headings)}
        spans = [(h.line, h.body, ends.get(h.line, len(lines))) for h in chosen]
        heading = _shortened("; ".join(h.title for h in chosen))
    else:
        start = _after_front_matter(lines)
        spans, heading = [(start, start, _before_references(lines, start))], ""
    picked = [line for start, _, end in spans for line in lines[start:end]]
    text, used, cut = _cut(picked, budget_tokens)
    notes = [note, f"cut to {budget_tokens:,} tokens" if cut else "", paper.note]
    return Section(
        heading=heading,
        first_page=picked[0].page if picked else 1,
        last_page=picked[max(used - 1, 0)].page if picked else 1,
        text=text,
        tokens=count_tokens(text),
        note="; ".join(part for part in notes if part),
    )


def abstract_of(paper: PaperText, limit: int = 3000) -> str:
    """The abstract, or the first lines where none is marked; at most `limit` characters."""
    lines = _lines(paper)
    headings = _headings(lines)
    for place, heading in enumerate(headings):
        if heading.kind is _Part.ABSTRACT:
            following = headings[place + 1].line if place + 1 < len(headings) else heading.body + 40
            if text := _join([line.text for line in lines[heading.body : following]]):
                return text[:limit]
    for index, line in enumerate(lines):
        if match := re.match(r"abstract\s*[-—–:.]\s*(\S.*)", line.text, re.IGNORECASE):
            end = next((h.line for h in headings if h.line > index), index + 40)
            return _join([match[1], *(rest.text for rest in lines[index + 1 : end])])[:limit]
    return _join([line.text for line in lines[:40]])[:limit]


def title_of(paper: PaperText) -> str | None:
    """The title: what the file says of itself, if it can be one, else the first line that can be one."""
    for candidate in (paper.title, *(line.text for line in _lines(paper)[:12])):
        if title := plausible_title(_plain(candidate or "").lstrip("# ")):
            return title
    return None


def _lines(paper: PaperText) -> list[_Line]:
    """All lines with their pages, without the header and footer lines that pages repeat."""
    pages = [[line.strip() for line in text.splitlines()] for text in paper.pages]
    edges: Counter[str] = Counter()
    for page in pages:
        edges.update({_edge_key(line) for line in _edges(page) if len(line) <= 100})
    # Left and right pages may have headers of their own, and sections each theirs.
    repeated = {key for key, count in edges.items() if count >= 3 and count * 4 > len(pages)}
    lines = []
    for number, page in enumerate(pages, start=1):
        at_edge = set(map(id, _edges(page)))
        for line in page:
            if line and not (id(line) in at_edge and (line.isdigit() or _edge_key(line) in repeated)):
                lines.append(_Line(line, number))
    return lines


def _edges(page: list[str]) -> list[str]:
    filled = [line for line in page if line]
    return filled[:2] + filled[2:][-2:]


def _edge_key(line: str) -> str:
    return re.sub(r"\d+", "0", line).casefold()


def _plain(line: str) -> str:
    """A line without markup: tags, emphasis, letters set apart by small capitals."""
    return _SMALL_CAPS.sub(r"\1\2", _TAGS.sub("", line).replace("**", "").strip(" *_"))


def _headings(lines: list[_Line]) -> list[_Heading]:
    found = []
    for index, line in enumerate(lines):
        following = lines[index + 1].text if index + 1 < len(lines) else ""
        if heading := _heading(index, _plain(line.text), _plain(following)):
            found.append(heading)
    return found


def _heading(index: int, text: str, following: str) -> _Heading | None:
    if not text or len(text) > _LONGEST_HEADING or _LEADERS.search(text):
        return None
    body = index + 1
    if _BARE_NUMBER.match(text) and _is_title(following):
        text, body = f"{text} {following}", index + 2
    depth = None
    if markdown := _MARKDOWN.match(text):
        text, depth = _plain(markdown["title"]), len(markdown["marks"])
    if (numbered := _NUMBERED.match(text)) and (depth or _is_title(numbered["title"])):
        # The number says more than the marks: converters of PDFs get the level of a heading wrong.
        parts = numbered["number"].strip(".").split(".")
        value = _value(parts[0])
        level = len(parts) if value is not None else len(parts) + 1
        return _Heading(index, body, one_line(text), level, _kind(numbered["title"]), value)
    if depth:
        return _Heading(index, body, one_line(text), depth, _kind(text))
    if _BARE_HEADINGS.match(text):
        return _Heading(index, body, one_line(text).rstrip(":."), 1, _kind(text))
    return None


def _is_title(text: str) -> bool:
    """Whether a line can be the words of a numbered heading, and not a sentence or a table row."""
    words = text.split()
    if not words or len(words) > 12 or text[-1] in ".,;:" or not text[0].isupper():
        return False
    return sum(c.isalpha() or c == " " for c in text) >= 0.8 * len(text) and len(text) >= 4


def _kind(title: str) -> _Part:
    for kind, pattern in _KINDS:
        if re.search(rf"\b(?:{pattern})\b", title, re.IGNORECASE):
            return kind
    return _Part.OTHER


def _value(number: str) -> int | None:
    """An Arabic or Roman number; None for the letters that count appendices and subsections."""
    if number.isdigit():
        return int(number)
    roman = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "X": 10}
    return roman.get(number)


def _top_level(headings: list[_Heading]) -> list[_Heading]:
    """The headings of whole sections, in order, with the abstract and the references.

    Where sections are counted, those of the count that spans most of the paper: rows of tables and items of
    lists that look like headings do not go on from 1 to the end. Else those as deep as the introduction.
    """
    counted = _longest_count([h for h in headings if h.depth == 1 and h.number is not None])
    if len(counted) > 1:
        unnumbered = (_Part.ABSTRACT, _Part.AFTER)
        return [h for h in headings if h in counted or (h.number is None and h.kind in unnumbered)]
    plain = [h for h in headings if h.number is None or h in counted]
    known = [h.depth for h in plain if h.kind in (_Part.BEFORE, _Part.EXPERIMENTS) or _is_end(h)]
    depth = min(known or [h.depth for h in plain], default=1)
    return [h for h in plain if h.depth <= depth or h.kind is _Part.ABSTRACT or _is_end(h)]


def _longest_count(headings: list[_Heading]) -> list[_Heading]:
    """The run of headings numbered upwards (a number may be missed) with an introduction, over most lines."""
    counts: list[list[_Heading]] = []
    for heading in headings[:500]:
        assert heading.number is not None
        for count in reversed(counts):
            if heading.number - (count[-1].number or 0) in (1, 2):
                count.append(heading)
                break
        else:
            if heading.number <= 2:
                counts.append([heading])

    def weight(count: list[_Heading]) -> tuple[bool, int]:
        return any(h.kind is _Part.BEFORE for h in count), count[-1].line - count[0].line

    return max(counts, key=weight, default=[])


def _is_end(heading: _Heading) -> bool:
    return bool(re.search(r"\b(references|bibliography)\b", heading.title, re.IGNORECASE))


def _choose(headings: list[_Heading]) -> tuple[list[_Heading], str]:
    """The sections to take, and a note where they were not told by their names."""
    end = next((i for i, h in enumerate(headings) if _is_end(h)), len(headings))
    body = headings[:end]
    start = next((i for i, h in enumerate(body) if h.kind in (_Part.ABSTRACT, _Part.BEFORE)), -1) + 1
    inner = body[start:]
    if named := [h for h in inner if h.kind is _Part.METHOD]:
        return named, ""
    stop = next((i for i, h in enumerate(inner) if h.kind in (_Part.EXPERIMENTS, _Part.AFTER)), len(inner))
    if between := [h for h in inner[:stop] if h.kind is _Part.OTHER]:
        return between, "no heading speaks of a method; took what stands between introduction and experiments"
    return [], "no method section found; took the text after the front matter"


def _shortened(heading: str) -> str:
    return heading if len(heading) <= _LONGEST_NAME else f"{heading[: _LONGEST_NAME - 1]}…"


def _after_front_matter(lines: list[_Line]) -> int:
    """Where the body begins: after the introduction's first lines, a sixth of the way in, at most page 3."""
    sixth = len(lines) // 6
    third_page = next((i for i, line in enumerate(lines) if line.page >= 3), len(lines))
    return min(sixth, third_page)


def _before_references(lines: list[_Line], start: int) -> int:
    for index in range(start, len(lines)):
        if re.fullmatch(r"(references|bibliography)", _plain(lines[index].text).lstrip("# "), re.IGNORECASE):
            return index
    return len(lines)


def _cut(lines: list[_Line], budget: int) -> tuple[str, int, bool]:
    """As much as the budget holds: text, number of lines it reaches over, and whether any was left out."""
    characters = words = 0
    for used, line in enumerate(lines):
        if not _fits(characters + len(line.text) + 1, words + len(line.text.split()), budget):
            kept = [before.text for before in lines[:used]]
            rest = _beginning(line.text, characters, words, budget, whole_sentences=bool(kept))
            return _join([*kept, rest]), used + bool(rest), True
        characters += len(line.text) + 1
        words += len(line.text.split())
    return _join([line.text for line in lines]), len(lines), False


def _fits(characters: int, words: int, budget: int) -> bool:
    return max(math.ceil(characters / 4), math.ceil(words * 4 / 3)) <= budget


def _beginning(text: str, characters: int, words: int, budget: int, *, whole_sentences: bool) -> str:
    """The first sentences of a paragraph (else words) that still fit behind so many characters and words."""
    pieces = re.split(r"(?<=[.!?])\s+", text) if whole_sentences else text.split()
    kept: list[str] = []
    for piece in pieces:
        characters += len(piece) + 1
        words += len(piece.split())
        if not _fits(characters, words, budget):
            break
        kept.append(piece)
    return " ".join(kept)


def _join(lines: list[str]) -> str:
    """Lines as running text: words that were broken at a line's end are whole again, headings stand alone."""
    out: list[str] = []
    for raw in lines:
        line = _TAGS.sub("", raw).strip()
        if not line:
            continue
        is_heading = _looks_like_heading(line)
        if out and not is_heading and not out[-1].endswith("\n"):
            if out[-1].endswith("-") and line[0].islower():
                out[-1] = out[-1][:-1] + line
                continue
            out[-1] = f"{out[-1]} {line}"
        else:
            out.append(line)
        if is_heading:
            out[-1] += "\n"
    return "\n".join(part.strip() for part in out)


def _looks_like_heading(line: str) -> bool:
    if len(line) > _LONGEST_HEADING:
        return False
    numbered = _NUMBERED.match(_plain(line))
    titled = numbered and _is_title(numbered["title"])
    return bool(titled or _MARKDOWN.match(line) or _BARE_HEADINGS.match(line))
