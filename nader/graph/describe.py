"""Words for shapes and sites, as a problem report shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nader.graph.expression import Size
from nader.graph.sites import BATCHES, Sites

_Key: TypeAlias = int | tuple[tuple[int, ...], bytes]

_FACTORS = (2, 3, 4, 6, 8, 12, 16)
_HALVINGS = (2, 4, 8, 16, 32)


def describe_shape(sizes: tuple[Size, ...], spatial: tuple[bool, ...], sites: Sites) -> str:
    """A shape such as ``(B, C/4, H, W)``: by name where a size has one at every site, else by number.

    ``spatial`` says which axes are sides of the map: they are named by H or W rather than C where both fit.
    """
    last = len(sizes) - 1
    words = []
    for axis, (size, side) in enumerate(zip(sizes, spatial, strict=True)):
        names = sites.__dict__.setdefault("_names", {})  # many shapes are described at the same sites
        kind = ("W", "H") if side and axis == last else ("H", "W") if side else ("C", "dim")
        if kind not in names:
            names[kind] = _names(sites.values, kind)
        words.append(_name(size, names[kind]))
    return f"({', '.join(words)})"


def _name(size: Size, names: Mapping[_Key, str]) -> str:
    if isinstance(size, int) and size <= 3:
        return str(size)
    return names.get(_key(size)) or (str(size) if isinstance(size, int) else _by_number(size))


def _key(size: Size) -> _Key:
    return size if isinstance(size, int) else (size.shape, size.tobytes())


def _names(values: Mapping[str, Size], first: tuple[str, str]) -> dict[_Key, str]:
    """Every size that has a name; of several names the first counts."""
    names: dict[_Key, str] = {}
    for name in (*first, *(name for name in ("C", "dim", "H", "W", "B") if name not in first)):
        names.setdefault(_key(values[name]), name)
    for factor in _FACTORS if first == ("C", "dim") else ():
        for name in first:
            names.setdefault(_key(values[name] * factor), f"{factor}*{name}")
            if bool(np.all(values[name] % factor == 0)):
                names.setdefault(_key(values[name] // factor), f"{name}/{factor}")
    for factor in _HALVINGS if first != ("C", "dim") else ():
        for name in first:
            names.setdefault(_key(-(-values[name] // factor)), f"ceil({name}/{factor})")
    names.setdefault(_key(values["H"] * values["W"]), "H*W")
    names.setdefault(_key(values["C"] + values["dim"]), "C+dim")
    return names


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
            batches = f" at some batch sizes, such as {BATCHES[int(np.argmin(column))]}"
    if bad.sum() == before.sum() and bad.sum() == len(sites):
        return f"{met}{batches}"
    place = f"C={site.C}, dim={site.dim}, H={site.H}, W={site.W}"
    return f"{met}{batches}, at {int(bad.sum())} of {len(sites)} places of the network, such as {place}"


def _at_site(value: Size, site: int) -> str:
    if isinstance(value, int):
        return str(value)
    column = value[:, site if value.shape[1] > 1 else 0]
    return str(int(column[0]))
