"""Infers the shape of every tensor of a block, at many sites and batch sizes at once.

A shape is a tuple of sizes; a size is one number, or an array over [batch sizes, sites]. Equal arrays are
kept as one object, so that on real blocks nearly every comparison is an identity test. A tensor need not
exist at every site: what fails at some (``ok`` is False there) says nothing of the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nader.graph.block import Block, Node
from nader.graph.describe import Place, describe_shape, describe_sites
from nader.graph.errors import GraphError, Problem, ProblemCode
from nader.graph.expression import Evaluated, Expression, Mask, Size, evaluate
from nader.graph.growth import growth
from nader.graph.sites import BATCHES, Sites

MAX_ELEMENTS = 2**24
MAX_WEIGHTS = 2**26
MAX_WINDOW = 1_024
MAX_PROBLEMS = 50
MAX_SHAPES = 8

TRAINING = np.array([size >= 2 for size in BATCHES])[:, None]
"""bool [batch sizes, 1]: which of BATCHES may be a training batch."""

_ENDS = np.array([[BATCHES[0]], [BATCHES[-1]]], np.float64)
_EVENLY = "Write a whole number of times B, such as B*H*W, perhaps plus a size without B; B is never rounded."


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor at every site: its sizes, which axes are sides of a map, at which sites it exists."""

    sizes: tuple[Size, ...]
    spatial: tuple[bool, ...]
    ok: Mask = True

    @property
    def rank(self) -> int:
        return len(self.sizes)


class Refused(GraphError):
    """A node that works at no site: nothing can be said of what follows it."""


