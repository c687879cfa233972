"""The canonical text of a block."""

from __future__ import annotations

from nader.graph.block import Block


def print_block(block: Block) -> str:
    """The block as text, nodes and edges in their order; `parse` reads it back to an equal block."""
    lines = [f"##{block.name}##", *map(str, block.nodes)]
    lines += [f"{source}->{target}" for source, target in block.edges]
    return "\n".join(lines) + "\n"
