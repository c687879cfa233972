"""Mending a draft: the small changes that remove the faults which models make most often."""

from __future__ import annotations

from collections.abc import Callable

from nader.graph import Block, Node, Problem, ProblemCode, Role, check, make_node, print_block
from nader.graph.parse import read

_TURNS = 12
_JOINING = frozenset({"Add", "Mul", "concat", "Multiply"})


def mend(draft: str, role: Role) -> str | None:
    """The draft as a block that verifies in the role, after a dozen small changes at most; else None."""
    text = draft
    for _ in range(_TURNS):
        verdict = check(text, role)
        if verdict.ok:
            return text
        block = read(text)[0].block
        for problem in verdict.problems:
            mender = _MENDERS.get(problem.code)
            changed = mender(block, problem) if mender and block.nodes else None
            if changed is not None and print_block(changed) != print_block(block):
                text = print_block(changed)
                break
        else:
            return None
    return None


def _join_inputs(block: Block, problem: Problem) -> Block | None:
    """Puts an Add before a node that takes one input and has several; drops the edge to nowhere."""
    if problem.node is None or problem.node not in block.by_index:
        return None
    node = block.node(problem.node)
    inputs = block.inputs_of(node.index)
    if node.op in _JOINING:
        return _short_circuit(block, node) if len(inputs) == 1 else None
    if len(inputs) < 2 or node.op == "input":
        return None
    new = max(n.index for n in block.nodes) + 1
    edges = [(a, new if b == node.index else b) for a, b in block.edges]
    return block.replace(nodes=[*block.nodes, make_node(new, "Add")], edges=[*edges, (new, node.index)])


def _short_circuit(block: Block, node: Node) -> Block:
    """Takes a joining node out that has only one input."""
    (before,) = block.inputs_of(node.index)
    edges = [(before if a == node.index else a, b) for a, b in block.edges if b != node.index]
    return block.replace(
        nodes=[n for n in block.nodes if n.index != node.index], edges=list(dict.fromkeys(edges))
    )


def _remove(block: Block, problem: Problem) -> Block | None:
    """Takes out a node that leads nowhere or comes from nowhere."""
    if problem.node is None or block.by_index.get(problem.node) is None:
        return None
    if block.node(problem.node).op in ("input", "output"):
        return None
    edges = [(a, b) for a, b in block.edges if problem.node not in (a, b)]
    return block.replace(nodes=[n for n in block.nodes if n.index != problem.node], edges=edges)


def _drop_edges(block: Block, problem: Problem) -> Block | None:
    """Drops the edges to a node that is not defined."""
    edges = [(a, b) for a, b in block.edges if a in block.by_index and b in block.by_index]
    return block.replace(nodes=list(block.nodes), edges=edges)


def _channels_last(block: Block, problem: Problem) -> Block | None:
    """Puts permutes round an operation that wants the channels last."""
    if problem.node is None or problem.node not in block.by_index:
        return None
    node = block.node(problem.node)
    last = max(n.index for n in block.nodes)
    before = make_node(last + 1, "permute", dims=(0, 2, 3, 1))
    after = make_node(last + 2, "permute", dims=(0, 3, 1, 2))
    edges = []
    for a, b in block.edges:
        a, b = (after.index if a == node.index else a), (before.index if b == node.index else b)
        edges.append((a, b))
    edges += [(before.index, node.index), (node.index, after.index)]
    return block.replace(nodes=[*block.nodes, before, after], edges=edges)


def _ungroup(block: Block, problem: Problem) -> Block | None:
    """Takes the groups from a convolution whose channels they do not divide."""
    if problem.node is None or problem.node not in block.by_index:
        return None
    node = block.node(problem.node)
    args = tuple((name, value) for name, value in node.args if name != "groups")
    nodes = [Node(n.index, n.op, args) if n.index == node.index else n for n in block.nodes]
    return block.replace(nodes=nodes, edges=list(block.edges))


def _project(block: Block, problem: Problem) -> Block | None:
    """Puts a 1x1 convolution to dim channels before the output."""
    outputs = [n for n in block.nodes if n.op == "output"]
    if len(outputs) != 1 or problem.node not in (None, outputs[0].index):
        return None
    new = max(n.index for n in block.nodes) + 1
    edges = [(a, new if b == outputs[0].index else b) for a, b in block.edges]
    node = make_node(new, "Conv2d", out_channels="dim", kernel_size=1)
    return block.replace(nodes=[*block.nodes, node], edges=[*edges, (new, outputs[0].index)])


_MENDERS: dict[ProblemCode, Callable[[Block, Problem], Block | None]] = {
    ProblemCode.ARITY: _join_inputs,
    ProblemCode.UNUSED_NODE: _remove,
    ProblemCode.UNDEFINED_NODE: _drop_edges,
    ProblemCode.CHANNELS_LAST: _channels_last,
    ProblemCode.GROUPS: _ungroup,
    ProblemCode.OUTPUT_SHAPE: _project,
}
