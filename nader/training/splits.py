"""NAS-Bench-201's split files: found beside the data, checked by digest, read into index arrays."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from nader.training.errors import DataMissingError, DatasetError

SPLIT_DIGESTS = {
    "cifar-split.txt": "986da6174822048d4c5a25ee8ebdb7e754cd5372b51c633ffd4898ace8db9e32",
    "cifar100-test-split.txt": "14a5e3708e790ad57f987cdbcf202f724519475d6e8b0db34d0182e73b581bba",
    "imagenet-16-120-test-split.txt": "c0edac1d3676a9f21acea8feeb31336202d75b1a73df62aec31c6b45bb289a18",
}
"""SHA-256 of each file as D-X-Y/AutoDL-Projects publishes it."""

PUBLIC_HOME = "https://raw.githubusercontent.com/D-X-Y/AutoDL-Projects/main/configs/nas-benchmark/"


def find_split(name: str, folder: Path) -> Path:
    """The split file in the data folder, its `splits` or `nas-bench-201`. Raises DataMissingError."""
    for place in (folder, folder / "splits", folder / "nas-bench-201"):
        if (place / name).is_file():
            return place / name
    raise DataMissingError(
        f"NAS-Bench-201's split file {name} was looked for in {folder} and is not there: "
        f"run `nader data get`, or copy it there from {PUBLIC_HOME}{name}."
    )


def read_split(path: Path) -> dict[str, np.ndarray]:
    """Part name → indices, int64, in the file's order. Raises DatasetError for a file with another digest."""
    raw = path.read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if found != SPLIT_DIGESTS[path.name]:
        raise DatasetError(f"{path} is not the published {path.name}: its SHA-256 is {found}.")
    return {
        name: np.array([int(i) for i in indices], dtype=np.int64)
        for name, (_, indices) in json.loads(raw).items()
    }
