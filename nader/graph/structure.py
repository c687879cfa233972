"""Whether a block is a graph the language allows, before any shape is looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nader.graph.block import Block, Node
from nader.graph.errors import Problem, ProblemCode
from nader.graph.expression import Expression
from nader.graph.operators import OPERATORS, Kind

MAX_NODES = 256
MAX_EDGES = 1_024
MAX_INDEX = 999_999


@dataclass(frozen=True)
class Structure:
    """What is wrong with the graph itself; ``blocked`` nodes cannot be given a shape."""

    problems: tuple[Problem, ...]
    order: tuple[int, ...]
    blocked: frozenset[int]


def structure(block: Block) -> Structure:
    """Check indices, edges, cycles, number of inputs, arguments, and that every node is used."""
    cached = block.__dict__.get("_structure")
    if isinstance(cached, Structure):
        return cached
    result = _check(block)
    block.__dict__["_structure"] = result  # a pure function of a frozen value, wanted at each of many widths
    return result


def _check(block: Block) -> Structure:
    if len(block.nodes) > MAX_NODES or len(block.edges) > MAX_EDGES:
        message = f"The block has {len(block.nodes)} nodes and {len(block.edges)} edges."
        hint = f"At most {MAX_NODES} nodes and {MAX_EDGES} edges are allowed."
        return Structure((Problem(ProblemCode.SIZE_LIMIT, message, hint=hint),), (), frozenset())
    problems = [*_indices(block), *_ends(block), *_cycles(block)]
    blocked: set[int] = set()
    for node in block.nodes:
        if _alone(block, node):
            blocked.add(node.index)  # reported as unused
            continue
        wrong = tuple(_node_problems(block, node))
        if wrong or node.op not in OPERATORS:
            blocked.add(node.index)
            problems += wrong
    problems += _unused(block)
    known = tuple(index for index in block.order if index in block.by_index)
    return Structure(tuple(problems), known, frozenset(blocked))


def _at(block: Block, node: Node, code: ProblemCode, message: str, hint: str) -> Problem:
    return Problem(code, message, node.index, node.operation, hint=hint, line=block.lines.get(node.index))


def _indices(block: Block) -> Iterator[Problem]:
    seen: set[int] = set()
    for node in block.nodes:
        if node.index in seen:
            message = f"Node {node.index} is defined twice."
            yield _at(block, node, ProblemCode.SYNTAX, message, "Give each node its own index.")
        elif not 0 <= node.index <= MAX_INDEX:
            message = f"The index {node.index} is not from 0 to {MAX_INDEX}."
            yield _at(block, node, ProblemCode.SYNTAX, message, "Number the nodes from 0.")
        seen.add(node.index)


def _ends(block: Block) -> Iterator[Problem]:
    for op in ("input", "output"):
        found = [node for node in block.nodes if node.op == op]
        if not found:
            message = f"The block has no {op} node."
            yield Problem(ProblemCode.ARITY, message, hint=f"Add a node index:{op} and connect it.")
        for extra in found[1:]:
            message = f"The block has more than one {op} node (the first is {found[0].index})."
            yield _at(block, extra, ProblemCode.ARITY, message, f"Keep one {op} node.")
    undefined = {end: edge for edge in reversed(block.edges) for end in edge if end not in block.by_index}
    for index, edge in sorted(undefined.items()):
        message = f"The edge {edge[0]}->{edge[1]} names node {index}, which is not defined."
        line = next((block.lines[end] for end in edge if end in block.lines), None)
        hint = f"Define node {index} or remove its edges."
        yield Problem(ProblemCode.UNDEFINED_NODE, message, index, hint=hint, line=line)
    if len(set(block.edges)) < len(block.edges):
        yield Problem(ProblemCode.SYNTAX, "An edge is written twice.", hint="Write each edge once.")


def _cycles(block: Block) -> Iterator[Problem]:
    left = set(block.by_index) - set(block.order)
    while left:
        cycle = _one_cycle(block, left)
        if not cycle:
            return
        path = "->".join(str(index) for index in (*cycle, cycle[0]))
        message = f"The edges form a cycle: {path}."
        yield Problem(
            ProblemCode.CYCLE,
            message,
            cycle[0],
            block.node(cycle[0]).operation,
            hint="Remove one of its edges.",
            line=block.lines.get(cycle[0]),
        )
        left -= _reached(block, set(cycle))


def _one_cycle(block: Block, left: set[int]) -> list[int]:
    """A cycle among the nodes that no topological order reaches: walk backwards until a node comes again."""
    index = min(left)
    seen: dict[int, int] = {}
    path: list[int] = []
    while index not in seen:
        seen[index] = len(path)
        path.append(index)
        before = [source for source in block.inputs_of(index) if source in left]
        if not before:
            return []
        index = before[0]
    cycle = path[seen[index] :][::-1]
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]


def _reached(block: Block, start: set[int]) -> set[int]:
    reached, waiting = set(start), list(start)
    while waiting:
        for target in block.outputs_of(waiting.pop()):
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached


def _alone(block: Block, node: Node) -> bool:
    """Whether a node between input and output has no edges, so that one problem says all."""
    fed = block.inputs_of(node.index) or block.outputs_of(node.index)
    return not fed and node.op not in ("input", "output") and node.op in OPERATORS


def _node_problems(block: Block, node: Node) -> Iterator[Problem]:
    operator = OPERATORS.get(node.op)
    if operator is None:
        if node.op != "?":
            yield _at(block, node, ProblemCode.UNKNOWN_OPERATOR, f"{node.op!r} is not an operation.", "")
        return
    count = len(block.inputs_of(node.index))
    if count < operator.fewest or (operator.most is not None and count > operator.most):
        message = f"{node.op} takes {_inputs(operator.fewest, operator.most)}, got {count}."
        yield _at(block, node, ProblemCode.ARITY, message, _arity_hint(node.op, count))
    if node.op == "output" and block.outputs_of(node.index):
        yield _at(
            block,
            node,
            ProblemCode.ARITY,
            "The output feeds another node.",
            "Remove the edges that leave it.",
        )
    names = [name for name, _ in node.args]
    for parameter in operator.parameters:
        value = node.argument(parameter.name)
        if value is None and parameter.default is None:
            message = f"{node.op} needs {parameter.name}."
            yield _at(block, node, ProblemCode.ARGUMENT, message, f"Write {operator.signature}.")
        elif value is not None and parameter.kind is not Kind.PROBABILITY and (broken := _broken(value)):
            message = f"{parameter.name}={broken} is not a whole number."
            yield _at(block, node, ProblemCode.ARGUMENT, message, f"Write {math.floor(broken.value) or 1}.")
        elif value is not None and not _fits(value, parameter.kind):
            message = f"{parameter.name} takes {parameter.kind.value}."
            yield _at(block, node, ProblemCode.ARGUMENT, message, f"Write {operator.signature}.")
    for name in names:
        if operator.parameter(name) is None or names.count(name) > 1:
            message = f"{node.op} has no argument {name!r}, or has it twice."
            yield _at(block, node, ProblemCode.ARGUMENT, message, f"Write {operator.signature}.")


def _broken(value: Expression | tuple[Expression, ...]) -> Expression | None:
    """A number written with a fraction where a size or a dimension stands."""
    items = (value,) if isinstance(value, Expression) else value
    return next((item for item in items if item.op == "number" and item.value.denominator != 1), None)


def _fits(value: Expression | tuple[Expression, ...], kind: Kind) -> bool:
    if kind is Kind.LIST:
        return isinstance(value, tuple) and len(value) > 0
    if kind in (Kind.SIZE, Kind.DIM):
        return isinstance(value, Expression)
    if kind is Kind.PROBABILITY:
        return isinstance(value, Expression) and value.op == "number" and value.value < 1
    return isinstance(value, Expression) or (len(value) == 2 if kind is Kind.PAIR else len(value) > 0)


def _inputs(fewest: int, most: int | None) -> str:
    if most == 0:
        return "no input"
    if fewest == most:
        return "exactly one input" if fewest == 1 else f"exactly {fewest} inputs"
    return f"at least {fewest} inputs"


def _arity_hint(op: str, count: int) -> str:
    if count == 0:
        return f"Add an edge into {op}, or remove the node."
    if op in ("Add", "Mul", "Multiply", "concat"):
        return f"Give {op} another input, or remove it." if count == 1 else "Multiply them two at a time."
    return "Join the inputs first with Add, Mul or concat, and feed the result here."


def _unused(block: Block) -> Iterator[Problem]:
    outputs = [node.index for node in block.nodes if node.op == "output"]
    if not any(block.inputs_of(index) for index in outputs):
        return  # the missing edge into the output says it all
    used, waiting = set(outputs), list(outputs)
    while waiting:
        for source in block.inputs_of(waiting.pop()):
            if source not in used:
                used.add(source)
                waiting.append(source)
    unused = {node.index: node for node in block.nodes if node.index not in used}
    ends = [index for index in unused if not any(target in unused for target in block.outputs_of(index))]
    for index in ends or list(unused)[:1]:
        before = _feeding(block, index, unused)
        also = f" Nor from the nodes that lead to it: {', '.join(map(str, before[:12]))}." if before else ""
        message = f"No path leads from this node to the output.{also}"
        if _alone(block, unused[index]):
            message = "The node is not connected to anything."
        yield _at(
            block,
            unused[index],
            ProblemCode.UNUSED_NODE,
            message,
            "Connect it towards the output, or remove it.",
        )


def _feeding(block: Block, index: int, among: Mapping[int, Node]) -> list[int]:
    found, waiting = {index}, [index]
    while waiting:
        for source in block.inputs_of(waiting.pop()):
            if source in among and source not in found:
                found.add(source)
                waiting.append(source)
    return sorted(other for other in found - {index} if among[other].op != "input")
