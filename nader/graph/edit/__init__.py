"""Known architectural edits as small functions: each turns a verified cell into another or says why not."""

from __future__ import annotations

from dataclasses import dataclass

from nader.graph.block import Block
from nader.graph.canonical import digest
from nader.graph.edit import attention, branches, convolutions, layers
from nader.graph.edit.matching import matching_downsample, matching_stem
from nader.graph.edit.phrases import KINDS_BY_PHRASE, edit_named_in, edits_named_in
from nader.graph.edit.plan import Plan
from nader.graph.edit.registry import EDITS, Edit
from nader.graph.errors import GraphError
from nader.graph.sites import Role, Site, Sites
from nader.graph.verify import verify

__all__ = [
    "EDITS",
    "KINDS_BY_PHRASE",
    "Edit",
    "EditResult",
    "apply_edit",
    "attention",
    "branches",
    "convolutions",
    "edit_named_in",
    "edits_named_in",
    "layers",
    "matching_downsample",
    "matching_stem",
]

_SIZES = ((12, 20), (32, 32), (8, 8), (7, 5), (2, 2))
_PROVING = Sites(
    Site(Role.CELL, C, C, H, W)
    for H, W in _SIZES
    for C in (64, 96, 32, 48, 16, 24, 8, 80, 128, 20, 36, 10, 21)
)
"""Where edits are tried: widths that divide by 8 and some that do not, at square, oblong and tiny maps."""


@dataclass(frozen=True)
class EditResult:
    """An edited cell, or None; `reason` says what was done, or why nothing could be."""

    block: Block | None
    reason: str


def apply_edit(block: Block, kind: str, *, variant: int = 0) -> EditResult:
    """Applies an edit of the given kind to a verified cell.

    The cell that comes back verifies wherever `block` did among widths that divide by 8 (among all widths,
    if `block` needs others), and its digest differs from that of `block`. `variant` 0 is the usual place and
    parameter, others pick others, and those past the last begin again at 0. Raises KeyError for a kind
    that EDITS lacks.
    """
    edit = EDITS[kind]
    works = verify(block, Role.CELL, _PROVING).ok_sites
    sites = [site for site, ok in zip(_PROVING, works, strict=True) if ok]
    even = [site for site in sites if site.C % 8 == 0]
    required = Sites(even or sites) if sites else None
    probes = _two_widths(even) or _two_widths(sites)
    if required is None or probes is None:
        return EditResult(None, f"the cell {block.name} works at too few widths to be edited")
    drafts = list(edit.drafts(Plan(block, probes)))
    if not drafts:
        return EditResult(None, f"{kind}: {edit.absent}")
    before, refused = digest(block), "it changes nothing"
    for number in range(len(drafts)):
        draft, done = drafts[(variant + number) % len(drafts)]
        try:
            edited = draft.block()
            verdict = verify(edited, Role.CELL, required)
            if not all(verdict.ok_sites):
                refused = verdict.problems[0].message
            elif digest(edited) != before:
                return EditResult(edited, f"{kind}: {done}")
        except GraphError as error:
            refused = str(error)
    return EditResult(None, f"{kind}: no place or size gives another valid cell: {refused}")


def _two_widths(sites: list[Site]) -> tuple[Site, Site] | None:
    """Two sites of different width and the same map, the most telling map first; None if there are no two."""
    for first in sites:
        for second in sites:
            if first.C != second.C and (first.H, first.W) == (second.H, second.W):
                return first, second
    return None
