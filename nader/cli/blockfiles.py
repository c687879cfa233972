"""Files of blocks, cut into one text a block that keeps the line numbers of the file."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from nader.errors import WorkspaceError
from nader.graph import Role

_HEADER = re.compile(r"\s*#{1,8}\s*[^#\s][^#]*#+\s*")
_LARGEST = 1 << 20
"""Characters of a file that are read; the language has its own, smaller limit for a block."""


@dataclass(frozen=True)
class Piece:
    """The text of one block, with empty lines in place of all before it."""

    text: str
    role: Role


def read_pieces(file: Path, role: Role | None = None) -> list[Piece]:
    """The blocks of a file (`-`: standard input), each with its role; at least one. Raises WorkspaceError."""
    return pieces(read_text(file), role)


def pieces(text: str, role: Role | None = None) -> list[Piece]:
    """The blocks of a text. Without a role, a block's name tells it, else its place among three."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if _HEADER.fullmatch(line)]
    if len(starts) < 2:
        name = lines[starts[0]] if starts else ""
        return [Piece(text, role or role_of(name) or Role.CELL)]
    found = []
    for order, (start, end) in enumerate(zip(starts, [*starts[1:], len(lines)], strict=True)):
        by_place = (Role.CELL, Role.STEM, Role.DOWNSAMPLE)[order] if len(starts) == 3 else Role.CELL
        block = "\n" * start + "\n".join(lines[start:end])
        found.append(Piece(block, role or role_of(lines[start]) or by_place))
    return found


def role_of(name: str) -> Role | None:
    """The role that a block's name tells, if it tells one."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    if "stem" in words:
        return Role.STEM
    if words & {"downsample", "downsampling", "reduction"}:
        return Role.DOWNSAMPLE
    return Role.CELL if "cell" in words else None


def read_text(file: Path, errors: str = "replace") -> str:
    """The text of a file, `-` for standard input; raises WorkspaceError with one sentence.

    `errors` says what becomes of bytes that are no UTF-8: replaced, or refused (`strict`).
    """
    try:
        if str(file) == "-":
            return sys.stdin.read(_LARGEST)
        with file.open(encoding="utf-8", errors=errors) as stream:
            return stream.read(_LARGEST)
    except UnicodeDecodeError:
        what = "standard input" if str(file) == "-" else f"the file {file}"
        raise WorkspaceError(f"{what} is not UTF-8 text") from None
    except FileNotFoundError:
        raise WorkspaceError(f"there is no file {file}") from None
    except OSError as error:
        raise WorkspaceError(f"the file {file} cannot be read: {(error.strerror or '').lower()}") from None