@dataclass
class Context:
    """One run over one block: the sites, what was computed so far, the problems found."""

    sites: Sites
    block: Block
    problems: list[Problem] = field(default_factory=list)
    tensors: dict[int, Tensor] = field(default_factory=dict)
    _expressions: dict[str, Evaluated] = field(default_factory=dict)
    _interned: dict[tuple[tuple[int, ...], bytes], Size] = field(default_factory=dict)
    _divided: dict[tuple[int, int], Size] = field(default_factory=dict)
    _small: set[tuple[int, ...]] = field(default_factory=set)
    _even: dict[str, Mask] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values: dict[str, Size] = {name: self.keep(value) for name, value in self.sites.values.items()}

    # --- sizes ---

    def keep(self, value: Size) -> Size:
        """The one object for this size; a plain number where it is the same everywhere."""
        if isinstance(value, int):
            return value
        key = (value.shape, value.tobytes())
        kept = self._interned.get(key)
        if kept is None:
            kept = self._interned[key] = self._reduce(value)
        return kept

    def _reduce(self, value: NDArray[np.int64]) -> Size:
        if value.min() == value.max():
            return int(value.flat[0])
        for axis in (0, 1):
            first = value[:1] if axis == 0 else value[:, :1]
            if value.shape[axis] > 1 and bool((value == first).all()):
                return self.keep(np.ascontiguousarray(first))
        return value

    def ceil_div(self, size: Size, by: Size) -> Size:
        """``ceil(size / by)``, the one rule for every stride."""
        if isinstance(by, int):
            if by == 1:
                return size
            if isinstance(size, int):
                return -(-size // by)
            key = (id(size), by)
            if key not in self._divided:
                self._divided[key] = self.keep(-(-size // by))
            return self._divided[key]
        return self.keep(-(-size // by))

    def size(self, node: Node, tree: Expression, what: str, ok: Mask = True) -> tuple[Size, Mask]:
        """The value of an expression, and where it is at least 1 (elsewhere it is replaced by 1)."""
        if "B" in tree.variables and node.op not in ("reshape", "repeat"):
            message = f"{what}={tree} depends on the batch size B, which only reshape and repeat may use."
            raise self.refuse(node, ProblemCode.BATCH, message, "Use C, dim, H, W or a number.")
        found = self.value(tree)
        value = found.value
        if found.small is not True:
            message = f"{what}={tree} is larger than any tensor may be"
            ok = self.require(
                node, found.small, ok, ProblemCode.SIZE_LIMIT, message, "Choose a smaller size."
            )
        if "B" in tree.variables:
            message = f"{what}={tree} does not grow evenly with the batch size B"
            ok = self.require(node, self._grows_evenly(tree), ok, ProblemCode.BATCH, message, _EVENLY)
        good = (value >= 1) & found.defined
        if good is True:
            return value, ok
        message = f"{what}={tree} must be at least 1"
        hint = f"Choose {what} of at least 1 everywhere."
        ok = self.require(node, good, ok, ProblemCode.SHAPE, message, hint, (value,))
        return self.keep(np.where(good, value, 1).astype(np.int64)), ok

    def value(self, tree: Expression) -> Evaluated:
        """An expression at every site."""
        found = self._expressions.get(tree.text)
        if found is None:
            found = evaluate(tree, self.values)
            found = Evaluated(self.keep(found.value), found.defined, found.small)
            self._expressions[tree.text] = found
        return found

    def _grows_evenly(self, tree: Expression) -> Mask:
        """Where an expression is a whole multiple of B plus a number without it, at every batch size."""
        if tree.op == "name":
            return True
        even = self._even.get(tree.text)
        if even is None:
            even = self._even[tree.text] = growth(tree, self.values).even
        return even

    # --- problems ---

    def problem(
        self,
        node: Node,
        code: ProblemCode,
        message: str,
        hint: str,
        shapes: Iterable[Tensor] = (),
        place: Place | None = None,
    ) -> Problem:
        """A problem of a node; its shapes are those at the place, if none is given at the first where they
        exist.
        """
        few = list(itertools.islice(shapes, MAX_SHAPES))
        place = place or Place(self._first(few))
        described = tuple(describe_shape(tensor.sizes, tensor.spatial, self.sites, place) for tensor in few)
        line = self.block.lines.get(node.index)
        return Problem(code, message, node.index, node.operation, described, hint, line)

    def _first(self, tensors: Iterable[Tensor]) -> int:
        """The first site at which all of these tensors exist."""
        exist = np.ones(len(self.sites), bool)
        for tensor in tensors:
            exist &= tensor.ok
        return int(np.argmax(exist))

    def refuse(
        self, node: Node, code: ProblemCode, message: str, hint: str, shapes: Iterable[Tensor] = ()
    ) -> Refused:
        """Record a problem that holds at every site; raise what is returned."""
        self.problems.append(self.problem(node, code, message, hint, shapes))
        return Refused(message)

    def require(
        self,
        node: Node,
        good: Mask,
        ok: Mask,
        code: ProblemCode,
        message: str,
        hint: str | Callable[[], str],
        values: tuple[Size, ...] = (),
        shapes: Iterable[Tensor] = (),
    ) -> Mask:
        """Where the node still works: where its inputs do (``ok``) and ``good`` holds for every batch size.

        Records a problem if that is fewer sites than before; raises Refused if it is none. A hint that takes
        work is a function, called where there is a problem.
        """
        if good is True or (isinstance(good, np.ndarray) and bool(good.all())):
            return ok
        count = len(self.sites)
        per_site = np.broadcast_to(np.atleast_2d(np.asarray(good)), (1, 1)) if np.ndim(good) == 0 else good
        per_site = np.broadcast_to(np.asarray(per_site).all(axis=0), (count,))
        before = np.broadcast_to(np.asarray(ok), (count,))
        bad = before & ~per_site
        if not bad.any():
            return ok
        left = before & per_site
        where, place = describe_sites(bad, before, self.sites, values, np.asarray(good))
        told = hint if isinstance(hint, str) else hint()
        self.problems.append(self.problem(node, code, f"{message}{where}.", told, shapes, place))
        if not left.any():
            raise Refused(message)
        return left

    # --- limits ---

    def limit(self, node: Node, sizes: tuple[Size, ...], ok: Mask) -> Mask:
        """Refuse tensors of more than MAX_ELEMENTS elements for each image, in a batch of one or a large one.

        The elements are a polynomial in B (see `nader.graph.growth`), so between the two they are fewer.
        """
        key = tuple(size if isinstance(size, int) else -id(size) for size in sizes)
        if key in self._small:
            return ok
        good = self._elements(sizes) <= MAX_ELEMENTS
        if bool(np.all(good)):
            self._small.add(key)
            return ok
        if good.ndim == 2 and good.shape[0] == 2:  # as `require` takes it: one row for each of BATCHES
            good = np.concatenate([np.repeat(good[:1], len(BATCHES) - 1, axis=0), good[1:]])
        message = f"The output has more than {MAX_ELEMENTS} elements for each image of a batch"
        return self.require(node, good, ok, ProblemCode.SIZE_LIMIT, message, "Make the tensor smaller.")

    def _elements(self, sizes: tuple[Size, ...]) -> Any:
        """Elements for each image: one row, or one for a batch of 1 and one for the largest of BATCHES."""
        batch = self.values["B"]
        images = next((at for at, size in enumerate(sizes) if size is batch), None)
        elements: Any = np.float64(1.0)
        for at, size in enumerate(sizes):
            if isinstance(size, int):
                elements = elements * size
            elif at != images:
                elements = elements * (size if size.shape[0] == 1 else size[[0, -1]]).astype(np.float64)
        grows = isinstance(elements, np.ndarray) and elements.ndim == 2 and elements.shape[0] == 2
        return elements / _ENDS if grows and images is None else elements

    def limit_weights(self, node: Node, factors: tuple[Size, ...], ok: Mask) -> Mask:
        """Refuse a node of more than MAX_WEIGHTS parameters."""
        weights: Any = 1.0
        for factor in factors:
            weights = weights * factor
        good = weights <= MAX_WEIGHTS
        if bool(np.all(good)):
            return ok
        message = f"The operation has more than {MAX_WEIGHTS} weights"
        return self.require(
            node, good, ok, ProblemCode.SIZE_LIMIT, message, "Use fewer channels or more groups."
        )


def at(size: Size, batch: int, site: int) -> int:
    """One size at one row of BATCHES and one site."""
    if isinstance(size, int):
        return size
    return int(size[batch if size.shape[0] > 1 else 0, site if size.shape[1] > 1 else 0])
