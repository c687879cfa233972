"""What a network costs, in closed form from its graphs.

Parameters are everything an optimiser trains: weights of Conv2d (and a bias where the skeleton says so),
weight and bias of Linear, two numbers a channel of BN and LN. MACs are those of one image, counted as the
skeleton says: `nader.graph.Counting`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nader.graph import Block, Counting, Design, Role, Verdict, cost_at, cost_of
from nader.network.skeleton import Limits, Skeleton, require_classes, site_table

Share = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Parameters and MACs at many widths (or sites) at once, int64 [widths] each."""
ROLES = (Role.STEM, Role.CELL, Role.DOWNSAMPLE)


@dataclass(frozen=True)
class Cost:
    """The cost of one network: trainable parameters, and MACs of one image."""

    params: int
    macs: int

    def within(self, limits: Limits) -> bool:
        """Whether both limits hold."""
        return _holds(self.params, limits.params) and _holds(self.macs, limits.macs)

    def __str__(self) -> str:
        return f"{self.params / 1e6:.4g} M parameters, {self.macs / 1e6:.4g} M MACs"


def _holds(value: int, limit: int | None) -> bool:
    return limit is None or value <= limit


def cost(design: Design, skeleton: Skeleton, width: int, classes: int) -> Cost:
    """The cost of a design at a width it works at (see `verify_design`); SkeletonError without a class."""
    params, macs = costs(design, skeleton, (width,), classes)
    return Cost(int(params[0]), int(macs[0]))


def costs(design: Design, skeleton: Skeleton, widths: Sequence[int], classes: int) -> Share:
    """Parameters and MACs at many widths at once, int64 [widths] each.

    The design must work at each of the widths.
    """
    params, macs = head_costs(skeleton, widths, classes)
    for role in ROLES:
        more_params, more_macs = block_costs(design.block(role), role, skeleton, tuple(widths))
        params, macs = params + more_params, macs + more_macs
    return params, macs


@lru_cache(maxsize=512)
def block_costs(block: Block, role: Role, skeleton: Skeleton, widths: tuple[int, ...]) -> Share:
    """A block's share of the network's parameters and MACs, int64 [widths] each.

    Held, because a campaign's designs have many blocks in common.
    """
    sites = site_table(skeleton, role, widths)
    if sites is None:
        return np.zeros(len(widths), dtype=np.int64), np.zeros(len(widths), dtype=np.int64)
    share = cost_at(block, sites, skeleton.counting, conv_bias=skeleton.conv_bias)
    return _summed(share, len(widths), role, skeleton)


def share_of(verdict: Verdict, role: Role, skeleton: Skeleton) -> Share:
    """As `block_costs`, at all widths of the skeleton, of a block that has just been found without problems
    there.
    """
    share = cost_of(verdict, skeleton.counting, conv_bias=skeleton.conv_bias)
    return _summed(share, len(skeleton.widths.all()), role, skeleton)


def _summed(share: Share, widths: int, role: Role, skeleton: Skeleton) -> Share:
    """Costs at each site, width by width, as costs of all the places of a width together."""
    times = np.array(skeleton.cells if role is Role.CELL else (1,), dtype=np.int64)
    params, macs = ((column.reshape(widths, -1) * times).sum(axis=1) for column in share)
    return params, macs


def head_costs(skeleton: Skeleton, widths: Sequence[int], classes: int) -> Share:
    """What follows the last cell costs, at each width; SkeletonError for less than one class."""
    require_classes(classes)
    channels = np.asarray(widths, dtype=np.int64) * skeleton.multipliers[-1]
    params, macs = channels * classes + classes, channels * classes
    height, width = skeleton.sides()[-1]
    thop = skeleton.counting is Counting.THOP
    if thop:
        macs = macs + channels * (height * width + 1)
    if skeleton.head == "bn-relu-gap-linear":
        params = params + 2 * channels
        macs = macs + 4 * channels * height * width * thop
    return params, macs
