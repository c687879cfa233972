"""Readers of the published file formats, each into uint8 arrays; nothing in a file is ever executed."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nader.training.datasets import Arrays, DatasetInfo, hash_order
from nader.training.errors import DataMissingError, DatasetError
from nader.training.splits import find_split, read_split

FILES: dict[str, dict[str, str]] = {
    "digits": {},
    "fashion-mnist": {
        "train-images-idx3-ubyte.gz": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte.gz": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte.gz": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte.gz": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    "cifar10": {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    "cifar100": {"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    "imagenet16-120": {
        "train_data_batch_1": "27846dcaa50de8e21a7d1a35f30f0e91",
        "train_data_batch_2": "c7254a054e0e795c69120a5727050e3f",
        "train_data_batch_3": "4333d3df2e5ffb114b05d2ffc19b1e87",
        "train_data_batch_4": "1620cdf193304f4a92677b695d70d10f",
        "train_data_batch_5": "348b3c2fdbb3940c4e9e834affd3b18d",
        "train_data_batch_6": "6e765307c242a1b3d7d5ef9139b48945",
        "train_data_batch_7": "564926d8cbf8fc4818ba23d2faac7564",
        "train_data_batch_8": "f4755871f718ccb653440b9dd0ebac66",
        "train_data_batch_9": "bb6dd660c38c58552125b1a92f86b5d4",
        "train_data_batch_10": "8f03f34ac4b42271a294f91bf480f29b",
        "val_data": "3410e3017fdaefba8d5073aaa65e4bd6",
    },
    "stl10": {
        "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
        "train_y.bin": "5a34089d4802c674881badbb80307741",
        "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
        "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
    },
    "gtsrb": {},
}
"""Data set → file → MD5 as the publishers and torchvision give it; of the decompressed bytes for gzip files,
because Debian compresses them anew."""

SUBFOLDERS: dict[str, tuple[str, ...]] = {
    "fashion-mnist": ("", "FashionMNIST/raw", "fashion-mnist"),
    "cifar10": ("cifar-10-batches-py", ""),
    "cifar100": ("cifar-100-python", ""),
    "imagenet16-120": ("ImageNet16", ""),
    "stl10": ("stl10_binary", ""),
    "gtsrb": ("gtsrb/GTSRB", "GTSRB", ""),
}
"""Where inside the data folder each data set's files may lie; torchvision's own layout comes first."""

GTSRB_TEST = "GT-final_test.csv"
"""Classes of GTSRB's test images: in the folder, or beside it, where torchvision unpacks it."""

SPLIT_OF = {
    "cifar10": "cifar-split.txt",
    "cifar100": "cifar100-test-split.txt",
    "imagenet16-120": "imagenet-16-120-test-split.txt",
}


def require(base: str, folder: Path) -> Path:
    """The folder that holds all files of a data set. Raises DataMissingError: where it looked, what to do."""
    if base == "digits":
        return folder
    wanted = [*FILES[base]] or ["Training", "Final_Test/Images", GTSRB_TEST]
    places = [folder / sub for sub in SUBFOLDERS[base]]
    found = next((p for p in places if all(_file(p, f).exists() for f in wanted)), None)
    if found is None:
        present = next((p for p in places if any(_file(p, f).exists() for f in wanted)), None)
        lacking = (
            f"; {present} lacks {next(f for f in wanted if not _file(present, f).exists())}"
            if present
            else ""
        )
        remedy = {
            "imagenet16-120": "fetch ImageNet16 by hand (its authors keep it on Google Drive) and",
            "fashion-mnist": "run `nader data get fashion-mnist`, install Debian's dataset-fashion-mnist, or",
        }.get(base, f"run `nader data get {base}`, or")
        inside = ", ".join(sub for sub in SUBFOLDERS[base] if sub)
        raise DataMissingError(
            f"The files of {base} were looked for in {folder} (and in it {inside}) and are not "
            f"there{lacking}: {remedy} name the folder that holds them (data_dir)."
        )
    if base in SPLIT_OF:
        find_split(SPLIT_OF[base], folder)
    return found


def _file(place: Path, name: str) -> Path:
    """Where a file of a data set lies, seen from the folder of its images."""
    beside = place.parent / name
    return beside if name == GTSRB_TEST and place.name == "GTSRB" and beside.exists() else place / name


def present(folder: Path, base: str = "fashion-mnist") -> bool:
    """Whether a folder holds all files of a data set."""
    try:
        require(base, folder)
    except DataMissingError:
        return False
    return True


