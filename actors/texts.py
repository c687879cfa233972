"""How designs and history are told to a model: lines of text from what may be seen."""

import re

from actors.context import AgentContext
from nader.graph import Role
from store.projections.experience import ExperienceRow
from store.projections.knowledge import LessonRow
from store.projections.tree import Candidate

PLACES = {
    Role.CELL: "The cell, repeated many times within each stage, (B, C, H, W) to (B, C, H, W):",
    Role.STEM: "The stem, once, from the image to the first feature maps:",
    Role.DOWNSAMPLE: "The downsample block, between two stages, to half the height and width:",
}
"""The line above each of a network's blocks, which cannot be told apart by their texts alone: a model chooses
their names.
"""


_HEADER = re.compile(r"^(?=##)", re.MULTILINE)


def labelled(design: str) -> str:
    """A design's text, as `Design.to_text` writes it, with a line above each of its three blocks that says
    which it is.
    """
    _, *blocks = _HEADER.split(design)
    return "\n\n".join(
        f"{place}\n{block.strip()}" for place, block in zip(PLACES.values(), blocks, strict=True)
    )


def history_lines(ctx: AgentContext, visible: int, most: int) -> str:
    """What came of the `most` newest modifications, newest last; from rounds up to `visible`."""
    rows = _newest_lessons(ctx, visible, most)
    if not rows:
        return "Nothing has been tried yet."
    return "\n".join(f"- {outcome_of(row)}: {row.suggestion} Lesson: {row.text}" for row in rows)


def outcome_of(lesson: LessonRow) -> str:
    """What came of a modification, in a few words."""
    if lesson.gain is not None:
        return f"{lesson.gain:+.2f} points"
    return "training failed" if lesson.outcome == "failed" else "no valid design came of it"


def tried_lines(ctx: AgentContext, node: Candidate, visible: int, most: int) -> str:
    """Everything that was ever proposed for a node and for those it was made from, the node first, each with
    its candidate and its result; with the lesson, where it is one of the `most` newest.

    Of rounds after `visible` a result is not told, whether or not it is there by now: only what the Proposer
    itself has decided, that there is no design, or that it is an earlier one.
    """
    tree = ctx.views.tree
    lessons = {row.candidate: row.text for row in _newest_lessons(ctx, visible, most)}
    parts: list[str] = []
    at: Candidate | None = node
    below = ""
    while at is not None:
        tried = tree.children(at.id, ctx.view)
        lines = [
            f"- {child.id}{' (led to the network above)' if child.id == below else ''}: {child.suggestion} "
            f"Result: {_result(ctx, child, at, visible)}."
            + (f" Lesson: {lessons[child.id]}" if child.id in lessons else "")
            for child in tried
        ]
        if lines:
            place = "On the network above" if at is node else "On a network that it was made from"
            reached = (
                f", {at.validation:.2f} % validation accuracy"
                if at.validation is not None and at.round <= visible
                else ""
            )
            parts.append("\n".join([f"{place} ({at.id}{reached}):", *lines]))
        below, at = at.id, tree.parent(at, ctx.view)
    return "\n\n".join(parts) or "Nothing has been tried yet."


def experience_lines(rows: list[ExperienceRow]) -> str:
    """Experiences as a list for the Modifier."""
    if not rows:
        return "None yet."
    return "\n".join(f"- ({row.role}, {row.category}) {row.tip}" for row in rows)


def _newest_lessons(ctx: AgentContext, visible: int, most: int) -> list[LessonRow]:
    lessons = list(ctx.views.knowledge.lessons(ctx.view, visible))
    return lessons[max(0, len(lessons) - most) :]


def _result(ctx: AgentContext, child: Candidate, parent: Candidate, visible: int) -> str:
    """What came of a candidate, as far as a round may know it."""
    state = ctx.views.tree.round_state(child.round, ctx.view)
    if state is not None and state.designed is not None and child.id in state.designed.abandoned:
        return "no valid design came of it"
    same = f"the same design as {child.original}, " if child.original is not None else ""
    if child.round > visible:
        return f"{same}no result yet"
    if child.validation is not None and parent.validation is not None:
        gain = child.validation - parent.validation
        return f"{same}{child.validation:.2f} % ({gain:+.2f} points)"
    return f"{same}training failed ({child.failure})" if child.failed else f"{same}no result"
