"""The data sets: what each one is, known without loading it, and the way to its images."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nader.training.errors import DataChangedError, DataMissingError, DatasetError

if TYPE_CHECKING:
    import numpy as np
    import torch

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts its files."""


@dataclass(frozen=True)
class DatasetInfo:
    """Facts of a data set. `mean` and `std` are per channel, of pixel values 0 to 255."""

    name: str
    about: str
    classes: int
    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: int
    validation: int
    test: int
    split: str
    """Which images are which part; a part of a result's identity."""

    @property
    def image(self) -> tuple[int, int, int]:
        """(channels, height, width), as a skeleton wants it."""
        return (self.channels, self.height, self.width)


@dataclass(frozen=True)
class Part:
    """Images uint8 [n, C, H, W] and labels int64 [n]."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A data set in memory. Search looks at `validation`; `test` is reported only."""

    info: DatasetInfo
    train: Part
    validation: Part | None
    test: Part | None


Arrays = dict[str, "tuple[np.ndarray, np.ndarray]"]
"""Part name → (images uint8 [n, C, H, W], labels int64 [n])."""

_CIFAR10 = ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7))
_CIFAR100 = ((129.3, 124.1, 112.4), (68.2, 65.4, 70.4))
_IMAGENET16 = ((122.68, 116.66, 104.01), (63.22, 61.26, 65.09))
_STL10 = ((113.91, 112.15, 103.69), (66.38, 65.43, 69.18))
_GTSRB = ((86.78, 79.64, 81.96), (69.46, 66.53, 68.06))
_FOLDER = ((127.5, 127.5, 127.5), (63.75, 63.75, 63.75))

_PLAIN = (
    DatasetInfo("digits", "scikit-learn's handwritten digits, 8×8", 10, 1, 8, 8, (77.85,), (95.85,),
                1000, 397, 400, "by hash, version 1"),
    DatasetInfo("fashion-mnist", "Fashion-MNIST, 28×28 padded to 32×32", 10, 1, 32, 32, (55.84,), (84.24,),
                50_000, 10_000, 10_000, "the last 10,000 of the training images validate"),
    DatasetInfo("cifar10", "CIFAR-10, NAS-Bench-201's halves of the train set", 10, 3, 32, 32, *_CIFAR10,
                25_000, 25_000, 10_000, "cifar-split.txt"),
    DatasetInfo("cifar100", "CIFAR-100, NAS-Bench-201's halves of the test set", 100, 3, 32, 32, *_CIFAR100,
                50_000, 5_000, 5_000, "cifar100-test-split.txt"),
    DatasetInfo("imagenet16-120", "120 classes of ImageNet at 16×16", 120, 3, 16, 16, *_IMAGENET16,
                151_700, 3_000, 3_000, "imagenet-16-120-test-split.txt"),
    DatasetInfo("stl10", "STL-10 at 32×32", 10, 3, 32, 32, *_STL10,
                4_500, 500, 8_000, "every tenth training image validates"),
    DatasetInfo("gtsrb", "German traffic signs at 32×32", 43, 3, 32, 32, *_GTSRB,
                24_000, 2_640, 12_630, "every tenth track of the training images validates"),
)  # fmt: skip
_FULL = tuple(
    replace(d, name=f"{d.name}-full", about=f"{d.about}; trained on the validation part too",
            train=d.train + d.validation, validation=0, split=f"{d.split}; joined")
    for d in _PLAIN if d.name in ("fashion-mnist", "cifar10", "stl10", "gtsrb")
)  # fmt: skip

DATASETS: dict[str, DatasetInfo] = {d.name: d for d in (*_PLAIN, *_FULL)}
"""Every data set by name, but for the user's own folders of images (`image-folder`, `image-folder-SIDE`)."""

_FOLDER_NAME = re.compile(r"image-folder(?:-(\d+))?\Z")


def default_data_dir() -> Path:
    """Where data sets are kept: $NADER_DATA, else `nader/data` in the user's data folder."""
    if os.environ.get("NADER_DATA"):
        return Path(os.environ["NADER_DATA"])
    home = os.environ.get("XDG_DATA_HOME") or (
        f"{os.environ['HOME']}/.local/share" if os.environ.get("HOME") else "/tmp"
    )
    return Path(home) / "nader" / "data"


def dataset_info(name: str, data_dir: str | Path | None = None) -> DatasetInfo:
    """The facts of a data set, without loading it; an image folder is listed to count its classes.

    Raises DatasetError for an unknown name, DataMissingError for an image folder that is not there.
    """
    if name in DATASETS:
        return DATASETS[name]
    match = _FOLDER_NAME.match(name)
    if match:
        from nader.training.image_folder import list_folder

        side = int(match[1] or 32)
        if side % 4 or side < 8:
            raise DatasetError(f"The side of {name!r} must be a multiple of 4 from 8 on; {side} is not.")
        listing = list_folder(folder_of(name, data_dir))
        sizes = {part: len(files) for part, files in listing.parts.items()}
        about = f"images of {listing.root}, resized to {side}×{side}"
        return DatasetInfo(name, about, len(listing.classes), 3, side, side, *_FOLDER,
                           sizes["train"], sizes["validation"], sizes["test"], listing.digest)  # fmt: skip
    near = difflib.get_close_matches(name, [*DATASETS, "image-folder"], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(DATASETS)}, image-folder."
    raise DatasetError(f"There is no data set {name!r}; {hint}")


