"""What the agents ask of the network: the skeleton a campaign uses, whether a draft fits it, and how wide it
may be.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from nader.graph import (
    BASE_DESIGNS,
    Block,
    BlockError,
    Design,
    Role,
    SymmetryError,
    base_design,
    digest,
    parse,
    print_block,
    report,
)
from nader.network import (
    Limits,
    NoWidthError,
    Skeleton,
    WidthChoice,
    get_skeleton,
    search_width,
    verify_block,
)
from nader.settings import CampaignSettings

NO_OP = "no-op"
"""Code of a cell that repeats its parent's."""
NO_WIDTH = "width"
"""Code of a block with which no network keeps within the limits."""


@dataclass(frozen=True)
class Checked:
    """A draft as the verifier sees it."""

    block: Block | None
    report: str = ""
    """For the model: every independent problem."""
    codes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def text(self) -> str:
        """The block in canonical form."""
        assert self.block is not None
        return print_block(self.block)


def skeleton_of(settings: CampaignSettings, image: tuple[int, int, int]) -> Skeleton:
    """The campaign's skeleton for the images of its data set (channels, height, width)."""
    return _skeleton(settings.training.skeleton, image)


@lru_cache(maxsize=16)
def _skeleton(name: str, image: tuple[int, int, int]) -> Skeleton:
    """One object for one skeleton, so that look-ups by it need no comparison of its fields."""
    return get_skeleton(name).for_image(*image)


def limits_of(settings: CampaignSettings, skeleton: Skeleton) -> Limits:
    """The campaign's limits on parameters and MACs: the settings', else the skeleton's own; 0 lifts one."""
    training = settings.training
    params = skeleton.limits.params if training.max_params is None else int(training.max_params) or None
    macs = skeleton.limits.macs if training.max_macs is None else int(training.max_macs) or None
    return Limits(params=params, macs=macs)


def choose_width(design: Design, skeleton: Skeleton, settings: CampaignSettings, classes: int) -> WidthChoice:
    """The widest network within the limits. Raises `NoWidthError`."""
    return _width(design, skeleton, classes, limits_of(settings, skeleton))


_width = lru_cache(maxsize=1024)(search_width)
"""Held, because a design's blocks are tried one after the other with those of its parent."""


@lru_cache(maxsize=512)
def check(text: str, role: Role, skeleton: Skeleton) -> Checked:
    """Parse and verify a draft for its role in a skeleton.

    Held, because the stems and downsample blocks of a campaign repeat, and a good cell is found more than
    once.
    """
    try:
        block = parse(text)
    except BlockError as error:
        return Checked(None, str(error), tuple(str(p.code) for p in error.problems))
    verdict = verify_block(block, role, skeleton)
    if not verdict.ok:
        return Checked(None, verdict.report(), tuple(str(p.code) for p in verdict.problems))
    try:
        digest(block, role)  # a design that cannot be compared with others is none
    except SymmetryError as error:
        return Checked(None, report([error.problem]), (str(error.problem.code),))
    return Checked(block, notes=tuple(str(note) for note in block.notes))


def oversize(
    blocks: Mapping[Role, Block],
    parent: Design,
    skeleton: Skeleton,
    settings: CampaignSettings,
    classes: int,
) -> NoWidthError | None:
    """Why no network with these blocks keeps within the limits; None where one does.

    A role that has no block yet is filled with the parent's, and with each base design's where that one does
    not do: a block is not blamed for what goes with it.
    """
    refusal: NoWidthError | None = None
    for other in (parent, *_bases(skeleton.stem_stride)):
        cell, stem, downsample = (blocks.get(role) or other.block(role) for role in Role)
        try:
            choose_width(Design(cell, stem, downsample), skeleton, settings, classes)
        except NoWidthError as error:
            refusal = refusal or error
            if len(blocks) == len(Role):
                break
        else:
            return None
    return refusal


@lru_cache(maxsize=4)
def _bases(stem_stride: int) -> tuple[Design, ...]:
    return tuple(base_design(name, stride=stem_stride) for name in BASE_DESIGNS)


@lru_cache(maxsize=256)
def design_from(text: str) -> Design:
    """The three blocks of a design's text, held because every child asks for its parent's.

    Raises `BlockError`.
    """
    return Design.from_text(text)


__all__ = [
    "NO_OP",
    "NO_WIDTH",
    "Checked",
    "NoWidthError",
    "check",
    "choose_width",
    "design_from",
    "limits_of",
    "oversize",
    "skeleton_of",
]
