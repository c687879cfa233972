"""Decides whether a block can stand in its role: exactly the blocks that build and run in PyTorch, but for
two rules of the language (channels last for LN and Linear; no rounding of the batch)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nader.graph.block import Block, Node
from nader.graph.errors import BlockError, Problem, ProblemCode, report
from nader.graph.expression import Expression, Mask
from nader.graph.operators import OPERATORS, Kind
from nader.graph.parse import read
from nader.graph.rules import infer
from nader.graph.shapes import MAX_PROBLEMS, Context, Refused, at
from nader.graph.sites import BATCHES, Role, Site, Sites, probe_sites
from nader.graph.structure import structure


@dataclass(frozen=True, eq=False)
class Verdict:
    """What `verify` found.

    Attributes:
        block: the block that was looked at, as far as it could be read.
        sites: where it was looked at.
        problems: everything that is wrong, each independent problem once.
        ok_sites: bool [sites], where the block works; all of them if there is no problem.
        context: the tensors that were inferred, from which `cost_of` reckons.
    """

    block: Block
    sites: Sites
    problems: tuple[Problem, ...]
    ok_sites: NDArray[np.bool_] = field(repr=False)
    context: Context = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the block works at every site."""
        return not self.problems

    def report(self) -> str:
        """The problems as text for a language model; empty if there are none."""
        return report(self.problems)

    def __bool__(self) -> bool:
        return self.ok


def verify(
    block: Block, role: Role | str, sites: Sequence[Site] | None = None, *, scale: Fraction | None = None
) -> Verdict:
    """Whether the block works in its role at every site.

    It works where the module built from it runs forward and backward in training (batch of 2 or more) and
    forward in evaluation (batch of 1 or more), and gives the output its role asks for. Two rules are stricter
    than PyTorch: LN and Linear may not lie along a side of the map (code ``channels-last``), and where B
    stands in a size, or a dimension grows with it, nothing is rounded (code ``batch``).

    Args:
        block: any block, right or wrong.
        role: what it is for.
        sites: where it is to stand; None for built-in sites of unrelated sizes. Pass a `Sites` to reuse one.
        scale: for a stem without sites: 1 or 1/4; None accepts either.

    Raises ValueError for sites of another role; a wrong block is a verdict, never an exception.
    """
    role = Role(role)
    if sites is not None:
        places = sites if isinstance(sites, Sites) else Sites(sites)
        if places.roles != {role}:
            raise ValueError(
                f"a {role.value} cannot be verified at sites of {', '.join(sorted(places.roles))}"
            )
        return _verify(block, places)
    if role is not Role.STEM or scale is not None:
        return _verify(block, probe_sites(role, scale))
    whole = _verify(block, probe_sites(role, Fraction(1)))
    quarter = _verify(block, probe_sites(role, Fraction(1, 4)))
    return whole if whole.ok or not quarter.ok else quarter


def check(text: str, role: Role | str, sites: Sequence[Site] | None = None) -> Verdict:
    """Read one block's text and verify it, reporting the problems of reading and of meaning at once."""
    readings = read(text)
    reading = readings[0]
    verdict = verify(reading.block, role, sites)
    problems = list(reading.problems)
    if len(readings) > 1:
        message = f"The text holds {len(readings)} blocks; one is expected."
        problems.append(Problem(ProblemCode.SYNTAX, message, hint="Give exactly one ##name## header."))
    if not problems:
        return verdict
    if reading.block.nodes:
        problems += _independent(verdict.problems, problems)
    nowhere = np.zeros(len(verdict.sites), bool)
    return Verdict(reading.block, verdict.sites, tuple(problems[:MAX_PROBLEMS]), nowhere, verdict.context)


def _independent(found: Sequence[Problem], reading: Sequence[Problem]) -> list[Problem]:
    """Problems of meaning that do not merely follow from a text that could not be read.

    A line that could not be read may have been the missing node or edge, so what is missing is not reported.
    """
    unsure = any(
        p.code in (ProblemCode.SYNTAX, ProblemCode.UNDEFINED_NODE, ProblemCode.SIZE_LIMIT) for p in reading
    )
    named = {problem.node for problem in reading if problem.node is not None}
    missing = (ProblemCode.ARITY, ProblemCode.UNUSED_NODE, ProblemCode.UNDEFINED_NODE)
    return [
        p for p in found if not (unsure and p.code in missing) and (p.node is None or p.node not in named)
    ]


def _verify(block: Block, sites: Sites) -> Verdict:
    graph = structure(block)
    context = infer(block, graph.order, sites, graph.blocked)
    problems = list(graph.problems) + context.problems
    works: Mask = False
    for node in block.nodes:
        if node.op == "output" and node.index in context.tensors:
            before = len(context.problems)
            with suppress(Refused):
                works = _output(context, node)
            problems += context.problems[before:]
    if graph.problems:
        works = False
    mask = np.broadcast_to(np.asarray(works, bool), (len(sites),))
    return Verdict(block, sites, tuple(problems[:MAX_PROBLEMS]), mask, context)


