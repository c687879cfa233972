"""Rules of the Reflector: what a problem report or a change of accuracy teaches."""

from __future__ import annotations

import re

from nader.graph.edit import edit_named_in
from nader.llm.rules.question import Question

_PROBLEM = re.compile(r"^\d+\. (?:\[(?P<code>[^\]]+)\] )?(?P<body>.*)$", re.MULTILINE)
_PLACE = re.compile(r"\b(?:node \d+:|line \d+:? ?|node \d+ ?)")


def reflect_invalid(q: Question) -> str:
    """The first problem's remedy, without the draft's own numbers."""
    return f"<tip>{_remedy(q.value('problems'))}</tip>"


def reflect_repair(q: Question) -> str:
    """The same, as something that worked."""
    return f"<tip>{_remedy(q.value('problems'))} A draft was accepted after this change.</tip>"


def reflect_loss(q: Question) -> str:
    """Says which kind of edit cost how much."""
    change = _change(q)
    kind = edit_named_in(q.value("inspiration"))
    what = f"the {kind.replace('-', ' ')} edit" if kind else "a change of this kind"
    return (
        f"<tip>Be careful with {what} in such a cell: it {change}. Keep its skip path and its capacity.</tip>"
    )


def reflect_success(q: Question) -> str:
    """Says which kind of edit gained how much."""
    kind = edit_named_in(q.value("inspiration"))
    what = f"the {kind.replace('-', ' ')} edit" if kind else "a change of this kind"
    return f"<tip>Consider {what} in similar cells: it {_change(q)}.</tip>"


def _change(q: Question) -> str:
    before, after = _float(q.value("parent_accuracy")), _float(q.value("child_accuracy"))
    if before is None or after is None:
        return "changed the validation accuracy"
    way = "lowered" if after < before else "raised" if after > before else "did not change"
    return f"{way} validation accuracy from {before:g} to {after:g}"


def _float(text: str) -> float | None:
    try:
        return float(text.strip().rstrip("%"))
    except ValueError:
        return None


def _remedy(problems: str) -> str:
    match = _PROBLEM.search(problems)
    body = match["body"] if match else " ".join(problems.split())
    what, _, fix = body.partition(" Fix: ")
    what = _PLACE.sub("", what).split(" Input shapes:")[0].strip()
    fix = _PLACE.sub("", fix).strip()
    said = f"Avoid this fault: {what}" + (f" {fix}" if fix else "")
    return " ".join(said.split())[:400] or "Verify a block's connections and shapes before answering."
