"""Reads the text of blocks: liberal in spelling, with a note for every liberty; strict in meaning."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from nader.graph.arguments import ArgumentError, read_operation
from nader.graph.block import MAX_NAME, Block, Node, Note, clean_name
from nader.graph.errors import BlockError, Problem, ProblemCode
from nader.graph.structure import MAX_EDGES, MAX_INDEX, MAX_NODES

MAX_TEXT = 65_536
MAX_LINE = 2_000
MAX_PROBLEMS = 50
MAX_BLOCKS = 16
MAX_NOTES = 200

_NODE = re.compile(r"(?:[-*]\s+)?([A-Za-z0-9_.]{1,40})\s*:\s*(.*)")
_ARROW = re.compile(r"-{1,3}>|={1,2}>|→|⟶|⇒")
_LABEL = re.compile(r"[A-Za-z0-9_.]{1,40}")
_EDGE = re.compile(
    r"(?:[-*]\s+)?[(\[{]?\s*\d[\w.,\s()\[\]{}]*(?:-{1,3}>|={1,2}>|→|⟶|⇒)[\w.,\s()\[\]{}>=→⟶⇒-]*;?"
)
"""A line that is all edges, for a first look."""
_PLAIN_EDGE = re.compile(r"([0-9]{1,40})->([0-9]{1,40})")
"""An edge as blocks are printed; half of all lines."""
_WORD = re.compile(r"[^\W\d_]{2,}")
_OUTSIDE = "nothing: it stands outside the code fence that holds the block"


@dataclass
class _Draft:
    """One block while it is read."""

    name: str
    nodes: list[tuple[str, int, str]] = field(default_factory=list)  # label, line, operation text
    edges: list[tuple[str, str, int]] = field(default_factory=list)  # labels, line
    notes: list[Note] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unclear: list[tuple[int, str, Problem]] = field(default_factory=list)
    """Lines that are prose if nothing but prose follows: number, text, what is wrong with it otherwise."""

    def note(self, line: int, written: str, read_as: str) -> None:
        if len(self.notes) < MAX_NOTES:
            self.notes.append(Note(line, written[:60], read_as))

    def close_prose(self, *, at_end: bool) -> None:
        """Settle lines that looked like prose: notes where the block is over, problems where it goes on."""
        for number, text, problem in self.unclear:
            if at_end and self.edges:
                self.note(number, text, "prose after the block")
            else:
                self.problems.append(problem)
        self.unclear.clear()

    def syntax(self, line: int, message: str, hint: str = "") -> None:
        self.problems.append(Problem(ProblemCode.SYNTAX, message, line=line, hint=hint))


@dataclass(frozen=True)
class Reading:
    """What was understood of one block's text: the block as far as it could be read, and the problems.

    A node whose operation could not be read has the operator ``?``, so that the rest can still be verified.
    """

    block: Block
    problems: tuple[Problem, ...]


def parse(text: str) -> Block:
    """Read the text of one block.

    Raises BlockError with every problem of the text. What only needs the shapes or the whole graph (cycles,
    unused nodes, number of inputs, sizes) is for `verify`; `check` reports both at once.
    """
    readings = read(text)
    if len(readings) > 1:
        names = ", ".join(reading.block.name for reading in readings[:5])
        message = f"The text holds {len(readings)} blocks ({names}); one is expected."
        raise BlockError([Problem(ProblemCode.SYNTAX, message, hint="Give exactly one ##name## header.")])
    if readings[0].problems:
        raise BlockError(readings[0].problems)
    return readings[0].block


def parse_all(text: str) -> tuple[Block, ...]:
    """Read a text that holds several blocks, one after the other; BlockError with the problems of all."""
    readings = read(text)
    problems = [problem for reading in readings for problem in reading.problems]
    if problems:
        raise BlockError(problems)
    return tuple(reading.block for reading in readings)


def read(text: str) -> tuple[Reading, ...]:
    """Read every block in a text as far as possible; at least one, with problems instead of exceptions.

    Raises TypeError for what is no text.
    """
    if not isinstance(text, str):
        raise TypeError(f"the text of a block is a str, not {type(text).__name__}")
    if len(text) > MAX_TEXT:
        message = f"The text has more than {MAX_TEXT} characters."
        return (_failed(Problem(ProblemCode.SIZE_LIMIT, message, hint="Write a smaller block.")),)
    drafts = _split(*_unfenced(text.splitlines()))
    return tuple(_finish(draft) for draft in drafts)


def _failed(problem: Problem) -> Reading:
    return Reading(Block("block", (), ()), (problem,))


def _unfenced(lines: Sequence[str]) -> tuple[list[tuple[int, str, str]], list[Note]]:
    """(line number, text without comment and space, raw text) of the lines that are part of a block; notes.

    Where the text has code fences with a part of a block inside, only what stands in such fences counts; and,
    if no edge stands there, the edges outside.
    """
    fences = [i for i, line in enumerate(lines) if line.lstrip().startswith("```")]
    fenced = set(fences)
    chosen: set[int] = set()
    for start, end in zip(fences[::2], [*fences[1::2], len(lines)], strict=False):
        if any(_is_block_line(line) for line in lines[start + 1 : end]):
            chosen.update(range(start + 1, end))
    notes: list[Note] = []
    if chosen:
        notes.append(Note(fences[0] + 1, lines[fences[0]].strip()[:60], "a code fence round the block"))
        if not any(_EDGE.fullmatch(lines[i].strip()) for i in chosen):
            chosen.update(i for i, line in enumerate(lines) if _EDGE.fullmatch(line.strip()))
        outside = (i for i, line in enumerate(lines) if i not in chosen and i not in fenced and line.strip())
        before = -2
        for i in outside:
            if i > before + 1 and len(notes) < MAX_NOTES:  # one note for lines that follow each other
                notes.append(Note(i + 1, lines[i].strip()[:60], _OUTSIDE))
            before = i
    else:
        chosen = set(range(len(lines)))
    result = [(i + 1, _uncommented(lines[i]), lines[i]) for i in sorted(chosen - fenced) if lines[i].strip()]
    return result, notes


def _is_block_line(line: str) -> bool:
    stripped = line.strip()
    node = _NODE.fullmatch(stripped)
    numbered = node is not None and node[1][:1].isdigit()
    return stripped.startswith("##") or numbered or _EDGE.fullmatch(stripped) is not None


def _uncommented(line: str) -> str:
    line = line.strip().strip("\ufeff\u200b").replace("\u00a0", " ")
    if line.startswith("##") or (line.startswith("#") and re.fullmatch(r"#\s*[^#\s][^#]*#+", line)):
        return line
    line = line.split("#", 1)[0]
    match = re.search(r"(?:^|[\s)])//", line) if "//" in line else None
    if match and line.count("(", 0, match.start() + 1) == line.count(")", 0, match.start() + 1):
        line = line[: match.start() + (line[match.start()] == ")")]
    return line.strip().rstrip(";").rstrip()


def _split(lines: list[tuple[int, str, str]], notes: list[Note]) -> list[_Draft]:
    drafts: list[_Draft] = []
    early: list[tuple[int, str]] = []
    for number, line, raw in lines:
        if line.startswith("#"):
            _header(drafts, number, line)
            if len(drafts) > MAX_BLOCKS:
                drafts[0].syntax(number, f"The text holds more than {MAX_BLOCKS} blocks.")
                return drafts[:1]
            continue
        if not drafts:
            node = _NODE.fullmatch(line)
            if not (node and node[1][:1].isdigit()):
                early.append((number, line or raw.strip()))
                continue
            drafts.append(_Draft("block", notes=[Note(number, "", "a block without a name, called 'block'")]))
        draft = drafts[-1]
        if line != raw.strip():
            draft.note(number, raw.strip(), line or "a comment")
        full = (
            len(draft.nodes) > MAX_NODES
            or len(draft.edges) > MAX_EDGES
            or len(draft.problems) >= MAX_PROBLEMS
        )
        if line and not full:
            _statement(draft, number, line)
    if not drafts:
        draft = _Draft("block")
        line_number = early[0][0] if early else 1
        draft.syntax(
            line_number, "The text holds no block.", "Begin with a line ##name##, then nodes, then edges."
        )
        return [draft]
    for draft in drafts:
        draft.close_prose(at_end=True)
    drafts[0].notes[:0] = [
        *notes,
        *(Note(number, line[:60], "prose before the block") for number, line in early[:MAX_NOTES]),
    ]
    return drafts


def _header(drafts: list[_Draft], number: int, line: str) -> None:
    """``##name##`` or near it: ``###name###``, ``## name``; a later one that is not closed is a comment."""
    parts = [part.strip() for part in line.split("#") if part.strip()]
    name = parts[0] if parts else ""
    if drafts and not (name and "#" in line.lstrip("#")):
        drafts[-1].notes.append(Note(number, line[:60], "a comment (a header is ##name##)"))
        return
    draft = _Draft(clean_name(name) or "block")
    if line != f"##{draft.name}##":
        draft.notes.append(Note(number, line[:MAX_NAME], f"##{draft.name}##"))
    drafts.append(draft)


