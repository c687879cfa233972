"""A user's own folder of images: one folder a class, below train, validation and test folders or not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nader.training.datasets import Arrays, DatasetInfo, hash_order
from nader.training.errors import DataMissingError, DatasetError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp"})
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Listing:
    """The files of each part with their class numbers; `digest` changes when a name or a size does, which is
    soon told but says nothing of the contents: `content_digest` does.
    """

    root: Path
    classes: tuple[str, ...]
    parts: dict[str, list[tuple[Path, int]]]
    digest: str


def list_folder(root: Path) -> Listing:
    """What lies in the folder: `CLASS/image`, split 80/10/10 by a hash of the names, or `PART/CLASS/image`.

    Raises DataMissingError where there is no such folder, DatasetError where it holds fewer than two classes.
    """
    if not root.is_dir():
        raise DataMissingError(
            f"The image folder {root} is not there: name the folder that holds one folder a class (data_dir)."
        )
    given = [p for p in PARTS if (root / p).is_dir()]
    if given and "train" not in given:
        raise DatasetError(f"{root} has a folder {given[0]!r} but no 'train' beside it.")
    top = root / "train" if given else root
    classes = tuple(sorted(p.name for p in top.iterdir() if p.is_dir() and not p.name.startswith(".")))
    if len(classes) < 2:
        raise DatasetError(
            f"{top} must hold one folder of images for each of at least two classes; it holds {len(classes)}."
        )
    if given:
        parts = {p: _images(root / p, classes) if p in given else [] for p in PARTS}
    else:
        parts = _split(_images(root, classes))
    if len(parts["train"]) < 2:
        raise DatasetError(f"{top} holds no images to train on ({', '.join(sorted(SUFFIXES))} are read).")
    try:
        lines = [f"{p} {f.relative_to(root)} {f.stat().st_size} {c}" for p in PARTS for f, c in parts[p]]
    except FileNotFoundError as error:
        raise DataMissingError(
            f"The image {error.filename} was removed while the data set was being read."
        ) from error
    return Listing(root, classes, parts, _sha256(lines))


def content_digest(root: Path, parts: dict[str, list[tuple[Path, int]]]) -> str:
    """SHA-256 in hex over the names, classes and contents of all images. Raises DataMissingError.

    Every file is read once in a process, and again when its size or its times (of modification, of the
    inode's change) differ.
    """
    lines = [f"{p} {f.relative_to(root)} {_digest_of(f)} {c}" for p, files in parts.items() for f, c in files]
    return _sha256(lines)


def _sha256(lines: list[str]) -> str:
    # A name need not be UTF-8: such bytes are kept as they are.
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


_known: dict[Path, tuple[tuple[int, int, int], str]] = {}
"""Digests of files that were read, with size and times as they were."""


def _digest_of(file: Path) -> str:
    try:
        facts = file.stat()
        stamp = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        known = _known.get(file)
        if known is None or known[0] != stamp:
            known = _known[file] = (stamp, hashlib.sha256(file.read_bytes()).hexdigest())
    except FileNotFoundError as error:
        raise DataMissingError(f"The image {file} was removed while the data set was being read.") from error
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror}.") from error
    return known[1]


def _images(root: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    return [
        (file, number)
        for number, name in enumerate(classes)
        for file in sorted((root / name).rglob("*"))
        if file.suffix.lower() in SUFFIXES and file.is_file()
    ]


def _split(files: list[tuple[Path, int]]) -> dict[str, list[tuple[Path, int]]]:
    order = [files[i] for i in hash_order("image-folder", len(files))]
    tenth = max(1, len(files) // 10)
    return {"validation": order[:tenth], "test": order[tenth : 2 * tenth], "train": order[2 * tenth :]}


def read_image(file: Path, side: int) -> np.ndarray:
    """One image as uint8 [3, side, side]. Raises DatasetError naming a file that is no image."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            resized = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    except FileNotFoundError as error:
        raise DataMissingError(f"The image {file} was removed while the data set was being read.") from error
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{file} cannot be read as an image: {error}.") from error
    return np.asarray(resized, dtype=np.uint8).transpose(2, 0, 1)


def read(folder: Path, info: DatasetInfo) -> Arrays:
    """Every image of the folder, resized to the side that `info` gives."""
    listing = list_folder(folder)
    arrays: Arrays = {}
    for part, files in listing.parts.items():
        if files:
            images = np.stack([read_image(file, info.height) for file, _ in files])
            arrays[part] = (images, np.array([label for _, label in files], dtype=np.int64))
    return arrays
