"""Whether two blocks are one graph, as networkx sees it under the documented node labels."""

from __future__ import annotations

import networkx as nx

from nader.graph import Block, node_label
from nader.graph.canonical import ranks


def labelled(block: Block) -> nx.DiGraph:
    """The block with the documented labels; edges carry an input's place if it counts."""
    dims = ranks(block)
    graph = nx.DiGraph()
    for node in block.nodes:
        rank = max((dims[source] for source in block.inputs_of(node.index) if source in dims), default=None)
        graph.add_node(node.index, label=node_label(node, rank))
    for node in block.nodes:
        for at, source in enumerate(block.inputs_of(node.index)):
            graph.add_edge(source, node.index, at=at if node.op in ("concat", "Multiply") else 0)
    return graph


def isomorphic(one: Block, other: Block) -> bool:
    """Whether one can be renumbered into the other."""
    return nx.is_isomorphic(
        labelled(one),
        labelled(other),
        node_match=lambda a, b: a["label"] == b["label"],
        edge_match=lambda a, b: a["at"] == b["at"],
    )
