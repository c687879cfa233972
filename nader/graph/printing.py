"""The canonical text of a block."""

from __future__ import annotations

from nader.graph.block import Block


def print_block(block: Block) -> str:
    """The block as text, nodes and edges in their order; `parse` reads it back to an equal block."""
    printed = block.__dict__.get("_printed")
    if isinstance(printed, str):
        return printed
    lines = [f"##{block.name}##", *map(str, block.nodes)]
    lines += [f"{source}->{target}" for source, target in block.edges]
    printed = block.__dict__["_printed"] = "\n".join(lines) + "\n"  # a frozen value is often printed again
    return printed
