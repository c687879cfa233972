"""A stem and a downsample block in the style of a cell: its normalisation, activation and way of joining."""

from __future__ import annotations

from dataclasses import replace

from nader.graph.block import Block
from nader.graph.library import base_design


def matching_stem(cell: Block, *, stride: int = 1) -> Block:
    """A stem for the cell: `stride` 1 keeps the image's size, 4 quarters it; else UnknownDesignError."""
    return _restyled(base_design(_style(cell), stride=stride).stem, cell)


def matching_downsample(cell: Block) -> Block:
    """A block that halves height and width in the style of the cell."""
    return _restyled(base_design(_style(cell)).downsample, cell)


def _style(cell: Block) -> str:
    """The base design whose surroundings suit the cell."""
    operators = {node.op for node in cell.nodes}
    if "LN" in operators and "BN" not in operators:
        return "convnext"
    if "concat" in operators and "Add" not in operators:
        return "googlenet"
    return "resnet-basic"


def _restyled(block: Block, cell: Block) -> Block:
    """The block with GELU for ReLU where the cell has GELU and no ReLU."""
    operators = {node.op for node in cell.nodes}
    if "GELU" not in operators or "ReLU" in operators:
        return block
    return block.replace(
        nodes=[replace(node, op="GELU") if node.op == "ReLU" else node for node in block.nodes]
    )
