"""Why a campaign had nothing more to try: told from its log, for those that ended before as well."""

from nader.settings import validated
from store.projections import Views
from store.projections.tree import RoundState

_SHOWN = 120
"""Characters of a reason that are shown."""


def why_exhausted(views: Views) -> str:
    """One sentence on what the last rounds of an exhausted campaign came to."""
    settings = validated(views.status.settings(), where="the log's settings")
    last = [state for state in views.tree.rounds() if state.designed is not None]
    last = last[-settings.search.empty_rounds :]
    return _came_to(views, last) or _no_idea(views, settings.search.reader)


def _came_to(views: Views, rounds: list[RoundState]) -> str:
    """What became of the proposals of rounds; empty where there were none."""
    duplicates = [name for state in rounds if state.designed for name in state.designed.duplicates]
    abandoned = [name for state in rounds if state.designed for name in state.designed.abandoned]
    parts = []
    if duplicates:
        parts.append(f"designs that it had already: {len(duplicates)}")
    if abandoned:
        reason = next((c.reason for c in views.tree.candidates() if c.id == abandoned[-1]), "")
        last = f" (the last: {reason[:_SHOWN]})" if reason else ""
        parts.append(f"proposals of which no design came: {len(abandoned)}{last}")
    return f"its last rounds brought nothing new; {', '.join(parts)}" if parts else ""


def _no_idea(views: Views, reader: str) -> str:
    knowledge = views.knowledge
    known = knowledge.count()
    if reader == "own-ideas":
        return "the model had no idea that was not tried yet"
    if reader == "fixed-list":
        return "no edit of the fixed list was left to try"
    if known == 0:
        return "it knows no inspiration: search.shipped_inspirations is off, and no library brought one"
    if not knowledge.matrix()[0]:
        embedder, dimension = knowledge.space() or ("no embedder", 0)
        return (
            f"none of its {known} inspirations has a vector of {embedder} ({dimension} numbers), by which it "
            "finds them"
        )
    return (
        f"each of its {known} inspirations has been proposed for the designs that it would work on; "
        "`nader read` adds more, for a new run"
    )
