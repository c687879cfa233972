"""Words for shapes and sites, as a problem report shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nader.graph.expression import Size
from nader.graph.sites import BATCHES, Sites

_Key: TypeAlias = int | tuple[tuple[int, ...], bytes]

_FACTORS = (2, 3, 4, 6, 8, 12, 16)
_HALVINGS = (2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Place:
    """The place, by example, of which a problem report tells its numbers."""

    site: int = 0
    """Index of the site."""
    batch: int = 1
    """Row of BATCHES."""
    told: bool = False
    """Whether the message already names the site."""


def describe_shape(sizes: tuple[Size, ...], spatial: tuple[bool, ...], sites: Sites, place: Place) -> str:
    """A shape such as ``(B, C/4, H, W)``: by name where a size has one at every site, else by number.

    A number that is another elsewhere is the one at the place, which is named with it unless it is told.
    ``spatial`` says which axes are sides of the map: they are named by H or W rather than C where both fit.
    """
    last = len(sizes) - 1
    words = []
    local = False
    for axis, (size, side) in enumerate(zip(sizes, spatial, strict=True)):
        names = sites.__dict__.setdefault("_names", {})  # many shapes are described at the same sites
        kind = ("W", "H") if side and axis == last else ("H", "W") if side else ("C", "dim")
        if kind not in names:
            names[kind] = _names(sites.values, kind)
        name = _name(size, names[kind])
        local |= name is None and _varies(size)
        words.append(_by_number(size, place) if name is None else name)
    where = f" where {_named(sites, place)}" if local and not place.told else ""
    return f"({', '.join(words)}){where}"


def _name(size: Size, names: Mapping[_Key, str]) -> str | None:
    if isinstance(size, int) and size <= 3:
        return str(size)
    return names.get(_key(size)) or (str(size) if isinstance(size, int) else None)


def _varies(size: Size) -> bool:
    """Whether a size is another at other sites."""
    return not isinstance(size, int) and size.shape[1] > 1


def _named(sites: Sites, place: Place) -> str:
    site = sites[place.site]
    return f"C={site.C}, dim={site.dim}, H={site.H}, W={site.W}"


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
            names.setdefault(_key(values[name] * factor), f"{factor}*{name}")
    names.setdefault(_key(values["H"] * values["W"]), "H*W")
    names.setdefault(_key(values["C"] + values["dim"]), "C+dim")
    return names


def _by_number(size: Size, place: Place) -> str:
    """A size that has no name: its value at the place, with the batch size if it changes with it."""
    if isinstance(size, int) or size.shape[0] == 1:
        return str(_at(size, place))
    column, batches = size[:, place.site if size.shape[1] > 1 else 0], np.array(BATCHES)
    ratio = int(column[0]) // BATCHES[0]
    if bool((column == ratio * batches).all()):
        return f"{ratio}*B"
    return f"{_at(size, place)} at B={BATCHES[place.batch]}"


def _at(size: Size, place: Place) -> int:
    if isinstance(size, int):
        return size
    return int(size[place.batch if size.shape[0] > 1 else 0, place.site if size.shape[1] > 1 else 0])


def describe_sites(
    bad: NDArray[np.bool_],
    before: NDArray[np.bool_],
    sites: Sites,
    values: tuple[Size, ...],
    good: NDArray[np.bool_],
) -> tuple[str, Place]:
    """Where something fails: nothing for everywhere, else the sites by example; and the values that met, all
    at one place, which is returned too.
    """
    first = int(np.argmax(bad))
    row, batches = Place.batch, ""
    if good.ndim == 2 and good.shape[0] > 1:
        column = good[:, first if good.shape[1] > 1 else 0]
        if column.any():
            row = int(np.argmin(column))
            batches = f" at some batch sizes, such as {BATCHES[row]}"
    everywhere = bad.sum() == before.sum() and bad.sum() == len(sites)
    place = Place(first, row, not everywhere or any(map(_varies, values)))
    met = ""
    if values:
        named = f" where {_named(sites, place)}" if everywhere and place.told else ""
        met = f" (got {' and '.join(str(_at(value, place)) for value in values)}{named})"
    if everywhere:
        return f"{met}{batches}", place
    among = f"at {int(bad.sum())} of {len(sites)} places of the network, such as {_named(sites, place)}"
    return f"{met}{batches}, {among}", place