def _statement(draft: _Draft, number: int, line: str) -> None:
    if plain := _PLAIN_EDGE.fullmatch(line):
        draft.close_prose(at_end=False)
        draft.edges.append((plain[1], plain[2], number))
        return
    if len(line) > MAX_LINE:
        draft.syntax(
            number, f"The line is longer than {MAX_LINE} characters.", "Write one node or edge a line."
        )
        return
    parts = [part.strip() for part in line.split(";") if part.strip()]
    if len(parts) > 1:
        draft.notes.append(Note(number, line[:60], f"{len(parts)} lines"))
    for part in parts:
        if _may_be_prose(part):
            draft.unclear.append((number, part, _no_statement(number, part)))
            continue
        draft.close_prose(at_end=False)
        node = _NODE.fullmatch(part)
        if node and not node[2].strip() and not node[1][:1].isdigit():
            draft.note(number, part, "a heading")
        elif node:
            if part[0] in "-*":
                draft.note(number, part, f"{node[1]}:{node[2].strip()}")
            draft.nodes.append((node[1], number, node[2].strip()))
        elif _ARROW.search(part):
            _edges(draft, number, part)
        else:
            draft.problems.append(_no_statement(number, part))


def _no_statement(number: int, part: str) -> Problem:
    message = f"{part[:60]!r} is neither a node nor an edge."
    hint = "Write nodes as index:operation(arguments) and edges as index->index."
    return Problem(ProblemCode.SYNTAX, message, line=number, hint=hint)


