"""The macro-skeletons: what surrounds a block in a network, as data."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nader.graph import Counting, Role, Site, Sites
from nader.network.errors import SkeletonError


class Limits(BaseModel):
    """The most a network may cost; None leaves that side open. Both must hold (paper §4.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    params: int | None = Field(default=None, gt=0)
    """Trainable parameters."""
    macs: int | None = Field(default=None, gt=0)
    """Multiply-accumulates of one image."""


class Image(BaseModel):
    """The size of one input image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int = Field(gt=0)
    height: int = Field(gt=0)
    width: int = Field(gt=0)


class Widths(BaseModel):
    """The widths the search may choose: `smallest`, `smallest + step`, … up to `largest`, in channels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    smallest: int = Field(gt=0)
    largest: int = Field(gt=0)
    step: int = Field(gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.largest < self.smallest:
            raise ValueError(f"the largest width {self.largest} is below the smallest {self.smallest}")
        return self

    def all(self) -> tuple[int, ...]:
        """Every width, in ascending order."""
        return tuple(range(self.smallest, self.largest + 1, self.step))


class Skeleton(BaseModel):
    """A network with the blocks left out: stem, stages of cells joined by downsample blocks, head.

    At width w, stage s has w * multipliers[s] channels; each downsample block halves the side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    image: Image
    stem_stride: Literal[1, 4] = 1
    """By how much the stem shrinks the side of the image: 1 keeps it, 4 divides it by four."""
    cells: tuple[int, ...] = Field(min_length=1)
    """Cells in each stage."""
    multipliers: tuple[int, ...] = Field(min_length=1)
    """Channels of each stage, in widths."""
    widths: Widths
    head: Literal["bn-relu-gap-linear", "gap-linear"]
    """What follows the last cell: BN and ReLU or nothing, then the average over the map, then Linear."""
    conv_bias: bool = False
    """Whether every Conv2d of the blocks carries a bias."""
    counting: Counting = Counting.PRODUCTS
    """What counts as a multiply-accumulate."""
    limits: Limits = Limits()
    """The limits a campaign uses unless it names its own."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.cells) != len(self.multipliers):
            raise ValueError(f"{len(self.cells)} stages of cells but {len(self.multipliers)} multipliers")
        if min(self.cells) < 1 or min(self.multipliers) < 1:
            raise ValueError("every stage needs a cell, and a multiplier of at least 1")
        for side in (self.image.height, self.image.width):
            if side % self.stride:
                raise ValueError(
                    f"the skeleton {self.name} divides the sides of an image by {self.stride}, and {side} is "
                    f"not a multiple of it: pad the images to {side + -side % self.stride}"
                )
        return self

    @property
    def stride(self) -> int:
        """By how much the sides shrink from the image to the last stage."""
        return int(self.stem_stride * 2 ** (len(self.cells) - 1))

    def for_image(self, channels: int, height: int, width: int) -> Skeleton:
        """The same skeleton for images of another size; SkeletonError where the sides do not divide."""
        changed = self.model_dump() | {"image": {"channels": channels, "height": height, "width": width}}
        try:
            return Skeleton.model_validate(changed)
        except ValueError as error:
            raise SkeletonError(_first_message(error)) from None

    def with_cells(self, cells: int) -> Skeleton:
        """The same skeleton with `cells` cells in every stage (N of NAS-Bench-201)."""
        return Skeleton.model_validate(self.model_dump() | {"cells": (cells,) * len(self.cells)})

    def channels(self, width: int) -> tuple[int, ...]:
        """Channels of each stage at a width."""
        return tuple(width * multiplier for multiplier in self.multipliers)

    def sides(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the maps of each stage."""
        strides = [self.stem_stride * 2**stage for stage in range(len(self.cells))]
        return tuple((self.image.height // stride, self.image.width // stride) for stride in strides)


def require_classes(classes: int) -> None:
    """Raises SkeletonError unless there is at least one class to tell apart."""
    if classes < 1:
        raise SkeletonError(f"a classifier needs at least 1 class, got {classes}")


@lru_cache(maxsize=4096)
def sites_of(skeleton: Skeleton, role: Role, width: int) -> tuple[Site, ...]:
    """The distinct places a block of that role stands in at a width, from input to output."""
    channels, sides = skeleton.channels(width), skeleton.sides()
    if role is Role.STEM:
        image = skeleton.image
        return (
            Site(
                role=role,
                C=image.channels,
                dim=channels[0],
                H=image.height,
                W=image.width,
                scale=Fraction(1, skeleton.stem_stride),
            ),
        )
    if role is Role.CELL:
        return tuple(Site(role=role, C=c, dim=c, H=h, W=w) for c, (h, w) in zip(channels, sides, strict=True))
    return tuple(
        Site(role=role, C=c, dim=dim, H=h, W=w)
        for c, dim, (h, w) in zip(channels, channels[1:], sides, strict=False)
    )


@lru_cache(maxsize=64)
def site_table(skeleton: Skeleton, role: Role, widths: tuple[int, ...]) -> Sites | None:
    """The sites of a role at several widths, width by width; None where the skeleton has no such place."""
    sites = [site for width in widths for site in sites_of(skeleton, role, width)]
    return Sites(sites) if sites else None


def _first_message(error: ValueError) -> str:
    """The sentence inside a pydantic error, without its frame."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    first = errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


_CIFAR = Image(channels=3, height=32, width=32)
_CIFAR_LIMITS = Limits(params=1_500_000, macs=200_000_000)

_ALL = (
    Skeleton(
        name="nas-bench-201",
        description="NAS-Bench-201 for CIFAR: three stages of five cells at 32x32",
        image=_CIFAR,
        cells=(5, 5, 5),
        widths=Widths(smallest=4, largest=512, step=4),
        head="bn-relu-gap-linear",
        limits=_CIFAR_LIMITS,
        multipliers=(1, 2, 4),
    ),
    Skeleton(
        name="nas-bench-201-16",
        description="NAS-Bench-201 for ImageNet16-120: the same at 16x16",
        image=Image(channels=3, height=16, width=16),
        cells=(5, 5, 5),
        widths=Widths(smallest=4, largest=512, step=4),
        head="bn-relu-gap-linear",
        limits=Limits(params=1_500_000, macs=50_000_000),
        multipliers=(1, 2, 4),
    ),
    Skeleton(
        name="nader",
        description="As the published figures of NADER were counted: biased convolutions, no BN in the head, "
        "MACs as THOP counts them",
        image=_CIFAR,
        cells=(5, 5, 5),
        widths=Widths(smallest=4, largest=512, step=4),
        head="gap-linear",
        conv_bias=True,
        counting=Counting.THOP,
        limits=_CIFAR_LIMITS,
        multipliers=(1, 2, 4),
    ),
    Skeleton(
        name="digits",
        description="8x8 grey digits in seconds on one core: three stages of one cell",
        image=Image(channels=1, height=8, width=8),
        cells=(1, 1, 1),
        widths=Widths(smallest=4, largest=64, step=4),
        head="bn-relu-gap-linear",
        limits=Limits(params=100_000, macs=1_000_000),
        multipliers=(1, 2, 4),
    ),
    Skeleton(
        name="fashion-mnist",
        description="Fashion-MNIST padded to 32x32 in minutes on one core: three stages of one cell",
        image=Image(channels=1, height=32, width=32),
        cells=(1, 1, 1),
        widths=Widths(smallest=4, largest=64, step=4),
        head="bn-relu-gap-linear",
        limits=Limits(params=100_000, macs=6_000_000),
        multipliers=(1, 2, 4),
    ),
    Skeleton(
        name="imagenet",
        description="ImageNet at 224x224: a stem of stride 4, four stages of 3, 3, 9 and 3 cells",
        image=Image(channels=3, height=224, width=224),
        stem_stride=4,
        cells=(3, 3, 9, 3),
        multipliers=(1, 2, 4, 8),
        widths=Widths(smallest=16, largest=256, step=8),
        head="bn-relu-gap-linear",
        limits=Limits(params=29_000_000, macs=4_500_000_000),
    ),
)

SKELETONS: Mapping[str, Skeleton] = MappingProxyType({skeleton.name: skeleton for skeleton in _ALL})
"""Every skeleton by its name."""


def get_skeleton(name: str) -> Skeleton:
    """The skeleton of that name; raises SkeletonError with the names that exist."""
    try:
        return SKELETONS[name]
    except KeyError:
        raise SkeletonError(f"no skeleton is called {name!r}; there are {', '.join(SKELETONS)}") from None
