"""Where a block stands in a network: its role, and the sizes it meets there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import overload

import numpy as np
from numpy.typing import NDArray

from nader.graph.expression import Size

BATCHES = (1, 2, 3, 4, 5, 256)
"""Batch sizes a block is tried at; evaluation may meet the first, training only the others. Why these are
enough for all is said in `nader.graph.growth`."""


class Role(StrEnum):
    """What a block is for: cell (B,C,H,W) → (B,dim,H,W), stem (scale 1 or 1/4), downsample (scale 1/2)."""

    CELL = "cell"
    STEM = "stem"
    DOWNSAMPLE = "downsample"


@dataclass(frozen=True)
class Site:
    """One place a block stands in a network at a given width.

    The input is (B, C, H, W); the output must be (B, dim, ceil(H·scale), ceil(W·scale)). The scale is 1 for
    a cell, 1/2 for a downsample block, 1 or 1/4 for a stem (default 1).
    """

    role: Role
    C: int
    dim: int
    H: int
    W: int
    scale: Fraction | None = None

    def __post_init__(self) -> None:
        if min(self.C, self.dim, self.H, self.W) < 1:
            raise ValueError(f"the sizes of a site are at least 1: {self}")
        allowed = {Role.CELL: (1,), Role.STEM: (1, 4), Role.DOWNSAMPLE: (2,)}[Role(self.role)]
        scale = Fraction(1, allowed[0]) if self.scale is None else Fraction(self.scale)
        if scale not in [Fraction(1, n) for n in allowed]:
            raise ValueError(f"a {self.role} has scale {' or '.join(str(Fraction(1, n)) for n in allowed)}")
        object.__setattr__(self, "scale", scale)

    @property
    def stride(self) -> int:
        """How many times smaller the output is than the input, along each side."""
        return (self.scale or Fraction(1)).denominator

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) the output must have."""
        return self.dim, -(-self.H // self.stride), -(-self.W // self.stride)


class Sites(Sequence[Site]):
    """Sites as columns, to verify a block at hundreds of them at once; build it once and reuse it."""

    def __init__(self, sites: Iterable[Site]) -> None:
        self.items = tuple(sites)
        if not self.items:
            raise ValueError("at least one site is needed")

    @overload
    def __getitem__(self, at: int) -> Site: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Site, ...]: ...
    def __getitem__(self, at: int | slice) -> Site | tuple[Site, ...]:
        return self.items[at]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Site]:
        return iter(self.items)

    @cached_property
    def roles(self) -> frozenset[Role]:
        """The roles of its sites."""
        return frozenset(Role(site.role) for site in self.items)

    @cached_property
    def values(self) -> dict[str, Size]:
        """B, C, dim, H, W as sizes: [batch sizes, 1] and [1, sites], or one number where all are equal."""
        columns: dict[str, Size] = {
            name: _column([getattr(site, name) for site in self.items]) for name in ("C", "dim", "H", "W")
        }
        return {"B": np.array(BATCHES, np.int64)[:, None]} | columns

    @cached_property
    def expected(self) -> tuple[Size, Size, Size]:
        """Channels, height and width the output must have."""
        channels, heights, widths = zip(*(site.output_shape for site in self.items), strict=True)
        return _column(list(channels)), _column(list(heights)), _column(list(widths))


def _column(values: list[int]) -> Size:
    if min(values) == max(values):
        return values[0]
    column: NDArray[np.int64] = np.array(values, np.int64)[None, :]
    return column


@lru_cache(maxsize=8)
def probe_sites(role: Role, scale: Fraction | None = None) -> Sites:
    """Built-in sites of unrelated sizes: C ≠ dim except for a cell, H ≠ W, even and odd.

    Channels divide by 48, so that C/4, C/16 and 3 or 8 groups are whole; dim is a multiple of C.
    """
    sizes = [(48, 96, 32, 32), (96, 288, 28, 20), (240, 480, 17, 13), (144, 576, 8, 12), (336, 672, 5, 6)]
    if role is Role.STEM:
        sizes = [(3, dim, height, width) for _, dim, height, width in sizes]
    if role is Role.CELL:
        sizes = [(channels, channels, height, width) for channels, _, height, width in sizes]
    return Sites(Site(role, *size, scale) for size in sizes)
