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

from nader.graph import Block, Counting, Design, Role, cost_at
from nader.network.skeleton import Limits, Skeleton, site_table

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
    """The cost of a design at a width it works at (see `verify_design`)."""
    params, macs = costs(design, skeleton, (width,), classes)
    return Cost(int(params[0]), int(macs[0]))


def costs(
    design: Design, skeleton: Skeleton, widths: Sequence[int], classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Parameters and MACs at many widths at once, int64 [widths] each.

    The design must work at each of the widths.
    """
    params, macs = _head(skeleton, np.asarray(widths, dtype=np.int64), classes)
    for role in ROLES:
        more_params, more_macs = block_costs(design.block(role), role, skeleton, tuple(widths))
        params, macs = params + more_params, macs + more_macs
    return params, macs


@lru_cache(maxsize=512)
def block_costs(
    block: Block, role: Role, skeleton: Skeleton, widths: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A block's share of the network's parameters and MACs, int64 [widths] each.

    Held, because a campaign's designs have many blocks in common.
    """
    sites = site_table(skeleton, role, widths)
    if sites is None:
        return np.zeros(len(widths), dtype=np.int64), np.zeros(len(widths), dtype=np.int64)
    times = np.array(skeleton.cells if role is Role.CELL else (1,), dtype=np.int64)
    params, macs = cost_at(block, sites, skeleton.counting, conv_bias=skeleton.conv_bias)
    return (
        (params.reshape(len(widths), -1) * times).sum(axis=1),
        (macs.reshape(len(widths), -1) * times).sum(axis=1),
    )


def _head(
    skeleton: Skeleton, widths: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What follows the last cell."""
    channels = widths * skeleton.multipliers[-1]
    params, macs = channels * classes + classes, channels * classes
    height, width = skeleton.sides()[-1]
    thop = skeleton.counting is Counting.THOP
    if thop:
        macs = macs + channels * (height * width + 1)
    if skeleton.head == "bn-relu-gap-linear":
        params = params + 2 * channels
        macs = macs + 4 * channels * height * width * thop
    return params, macs