def _may_be_prose(part: str) -> bool:
    """Three words or more that are not the definition of a node with a number, nor an edge."""
    if " " not in part:
        return False
    node = _NODE.fullmatch(part)
    if (node and node[1][:1].isdigit()) or _EDGE.fullmatch(part):
        return False
    return "(" not in part.split(" ", 1)[0] and len(_WORD.findall(part)) >= 3


def _edges(draft: _Draft, number: int, part: str) -> None:
    bare = part.lstrip("-* ") if part[:1] in "-*" else part
    pieces = bare.split(",")
    chains = pieces if len(pieces) > 1 and all(_ARROW.search(piece) for piece in pieces) else [bare]
    found: list[tuple[str, str]] = []
    for chain in chains:
        groups = [_labels(group) for group in _ARROW.split(chain.strip())]
        if any(group is None for group in groups):
            draft.syntax(
                number, f"{part[:60]!r} is not an edge.", "Write an edge as index->index, such as 0->2."
            )
            return
        for sources, targets in itertools.pairwise(groups):
            found += [(source, target) for source in sources or () for target in targets or ()]
            if len(found) > MAX_EDGES:
                break
    plain = [f"{source}->{target}" for source, target in found]
    if plain != [part]:
        draft.notes.append(
            Note(number, part[:60], ", ".join(plain[:12]) + (", ..." if len(plain) > 12 else ""))
        )
    draft.edges += [(source, target, number) for source, target in found]


def _labels(group: str) -> list[str] | None:
    """The labels of one side of an arrow: ``3``, ``3,4``, ``(3, 4)``, ``[3, 4]``; None if it is none."""
    group = group.strip()
    if group[:1] + group[-1:] in ("()", "[]", "{}"):
        group = group[1:-1]
    labels = [label.strip().split(":")[0].strip() for label in group.split(",")]
    return labels if all(_LABEL.fullmatch(label) for label in labels) else None