def _output(context: Context, node: Node) -> Mask:
    """Where the output is (B, dim, H·scale, W·scale)."""
    tensor = context.tensors[node.index]
    channels, height, width = (context.keep(size) for size in context.sites.expected)
    role, stride = context.sites[0].role, context.sites[0].stride
    sides = "H, W" if stride == 1 else f"ceil(H/{stride}), ceil(W/{stride})"
    resized = f"AdaptiveAvgPool2d(output_size=({way_to(stride)})) brings a map to that height and width."
    name = "C" if role is Role.CELL else "dim"
    wanted = f"(B, {name}, {sides})"
    if tensor.rank != 4:
        message = f"The output has {tensor.rank} dimensions; a {role.value} gives {wanted}."
        raise context.refuse(node, ProblemCode.OUTPUT_SHAPE, message, f"Reshape it to {wanted}.", [tensor])
    sizes = tensor.sizes
    fits = _equal(sizes[0], context.values["B"]) & _equal(sizes[1], channels)
    scaled = _equal(sizes[2], height) & _equal(sizes[3], width)
    ok = tensor.ok
    hint = f"Make the output {wanted}."
    if role is Role.CELL:
        if not np.all(scaled):
            hint += f" {resized}"
        fits, scaled = fits & scaled, True
    message = f"A {role.value} must give {wanted}; the output is another"
    ok = context.require(node, fits, ok, ProblemCode.OUTPUT_SHAPE, message, hint, (), [tensor])
    named = f"A {role.value} of scale {context.sites[0].scale}"
    message = f"{named} must give {wanted}; the sides are others"
    hint = f"Use strides that multiply to {stride} on the way; {resized}"
    return context.require(node, scaled, ok, ProblemCode.SCALE, message, hint, (), [tensor])


def way_to(stride: int) -> str:
    """The height and width of an output that is so many times smaller than the input, as the language writes
    them.
    """
    return "H,W" if stride == 1 else ",".join(f"({side}+{stride - 1})//{stride}" for side in "HW")


def _equal(first: object, second: object) -> Mask:
    if first is second:
        return True
    result = first == second
    return result if isinstance(result, np.ndarray) else bool(result)


Attribute: TypeAlias = int | float | tuple[int, ...]


@dataclass(frozen=True)
class ResolvedNode:
    """A node at one site, with every default filled in and every size a number, for a batch of 2.

    ``attrs``: kernel_size, stride, dilation and output_size as (height, width); groups and out_channels as
    numbers; dim counted from 0, a tuple for mean, max and sum; permute's dims counted from 0; prob as a
    float; ``in_channels`` (Conv2d, Linear) or ``channels`` (BN, LN), the size that weights hang on. reshape's
    shape and repeat's sizes are the numbers at batch size 2; ``expressions`` gives them for any other.
    """

    index: int
    op: str
    inputs: tuple[int, ...]
    attrs: MappingProxyType[str, Attribute]
    in_shapes: tuple[tuple[int, ...], ...]
    out_shape: tuple[int, ...]
    expressions: tuple[Expression, ...] = ()


_BATCH_ROW = BATCHES.index(2)


def resolve(block: Block, site: Site) -> tuple[ResolvedNode, ...]:
    """The block's nodes in topological order as numbers at one site; BlockError if it is not valid there."""
    verdict = _verify(block, Sites([site]))
    if not verdict.ok:
        raise BlockError(verdict.problems)
    shapes = {
        index: tuple(at(size, _BATCH_ROW, 0) for size in tensor.sizes)
        for index, tensor in verdict.context.tensors.items()
    }
    return tuple(_resolved(block, block.node(index), shapes, site) for index in structure(block).order)


def _resolved(block: Block, node: Node, shapes: dict[int, tuple[int, ...]], site: Site) -> ResolvedNode:
    inputs = block.inputs_of(node.index)
    in_shapes = tuple(shapes[index] for index in inputs)
    values = {"B": 2, "C": site.C, "dim": site.dim, "H": site.H, "W": site.W}
    attrs: dict[str, Attribute] = {}
    expressions: tuple[Expression, ...] = ()
    for parameter in OPERATORS[node.op].parameters:
        argument = node.argument(parameter.name)
        if parameter.kind is Kind.PROBABILITY:
            attrs["prob"] = (
                float(argument.value) if isinstance(argument, Expression) else float(parameter.default or 0)
            )
            continue
        if argument is None:
            attrs[parameter.name] = _default(parameter.kind, parameter.default, attrs)
            continue
        items = (argument,) if isinstance(argument, Expression) else argument
        numbers = tuple(item.integer(values) for item in items)
        if parameter.kind is Kind.PAIR:
            attrs[parameter.name] = numbers * 2 if len(numbers) == 1 else numbers
        elif parameter.kind is Kind.SIZE:
            attrs[parameter.name] = numbers[0]
        elif parameter.name in ("shape", "sizes"):
            attrs[parameter.name], expressions = numbers, items
        else:
            counted = tuple(number % len(in_shapes[0]) for number in numbers)
            attrs[parameter.name] = counted[0] if parameter.kind is Kind.DIM else counted
    if node.op == "Conv2d":
        attrs["in_channels"] = in_shapes[0][1]
    elif node.op == "Linear":
        attrs["in_channels"] = in_shapes[0][-1]
    elif node.op in ("BN", "LN"):
        attrs["channels"] = in_shapes[0][1 if node.op == "BN" else -1]
    out = shapes[node.index]
    return ResolvedNode(node.index, node.op, inputs, MappingProxyType(attrs), in_shapes, out, expressions)


def _default(kind: Kind, default: str | None, attrs: dict[str, Attribute]) -> Attribute:
    if default == "kernel_size":
        return attrs["kernel_size"]
    value = int(default or 1)
    return (value, value) if kind is Kind.PAIR else value