def dataset_identity(name: str, data_dir: str | Path | None = None) -> str:
    """What makes two data sets the same one: the name and the split, by digest where files decide it.

    Of an image folder, and of GTSRB, whose publisher gives no digests of the files, every file is read (once
    in a process, unless it changes). Raises DataMissingError where they are not there.
    """
    from nader.training import image_folder
    from nader.training.splits import SPLIT_DIGESTS

    split = dataset_info(name, data_dir).split
    for file, digest in SPLIT_DIGESTS.items():
        split = split.replace(file, digest)
    folder = folder_of(name, data_dir)
    if name.startswith("image-folder"):
        split = image_folder.content_digest(folder, image_folder.list_folder(folder).parts)
    elif name.startswith("gtsrb"):
        from nader.training.formats import gtsrb_files, require

        parts = dict(zip(("train", "test"), gtsrb_files(folder), strict=True))
        split += f"; files {image_folder.content_digest(require('gtsrb', folder), parts)}"
    return f"{name}: {split}"


def require_same(name: str, data_dir: str | Path | None, expected: str) -> None:
    """Raises DataChangedError where another data set lies there than the one a result is recorded for."""
    if dataset_identity(name, data_dir) != expected:
        raise DataChangedError(
            f"The data set {name} in {folder_of(name, data_dir)} is not the one that was begun with: "
            "files were added, removed or changed. Put them back, or start a new run."
        )


def folder_of(name: str, data_dir: str | Path | None) -> Path:
    """Where a data set is looked for: the folder named, else the default, else Debian's Fashion-MNIST."""
    from nader.training import formats

    if data_dir is not None:
        return Path(data_dir).expanduser()
    folder = default_data_dir()
    if name.startswith("fashion-mnist") and DEBIAN_FASHION_MNIST.is_dir() and not formats.present(folder):
        return DEBIAN_FASHION_MNIST
    return folder


def load_dataset(name: str, data_dir: str | Path | None = None) -> Dataset:
    """Read a data set whole. Raises DataMissingError (where it looked, what to do) or DatasetError."""
    import torch

    info = dataset_info(name, data_dir)
    arrays = _reader(name)(folder_of(name, data_dir), info)
    parts = {}
    for part, (images, labels) in arrays.items():
        expected = {"train": info.train, "validation": info.validation, "test": info.test}[part]
        if len(images) != expected or images.shape[1:] != info.image:
            raise DatasetError(
                f"The {part} part of {name} has images {images.shape}, "
                f"but {(expected, *info.image)} were expected."
            )
        parts[part] = Part(torch.from_numpy(images), torch.from_numpy(labels))
    return Dataset(info, parts["train"], parts.get("validation"), parts.get("test"))


def _reader(name: str) -> Callable[[Path, DatasetInfo], Arrays]:
    from nader.training import formats, image_folder

    base = name.removesuffix("-full")
    if name.startswith("image-folder"):
        return image_folder.read
    if base == name:
        return formats.READERS[base]

    def joined(folder: Path, info: DatasetInfo) -> Arrays:
        import numpy as np

        arrays = formats.READERS[base](folder, DATASETS[base])
        pairs = zip(arrays["train"], arrays["validation"], strict=True)
        images, labels = (np.concatenate(pair) for pair in pairs)
        return {"train": (images, labels), "test": arrays["test"]}

    return joined


@dataclass(frozen=True)
class DataStatus:
    """Whether a data set can be used from here, and if not, what to do."""

    name: str
    ready: bool
    folder: str
    message: str


def data_status(name: str, data_dir: str | Path | None = None) -> DataStatus:
    """Whether the files of a data set are present (not whether they are intact: `check_dataset`)."""
    from nader.training import formats

    folder = folder_of(name, data_dir)
    try:
        info = dataset_info(name, data_dir)
        if not name.startswith("image-folder"):
            formats.require(name.removesuffix("-full"), folder)
    except DataMissingError as error:
        return DataStatus(name, False, str(folder), str(error))
    return DataStatus(name, True, str(folder), f"{info.about}: present.")


def check_dataset(name: str, data_dir: str | Path | None = None) -> Dataset:
    """Read every file and check digests, counts and labels. Raises DatasetError naming what is wrong."""
    dataset = load_dataset(name, data_dir)
    for part_name in ("train", "validation", "test"):
        part: Part | None = getattr(dataset, part_name)
        if part is not None and not (
            int(part.labels.min()) >= 0 and int(part.labels.max()) < dataset.info.classes
        ):
            raise DatasetError(
                f"The {part_name} part of {name} has labels outside 0 to {dataset.info.classes - 1}."
            )
    return dataset


def get_dataset(name: str, data_dir: str | Path | None = None) -> Path:
    """Download into the data folder what is not there yet, checked by digest. Returns where the files are.

    Raises DataMissingError where a person has to fetch the files, or where the download fails.
    """
    from nader.training import download

    base = name.removesuffix("-full")
    dataset_info(name, data_dir)
    folder = folder_of(name, data_dir)
    download.fetch(base, folder)
    return folder


def hash_order(name: str, count: int) -> list[int]:
    """0 … count-1 in an order fixed for ever by hashing, for splits and subsets of images."""
    return sorted(range(count), key=lambda i: hashlib.sha256(f"{name}-{i}".encode()).digest())


def balanced_subset(part: Part, count: int, classes: int) -> Part:
    """The first `count` images of a part in hash order, an equal share of each class while they last."""
    import torch

    labels = part.labels.tolist()
    queues: list[list[int]] = [[] for _ in range(classes)]
    for i in hash_order("subset", len(labels)):
        queues[labels[i]].append(i)
    rank = {i: (r, label) for label, queue in enumerate(queues) for r, i in enumerate(queue)}
    chosen = sorted(sorted(rank, key=rank.__getitem__)[:count])
    index = torch.tensor(chosen, dtype=torch.int64)
    return Part(part.images[index].contiguous(), part.labels[index].contiguous())