def read_checked(path: Path, md5: str) -> bytes:
    """A file's bytes. Raises DatasetError where the MD5 differs, DataMissingError where it vanished."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise DataMissingError(f"The data file {path} was removed while it was being read.") from error
    if path.suffix == ".gz":
        raw = _decompress(raw, path)
    found = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DatasetError(
            f"{path} is damaged or another file: its MD5 is {found}, not {md5}; fetch it again."
        )
    return raw


def _decompress(raw: bytes, path: Path) -> bytes:
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} is damaged: {error}; fetch it again.") from error


class _ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of dicts, lists, strings, numbers and numpy arrays; refuses every other global."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy.core.numeric", "_frombuffer"),
            ("numpy._core.numeric", "_frombuffer"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self.ALLOWED:
            return super().find_class(module, name)
        raise DatasetError(
            f"The pickle asks for {module}.{name}, which a file of images has no use for; it was refused."
        )


def unpickle_arrays(raw: bytes) -> dict[str, Any]:
    """A pickled dict of arrays and lists, keys as text. Raises DatasetError for anything else."""
    try:
        value = _ArrayUnpickler(io.BytesIO(raw), encoding="bytes").load()
    except DatasetError:
        raise
    except Exception as error:
        raise DatasetError(f"The file is not a pickle of images: {error}.") from error
    if not isinstance(value, dict):
        raise DatasetError("The pickle does not hold a dictionary.")
    return {k.decode() if isinstance(k, bytes) else str(k): v for k, v in value.items()}


def _batches(
    folder: Path, files: dict[str, str], label: str, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for file, md5 in files.items():
        batch = unpickle_arrays(read_checked(folder / file, md5))
        if "data" not in batch or label not in batch:
            raise DatasetError(f"{folder / file} has no 'data' or no {label!r}.")
        images.append(np.asarray(batch["data"], dtype=np.uint8).reshape(-1, *shape))
        labels.append(np.asarray(batch[label], dtype=np.int64))
    return np.concatenate(images), np.concatenate(labels)


def _cifar10(folder: Path, info: DatasetInfo) -> Arrays:
    place, split = require("cifar10", folder), read_split(find_split("cifar-split.txt", folder))
    files = FILES["cifar10"]
    train = _batches(place, {k: v for k, v in files.items() if k != "test_batch"}, "labels", info.image)
    test = _batches(place, {"test_batch": files["test_batch"]}, "labels", info.image)
    return {"train": _take(train, split["train"]), "validation": _take(train, split["valid"]), "test": test}


def _cifar100(folder: Path, info: DatasetInfo) -> Arrays:
    place, split = require("cifar100", folder), read_split(find_split("cifar100-test-split.txt", folder))
    files = FILES["cifar100"]
    train = _batches(place, {"train": files["train"]}, "fine_labels", info.image)
    test = _batches(place, {"test": files["test"]}, "fine_labels", info.image)
    return {"train": train, "validation": _take(test, split["xvalid"]), "test": _take(test, split["xtest"])}


def _imagenet16(folder: Path, info: DatasetInfo) -> Arrays:
    place = require("imagenet16-120", folder)
    split = read_split(find_split("imagenet-16-120-test-split.txt", folder))
    files = FILES["imagenet16-120"]
    train = _first_classes(
        _batches(place, {k: v for k, v in files.items() if k != "val_data"}, "labels", info.image), 120
    )
    test = _first_classes(_batches(place, {"val_data": files["val_data"]}, "labels", info.image), 120)
    return {"train": train, "validation": _take(test, split["xvalid"]), "test": _take(test, split["xtest"])}


def _first_classes(pair: tuple[np.ndarray, np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep labels 1 … count of 1-based labels and make them 0-based."""
    images, labels = pair
    keep = (labels >= 1) & (labels <= count)
    return images[keep], labels[keep] - 1


def _take(pair: tuple[np.ndarray, np.ndarray], index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return pair[0][index], pair[1][index]


def read_idx(data: bytes) -> np.ndarray:
    """An array of an IDX file of unsigned bytes. Raises DatasetError for another file."""
    if len(data) < 8 or data[:3] != b"\0\0\x08":
        raise DatasetError("The file is not an IDX file of unsigned bytes.")
    sizes = np.frombuffer(data, ">i4", count=data[3], offset=4).tolist()
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(sizes)).reshape(sizes)


def _fashion_mnist(folder: Path, info: DatasetInfo) -> Arrays:
    place = require("fashion-mnist", folder)
    arrays = [read_idx(read_checked(place / file, md5)) for file, md5 in FILES["fashion-mnist"].items()]
    padded = [np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None] for images in arrays[::2]]
    labels = [a.astype(np.int64) for a in arrays[1::2]]
    cut = info.train
    return {
        "train": (padded[0][:cut], labels[0][:cut]),
        "validation": (padded[0][cut:], labels[0][cut:]),
        "test": (padded[1], labels[1]),
    }


