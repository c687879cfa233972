"""Fetching of data sets and split files from their public homes, checked by digest."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

from nader.training import formats
from nader.training.errors import DataMissingError, DatasetError
from nader.training.splits import PUBLIC_HOME, find_split, read_split

TORCHVISION = {
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "fashion-mnist": "FashionMNIST",
    "stl10": "STL10",
    "gtsrb": "GTSRB",
}


def fetch(base: str, folder: Path) -> None:
    """Bring a data set's files into `folder`. Raises DataMissingError with the reason and the way out."""
    try:
        formats.require(base, folder)
        return
    except DataMissingError:
        pass
    if base == "imagenet16-120" or base.startswith("image-folder"):
        formats.require(base, folder) if base in formats.FILES else None
        raise DataMissingError(f"{base} is the user's own: nothing to download.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if base in formats.SPLIT_OF:
            _fetch_split(formats.SPLIT_OF[base], folder)
        _fetch_images(base, folder)
    except DatasetError:
        raise
    except (OSError, RuntimeError, urllib.error.URLError) as error:
        raise DataMissingError(
            f"{base} could not be downloaded into {folder}: {error}. "
            f"Without a network, copy the files there by hand."
        ) from error
    formats.require(base, folder)


def _fetch_images(base: str, folder: Path) -> None:
    from torchvision import datasets

    kind = getattr(datasets, TORCHVISION[base])
    if base == "gtsrb":
        for split in ("train", "test"):
            kind(str(folder), split=split, download=True)
    elif base == "stl10":
        kind(str(folder), split="train", download=True)
    else:
        kind(str(folder), train=True, download=True)


def _fetch_split(name: str, folder: Path) -> None:
    try:
        find_split(name, folder)
        return
    except DataMissingError:
        pass
    with urllib.request.urlopen(PUBLIC_HOME + name, timeout=60) as reply:
        raw = reply.read()
    partial = folder / f"{name}.part" / name
    partial.parent.mkdir(exist_ok=True)
    partial.write_bytes(raw)
    read_split(partial)
    partial.replace(folder / name)
    partial.parent.rmdir()
