"""How history is told to a model: lines of text from what may be seen."""

from actors.context import AgentContext
from store.projections.experience import ExperienceRow
from store.projections.knowledge import LessonRow


def history_lines(ctx: AgentContext, visible: int, most: int) -> str:
    """What came of the `most` newest modifications, newest last; from rounds up to `visible`."""
    lessons = list(ctx.views.knowledge.lessons(ctx.view, visible))
    rows = lessons[max(0, len(lessons) - most) :]
    if not rows:
        return "Nothing has been tried yet."
    return "\n".join(f"- {outcome_of(row)}: {row.suggestion} Lesson: {row.text}" for row in rows)


def outcome_of(lesson: LessonRow) -> str:
    """What came of a modification, in a few words."""
    if lesson.gain is not None:
        return f"{lesson.gain:+.2f} points"
    return "training failed" if lesson.outcome == "failed" else "no valid design came of it"


def experience_lines(rows: list[ExperienceRow]) -> str:
    """Experiences as a list for the Modifier."""
    if not rows:
        return "None yet."
    return "\n".join(f"- ({row.role}, {row.category}) {row.tip}" for row in rows)