def _digits(folder: Path, info: DatasetInfo) -> Arrays:
    pixels, labels = _digits_table()
    images = np.rint(pixels.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    order = np.array(hash_order("digits", len(images)))
    cuts = np.split(order, [info.train, info.train + info.validation])
    whole = (images, labels.astype(np.int64))
    return {
        part: _take(whole, index) for part, index in zip(("train", "validation", "test"), cuts, strict=True)
    }


def _digits_table() -> tuple[np.ndarray, np.ndarray]:
    """Pixels 0 to 16 [1797, 64] and labels, from scikit-learn's file: importing it would take a second."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataMissingError("The digits lie in scikit-learn, which is not installed.")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        with gzip.open(file, "rt", encoding="ascii") as lines:
            table = np.loadtxt(lines, delimiter=",")
        return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.data, bunch.target


def _stl10(folder: Path, info: DatasetInfo) -> Arrays:
    place, files = require("stl10", folder), FILES["stl10"]
    raw = {file: np.frombuffer(read_checked(place / file, md5), np.uint8) for file, md5 in files.items()}

    def part(name: str) -> tuple[np.ndarray, np.ndarray]:
        # STL-10 stores each channel column by column.
        images = raw[f"{name}_X.bin"].reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2)
        return shrink(images, info.height), raw[f"{name}_y.bin"].astype(np.int64) - 1

    return {**every_tenth(*part("train")), "test": part("test")}


def _gtsrb(folder: Path, info: DatasetInfo) -> Arrays:
    from nader.training.image_folder import read_image

    train, test = gtsrb_files(folder)

    def part(files: list[tuple[Path, int]]) -> tuple[np.ndarray, np.ndarray]:
        images = np.stack([read_image(file, info.height) for file, _ in files])
        return images, np.array([label for _, label in files], dtype=np.int64)

    held = gtsrb_tracks(train) % 10 == 9
    images, labels = part(train)
    return {
        "train": (images[~held], labels[~held]),
        "validation": (images[held], labels[held]),
        "test": part(test),
    }


def gtsrb_files(folder: Path) -> tuple[list[tuple[Path, int]], list[tuple[Path, int]]]:
    """GTSRB's training and test images, in order, with their classes. Raises DatasetError for other files."""
    import csv

    place = require("gtsrb", folder)
    listing = _file(place, GTSRB_TEST)
    try:
        train = [(file, int(file.parent.name)) for file in sorted(place.glob("Training/*/*.ppm"))]
        with listing.open(newline="", encoding="utf-8") as lines:
            rows = csv.DictReader(lines, delimiter=";")
            test = [(place / "Final_Test/Images" / row["Filename"], int(row["ClassId"])) for row in rows]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise DatasetError(
            f"{place} does not hold GTSRB: {listing} must have Filename and ClassId columns, and the folders "
            f"of Training must be numbers ({error})."
        ) from error
    if not train or not test:
        raise DatasetError(
            f"{place} does not hold GTSRB: it has {len(train)} training images, {len(test)} to test."
        )
    return train, test


def gtsrb_tracks(files: list[tuple[Path, int]]) -> np.ndarray:
    """For each image the number of its track: some 30 views of one sign as a car passes it, which must not
    lie in two parts (they are near-copies). A file is named CLASS/TRACK_VIEW.ppm.
    """
    names = [(label, file.name.partition("_")[0]) for file, label in files]
    number = {name: n for n, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], dtype=np.int64)


def every_tenth(images: np.ndarray, labels: np.ndarray) -> Arrays:
    """Split off each tenth image, in file order, for validation."""
    held = np.arange(len(labels)) % 10 == 9
    return {"train": (images[~held], labels[~held]), "validation": (images[held], labels[held])}


def shrink(images: np.ndarray, side: int) -> np.ndarray:
    """Average whole pixel blocks: [n, C, k·side, k·side] → [n, C, side, side], rounded."""
    n, c, h, _ = images.shape
    k = h // side
    blocks = images.reshape(n, c, side, k, side, k)
    out = np.empty((n, c, side, side), np.uint8)
    for i in range(0, n, 1000):  # the mean is taken in float64: keep that temporary small
        out[i : i + 1000] = np.rint(blocks[i : i + 1000].mean(axis=(3, 5)))
    return out


READERS: dict[str, Callable[[Path, DatasetInfo], Arrays]] = {
    "digits": _digits,
    "fashion-mnist": _fashion_mnist,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "imagenet16-120": _imagenet16,
    "stl10": _stl10,
    "gtsrb": _gtsrb,
}
