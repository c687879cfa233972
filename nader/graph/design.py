"""A design: the three blocks of a network, and an index that finds equal ones."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from nader.graph.block import Block
from nader.graph.canonical import digest
from nader.graph.errors import BlockError, Problem, ProblemCode
from nader.graph.parse import parse_all
from nader.graph.printing import print_block
from nader.graph.sites import Role


@dataclass(frozen=True)
class Design:
    """Cell, stem and downsample block of one network."""

    cell: Block
    stem: Block
    downsample: Block

    def block(self, role: Role | str) -> Block:
        """The block of that role."""
        return {Role.CELL: self.cell, Role.STEM: self.stem, Role.DOWNSAMPLE: self.downsample}[Role(role)]

    def __iter__(self) -> Iterator[tuple[Role, Block]]:
        """Role and block, in the order cell, stem, downsample."""
        return iter(((Role.CELL, self.cell), (Role.STEM, self.stem), (Role.DOWNSAMPLE, self.downsample)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the three digests: equal exactly for equal designs, whatever their names."""
        parts = "\n".join(f"{role.value} {digest(block, role)}" for role, block in self)
        return hashlib.sha256(parts.encode()).hexdigest()

    def to_text(self) -> str:
        """The three blocks one after the other, in the order cell, stem, downsample."""
        return "\n".join(print_block(block) for _, block in self)

    @classmethod
    def from_text(cls, text: str) -> Design:
        """Read three blocks in the order cell, stem, downsample; BlockError if the text is anything else."""
        blocks = parse_all(text)
        if len(blocks) != 3:
            message = f"A design has three blocks (cell, stem, downsample), the text has {len(blocks)}."
            hint = "Write the three blocks one after the other, each with its ##name## header."
            raise BlockError([Problem(ProblemCode.SYNTAX, message, hint=hint)])
        return cls(*blocks)


Key = TypeVar("Key", bound=Hashable)


class DuplicateIndex(Generic[Key]):
    """Finds the first that was added of several equal designs or blocks, by digest, in constant time."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}

    def add(self, digest: str, key: Key) -> Key:
        """Remember ``key`` under its digest; returns the key that was there first, or ``key`` itself."""
        return self._keys.setdefault(digest, key)

    def find(self, digest: str) -> Key | None:
        """The first key added under that digest, if any."""
        return self._keys.get(digest)

    def __contains__(self, digest: object) -> bool:
        return digest in self._keys

    def __len__(self) -> int:
        return len(self._keys)
