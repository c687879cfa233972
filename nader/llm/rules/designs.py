"""Rules of the Modifier: apply the edit that the suggestion names, and give the cell its surroundings."""

from __future__ import annotations

import re
from fractions import Fraction

from nader.graph import Block, Role, digest, print_block
from nader.graph.edit import EDITS, EditResult, apply_edit, edits_named_in, matching_downsample, matching_stem
from nader.graph.library import BASE_DESIGNS, base_design
from nader.llm.rules.ideas import cell_edits_named_in, cell_of, edited_name
from nader.llm.rules.mending import mend
from nader.llm.rules.question import Question

_VARIANTS = (0, 0, 0, 1, 2)
"""Which place or size an edit takes: mostly the usual one."""

_FORMS = 6
"""So many places and sizes of an edit are looked at."""

_DETAIL = re.compile(r"\d+x\d+|max(?=[ -]?pool|imum)|av(?:g|erage)(?=[ -]?pool)")


def modify_cell(q: Question) -> str:
    """The edit that the suggestion names; where it has no place, another one, drawn by digest."""
    block = cell_of(q.value("block"))
    if block is None:
        names = list(BASE_DESIGNS)
        return _tagged("block", print_block(base_design(names[q.draw("base", len(names))]).cell))
    idea = q.value("inspiration")
    named = cell_edits_named_in(idea)
    others = [kind for kind in q.shuffled(EDITS, "instead") if kind not in named]
    for kind in (*named, *others):
        forms = _forms(block, kind, idea)
        if forms:
            result = forms[_VARIANTS[q.draw(f"variant/{kind}", len(_VARIANTS))] % len(forms)]
            assert result.block is not None
            done = result.block.replace(name=edited_name(block, kind))
            why = "" if kind in named else "The suggestion names no edit that fits; another takes its place. "
            return f"{why}Applied {result.reason}.\n\n{_tagged('block', print_block(done))}"
    return f"No known edit fits this cell.\n\n{_tagged('block', print_block(block))}"


def _forms(block: Block, kind: str, idea: str) -> list[EditResult]:
    """The places and sizes the edit can take, only those with the details that the idea names if any has."""
    forms: dict[str, EditResult] = {}
    for variant in range(_FORMS):
        result = apply_edit(block, kind, variant=variant)
        if result.block is None:
            break
        forms.setdefault(digest(result.block), result)
    wanted = _details(idea)
    shared = {key: len(wanted & _details(form.reason)) for key, form in forms.items()}
    most = max(shared.values(), default=0)
    return [form for key, form in forms.items() if shared[key] == most]


def _details(text: str) -> set[str]:
    """Kernel sizes and kinds of pooling that a text names."""
    plain = text.lower().replace("×", "x")
    return {match[0].replace("average", "avg") for match in _DETAIL.finditer(plain)}


def design_stem_and_downsample(q: Question) -> str:
    """Blocks in the style of the cell."""
    cell = cell_of(q.value("cell")) or base_design("resnet-basic").cell
    stem = matching_stem(cell, stride=_stride(q.value("stem_scale")))
    return "\n".join(
        [_tagged("stem", print_block(stem)), _tagged("downsample", print_block(matching_downsample(cell)))]
    )


def repair(q: Question) -> str:
    """The draft with its faults mended; one that has none of the language's is edited or replaced."""
    role = next((role for role in Role if role.value == q.value("role").strip()), Role.CELL)
    draft = q.value("draft")
    mended = mend(draft, role)
    if mended is not None and mended != draft:
        return _tagged("block", mended)
    # Valid as it stands, so the problem is another: no change at all, a width, the stem's scale.
    block = cell_of(draft)
    if role is Role.CELL and block is not None and mended is not None:
        for kind in q.shuffled(EDITS, "repair"):
            edited = apply_edit(block, kind).block
            if edited is not None:
                return _tagged("block", print_block(edited.replace(name=edited_name(block, kind))))
    said = "The draft cannot be mended by rule; a plain block takes its place."
    return f"{said}\n\n{_tagged('block', print_block(_plain(q, role, block)))}"


def _plain(q: Question, role: Role, block: Block | None) -> Block:
    """A block of a known network for the role."""
    names = list(BASE_DESIGNS)
    if role is Role.CELL:
        return base_design(names[q.draw("plain", len(names))]).cell
    style = block or base_design("resnet-basic").cell
    if role is Role.DOWNSAMPLE:
        return matching_downsample(style)
    scale = q.value("scale") or ("1/4" if "/4" in q.value("problems") else "1")
    return matching_stem(style, stride=_stride(scale))


def judge_modification(q: Question) -> str:
    """Follows where the modified block is what a known form of the named edit gives."""
    block, modified = cell_of(q.value("block")), cell_of(q.value("modified"))
    if block is None or modified is None or digest(block) == digest(modified):
        return "<reason>The structure is unchanged.</reason>\n<verdict>no</verdict>"
    for kind in edits_named_in(q.value("suggestion")):
        for variant in range(6):
            edited = apply_edit(block, kind, variant=variant).block
            if edited is not None and digest(edited) == digest(modified):
                return f"<reason>It is the {kind} edit.</reason>\n<verdict>yes</verdict>"
    return "<reason>It is no known form of the suggestion.</reason>\n<verdict>no</verdict>"


def _stride(scale: str) -> int:
    try:
        return 4 if Fraction(scale.strip()) < 1 else 1
    except (ValueError, ZeroDivisionError):
        return 1


def _tagged(name: str, text: str) -> str:
    return f"<{name}>\n{text.strip()}\n</{name}>"
