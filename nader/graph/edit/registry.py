"""The table of edits: each a named way to change a cell, drawn up as one or more drafts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nader.graph.edit.plan import Plan

Draft = tuple[Plan, str]
"""A changed plan, and what was done to it: a clause such as "a spatial gate after node 6 (BN)"."""


@dataclass(frozen=True)
class Edit:
    """One kind of edit: `drafts(plan)` yields the changed plans, the most promising first."""

    kind: str
    description: str
    source: str
    absent: str
    drafts: Callable[[Plan], Iterator[Draft]]


EDITS: dict[str, Edit] = {}
"""Every kind of edit by name, in the order in which they were defined."""


def edit(
    kind: str, description: str, *, source: str, absent: str
) -> Callable[[Callable[[Plan], Iterator[Draft]]], Callable[[Plan], Iterator[Draft]]]:
    """Enters a function of drafts into EDITS; `absent` says why there may be none."""

    def enter(drafts: Callable[[Plan], Iterator[Draft]]) -> Callable[[Plan], Iterator[Draft]]:
        EDITS[kind] = Edit(kind, description, source, absent, drafts)
        return drafts

    return enter
