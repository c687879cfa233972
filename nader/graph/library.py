"""The designs a campaign can start from: the paper's five base blocks with their surroundings.

Written from the architectures' papers, scaled so that all numbers of channels follow from C:

- ``resnet-basic``, ``resnet-bottleneck``: He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
  The stem and the reduction block of ``resnet-basic`` are NAS-Bench-201's (Dong and Yang, ICLR 2020).
- ``googlenet``: Szegedy et al., Going Deeper with Convolutions, CVPR 2015: inception (3a), with batch
  normalisation.
- ``convnext``: Liu et al., A ConvNet for the 2020s, CVPR 2022.
- ``se-resnet``: Hu, Shen and Sun, Squeeze-and-Excitation Networks, CVPR 2018; reduction 4, as C is small.
"""

from __future__ import annotations

import difflib
from functools import cache
from importlib.resources import files

from nader.graph.block import Block
from nader.graph.design import Design
from nader.graph.errors import GraphError
from nader.graph.parse import parse

BASE_DESIGNS: tuple[str, ...] = ("resnet-basic", "resnet-bottleneck", "googlenet", "convnext", "se-resnet")
"""Names of the base designs."""


class UnknownDesignError(GraphError):
    """There is no base design of that name, or none with a stem of that scale."""


def base_design(name: str, *, stride: int = 1) -> Design:
    """A base design whose stem keeps the image's size (`stride` 1) or quarters it (4); UnknownDesignError."""
    if name not in BASE_DESIGNS:
        close = difflib.get_close_matches(name, BASE_DESIGNS, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UnknownDesignError(
            f"no base design is called {name!r}{hint} There are {', '.join(BASE_DESIGNS)}."
        )
    if stride not in (1, 4):
        raise UnknownDesignError(f"base designs have stems of stride 1 and 4, not {stride!r}")
    cell, stem, quarter, downsample = _blocks(name)
    return Design(cell, stem if stride == 1 else quarter, downsample)


@cache
def _blocks(name: str) -> tuple[Block, ...]:
    """Cell, stem, stem of stride 4 and downsample block, as the file has them."""
    text = (files("nader.graph") / "blocks" / f"{name}.txt").read_text(encoding="utf-8")
    return tuple(parse("##" + header + "##" + body) for header, body in _sections(text))


def _sections(text: str) -> list[tuple[str, str]]:
    parts = text.split("##")[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))
