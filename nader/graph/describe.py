"""Words for shapes and sites, as a problem report shows them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nader.graph.expression import Size
from nader.graph.sites import BATCHES, Sites

_FACTORS = (2, 3, 4, 6, 8, 12, 16, 24, 32)


def describe_shape(sizes: tuple[Size, ...], sites: Sites) -> str:
    """A shape such as ``(B, C/4, H, W)``: by name where a size has one at every site, else by number."""
    return f"({', '.join(_name(size, sites.values) for size in sizes)})"


def _name(size: Size, values: Mapping[str, Size]) -> str:
    batch, channels, dim, height, width = (values[name] for name in ("B", "C", "dim", "H", "W"))
    if isinstance(size, int) and size <= 4:
        return str(size)
    candidates: list[tuple[str, Size]] = [
        ("B", batch),
        ("C", channels),
        ("dim", dim),
        ("H", height),
        ("W", width),
    ]
    for factor in _FACTORS:
        for name, value in candidates[1:]:
            if _same(size, value * factor):
                return f"{factor}*{name}"
            if _same(size, value // factor) and bool(np.all(value % factor == 0)):
                return f"{name}/{factor}"
            if name in ("H", "W") and _same(size, -(-value // factor)):
                return f"ceil({name}/{factor})"
        if factor == 2:
            for name, value in [*candidates, ("H*W", height * width), ("C+dim", channels + dim)]:
                if _same(size, value):
                    return _numbered(name, size)
    return str(size) if isinstance(size, int) else _by_number(size)


def _same(first: Size, second: Size) -> bool:
    return bool(np.all(np.equal(first, second)))


def _numbered(name: str, size: Size) -> str:
    return name


def _by_number(size: NDArray[np.int64]) -> str:
    """A size that has no name: its value at the first site, at each batch size if it changes with it."""
    if size.shape[0] == 1:
        return str(int(size[0, 0]))
    column, batches = size[:, 0], np.array(BATCHES)
    ratio = int(column[0]) // BATCHES[0]
    if bool((column == ratio * batches).all()):
        return f"{ratio}*B"
    return f"{int(column[1])} at B={BATCHES[1]}"


def describe_sites(
    bad: NDArray[np.bool_],
    before: NDArray[np.bool_],
    sites: Sites,
    values: tuple[Size, ...],
    good: NDArray[np.bool_],
) -> str:
    """Where something fails: nothing for everywhere, else the sites by example, with the values that met."""
    first = int(np.argmax(bad))
    site = sites[first]
    met = ""
    if values:
        numbers = [_at_site(value, first) for value in values]
        met = f" (got {' and '.join(numbers)})"
    batches = ""
    if good.ndim == 2 and good.shape[0] > 1:
        column = good[:, first if good.shape[1] > 1 else 0]
        if column.any():
            failing = [str(batch) for batch, fine in zip(BATCHES, column, strict=True) if not fine]
            batches = f" at batch size {', '.join(failing)}"
    if bad.sum() == before.sum() and bad.sum() == len(sites):
        return f"{met}{batches}"
    place = f"C={site.C}, dim={site.dim}, H={site.H}, W={site.W}"
    return f"{met}{batches}, at {int(bad.sum())} of {len(sites)} places of the network, such as {place}"


def _at_site(value: Size, site: int) -> str:
    if isinstance(value, int):
        return str(value)
    column = value[:, site if value.shape[1] > 1 else 0]
    return str(int(column[0]))
