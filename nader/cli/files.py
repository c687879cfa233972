"""Files that commands write for the user: whole or not at all."""

import os
from pathlib import Path

from nader.errors import WorkspaceError


def write_text(path: Path, text: str) -> None:
    """Write a text file by way of a temporary one, so that a failure leaves no half of it; raises
    WorkspaceError."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """As `write_text`, for bytes."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True) if part.parent.is_dir() else None
        raise WorkspaceError(f"the file {path} cannot be written: {(error.strerror or '').lower()}") from None