def _finish(draft: _Draft) -> Reading:
    if len(draft.nodes) > MAX_NODES:
        message = f"The block has more than {MAX_NODES} nodes."
        return _failed(Problem(ProblemCode.SIZE_LIMIT, message, hint="Write a smaller block."))
    if len(draft.edges) > MAX_EDGES:
        message = f"The block has more than {MAX_EDGES} edges."
        return _failed(Problem(ProblemCode.SIZE_LIMIT, message, hint="Write a smaller block."))
    indices = _indices(draft)
    nodes = _nodes(draft, indices)
    lines = {indices[label]: line for label, line, _ in reversed(draft.nodes)}
    edges = _resolve_edges(draft, indices, lines)
    notes = tuple(sorted(draft.notes, key=lambda note: note.line))
    problems = sorted(draft.problems, key=lambda problem: problem.line or 0)[:MAX_PROBLEMS]
    return Reading(Block(draft.name, nodes, edges, notes, lines), tuple(problems))


def _nodes(draft: _Draft, indices: dict[str, int]) -> tuple[Node, ...]:
    nodes: dict[int, Node] = {}
    first: dict[int, int] = {}
    for label, line, text in draft.nodes:
        index = indices[label]
        if index in nodes:
            message = f"Node {index} is defined twice (first on line {first[index]})."
            hint = "Give each node its own index."
            draft.problems.append(
                Problem(ProblemCode.SYNTAX, message, index, text[:80], line=line, hint=hint)
            )
            continue
        first[index] = line
        nodes[index] = Node(index, "?")
        if len(draft.problems) >= MAX_PROBLEMS:
            continue
        try:
            op, args, notes = _operation(text)
        except ArgumentError as error:
            problem = Problem(error.code, str(error), index, text[:80], line=line, hint=error.hint)
            draft.problems.append(problem)
            continue
        nodes[index] = Node(index, op, args)
        draft.notes += [Note(line, written, read_as) for written, read_as in notes]
    return tuple(nodes.values())


_operation = lru_cache(maxsize=1024)(read_operation)
"""Held, because a few hundred operations make up all the drafts of a campaign."""


def _indices(draft: _Draft) -> dict[str, int]:
    """Label → index: plain numbers stay, any other label gets the lowest free number, with a note."""
    labels = {label: line for label, line, _ in reversed(draft.nodes)}
    ordered = sorted(labels, key=lambda label: labels[label])
    indices = {label: int(label) for label in ordered if _is_index(label)}
    taken = set(indices.values())
    free = (number for number in itertools.count() if number not in taken)
    for label in ordered:
        if label not in indices:
            indices[label] = next(free)
            draft.notes.append(Note(labels[label], label, f"node {indices[label]}"))
    return indices


def _is_index(label: str) -> bool:
    return label.isascii() and label.isdecimal() and len(label) <= 12 and int(label) <= MAX_INDEX


def _resolve_edges(
    draft: _Draft, indices: dict[str, int], lines: dict[int, int]
) -> tuple[tuple[int, int], ...]:
    edges: dict[tuple[int, int], int] = {}
    reported: set[str] = set()
    for source, target, line in draft.edges:
        ends: list[int] = []
        for label in (source, target):
            index = indices.get(label)
            if index is None and _is_index(label) and int(label) in lines:
                index = int(label)
            if index is not None:
                ends.append(index)
            elif label not in reported:
                reported.add(label)
                message = f"The edge {source}->{target} names node {label}, which is not defined."
                hint = f"Add a line {label}:operation, or remove the edges of {label}."
                draft.problems.append(Problem(ProblemCode.UNDEFINED_NODE, message, line=line, hint=hint))
        if len(ends) == 2:
            edge = (ends[0], ends[1])
            if edge in edges:
                note = Note(line, f"{source}->{target}", f"the edge already written on line {edges[edge]}")
                draft.notes.append(note)
            else:
                edges[edge] = line
    return tuple(edges)
