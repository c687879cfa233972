"""The readers of the published formats, on small files made as their publishers describe them.

The images differ in every pixel, so that a transposed axis, a shifted column or a swapped part shows.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d

from nader.training import (
    DATASETS,
    DataMissingError,
    DatasetError,
    data_status,
    dataset_identity,
    datasets,
    download,
    formats,
    get_dataset,
)
from nader.training.splits import find_split, read_split
from tests.conftest import shared_data


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Images with no symmetry and no zero pixel."""
    return np.random.default_rng(seed).integers(1, 256, shape, dtype=np.uint8)


def publish(base: str, place: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Put files where a data set's lie, as if these were the published ones."""
    place.mkdir(parents=True)
    digests = {}
    for name, raw in files.items():
        (place / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        digests[name] = hashlib.md5(raw).hexdigest()
    monkeypatch.setitem(formats.FILES, base, digests)


def split_into(parts: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A small split in place of the published one."""
    monkeypatch.setattr(formats, "find_split", lambda name, folder: folder / name)
    monkeypatch.setattr(formats, "read_split", lambda path: {k: np.array(v) for k, v in parts.items()})


def cifar_batch(images: np.ndarray, **labels: list[int]) -> bytes:
    """Rows of 3,072 bytes: 1,024 of red, then green, then blue, each row of the image after the other."""
    rows = np.concatenate([images[..., channel].reshape(len(images), -1) for channel in range(3)], axis=1)
    return pickle.dumps({b"data": rows, **{k.encode(): v for k, v in labels.items()}}, 2)


def test_cifar10_is_the_train_batches_halved_and_the_test_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = noise(12, 32, 32, 3), [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 8, 7]
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    files = {
        name: cifar_batch(images[2 * n : 2 * n + 2], labels=labels[2 * n : 2 * n + 2])
        for n, name in enumerate(names)
    }
    publish("cifar10", tmp_path / "cifar-10-batches-py", files, monkeypatch)
    split_into({"train": [0, 3, 4, 9], "valid": [1, 2, 8]}, monkeypatch)
    arrays = formats.READERS["cifar10"](tmp_path, DATASETS["cifar10"])
    for part, index in (("train", [0, 3, 4, 9]), ("validation", [1, 2, 8]), ("test", [10, 11])):
        assert np.array_equal(arrays[part][0], images[index].transpose(0, 3, 1, 2)), part
        assert arrays[part][1].tolist() == [labels[i] for i in index], part


def test_cifar10s_halves_are_those_of_the_published_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With images of one pixel, and each image's number in place of its class."""
    split = read_split(find_split("cifar-split.txt", shared_data("data/nas-bench-201")))
    (tmp_path / "cifar-split.txt").write_bytes(
        find_split("cifar-split.txt", shared_data("data/nas-bench-201")).read_bytes()
    )
    files = {}
    for batch in range(5):
        numbers = list(range(10_000 * batch, 10_000 * (batch + 1)))
        data = np.array(numbers)[:, None].astype(np.uint8)
        files[f"data_batch_{batch + 1}"] = pickle.dumps({b"data": data, b"labels": numbers}, 2)
    files["test_batch"] = pickle.dumps({b"data": np.zeros((1, 1), np.uint8), b"labels": [0]}, 2)
    publish("cifar10", tmp_path / "cifar-10-batches-py", files, monkeypatch)
    pixel = replace(DATASETS["cifar10"], channels=1, height=1, width=1)
    arrays = formats.READERS["cifar10"](tmp_path, pixel)
    assert np.array_equal(arrays["train"][1], split["train"])
    assert np.array_equal(arrays["validation"][1], split["valid"])


def test_cifar100_has_fine_labels_and_the_test_set_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test, fine = noise(4, 32, 32, 3), noise(5, 32, 32, 3, seed=1), [99, 0, 17, 42, 63]
    coarse = [1, 2, 3, 4, 5]
    files = {
        "train": cifar_batch(train, fine_labels=fine[:4], coarse_labels=coarse[:4]),
        "test": cifar_batch(test, coarse_labels=coarse, fine_labels=fine),
    }
    publish("cifar100", tmp_path / "cifar-100-python", files, monkeypatch)
    split_into({"xvalid": [4, 0], "xtest": [1, 2, 3]}, monkeypatch)
    arrays = formats.READERS["cifar100"](tmp_path, DATASETS["cifar100"])
    assert np.array_equal(arrays["train"][0], train.transpose(0, 3, 1, 2))
    assert arrays["train"][1].tolist() == fine[:4]
    for part, index in (("validation", [4, 0]), ("test", [1, 2, 3])):
        assert np.array_equal(arrays[part][0], test[index].transpose(0, 3, 1, 2)), part
        assert arrays[part][1].tolist() == [fine[i] for i in index], part


def test_stl10_is_read_column_by_column_and_counted_from_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, images, labels = {}, {}, {}
    for seed, (part, count) in enumerate((("train", 21), ("test", 3))):
        images[part] = noise(count, 3, 96, 96, seed=seed)
        labels[part] = np.arange(count) % 10
        files[f"{part}_X.bin"] = b"".join(
            image[channel][:, column].tobytes()
            for image in images[part]
            for channel in range(3)
            for column in range(96)
        )
        files[f"{part}_y.bin"] = (labels[part] + 1).astype(np.uint8).tobytes()
    publish("stl10", tmp_path / "stl10_binary", files, monkeypatch)
    arrays = formats.READERS["stl10"](tmp_path, DATASETS["stl10"])
    held = [9, 19]
    kept = [i for i in range(21) if i not in held]
    for part, name, index in (
        ("train", "train", kept), ("validation", "train", held), ("test", "test", [0, 1, 2])
    ):  # fmt: skip
        small = avg_pool2d(torch.from_numpy(images[name][index]).double(), 3).round().to(torch.uint8)
        assert np.array_equal(arrays[part][0], small.numpy()), part
        assert np.array_equal(arrays[part][1], labels[name][index]), part


def test_fashion_mnist_stands_in_the_middle_of_its_frame_and_its_last_images_validate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = noise(7, 28, 28), noise(3, 28, 28, seed=1)
    labels = {"train": bytes([5, 0, 9, 1, 2, 3, 4]), "t10k": bytes([7, 8, 6])}
    files = {}
    for name, images in (("train", train), ("t10k", test)):
        header = b"\0\0\x08\x03" + struct.pack(">3i", *images.shape)
        files[f"{name}-images-idx3-ubyte.gz"] = header + images.tobytes()
        files[f"{name}-labels-idx1-ubyte.gz"] = (
            b"\0\0\x08\x01" + struct.pack(">i", len(images)) + labels[name]
        )
    publish("fashion-mnist", tmp_path / "FashionMNIST/raw", files, monkeypatch)
    arrays = formats.READERS["fashion-mnist"](tmp_path, replace(DATASETS["fashion-mnist"], train=5))
    for part, images, told in (
        ("train", train[:5], labels["train"][:5]),
        ("validation", train[5:], labels["train"][5:]),
        ("test", test, labels["t10k"]),
    ):
        framed = np.zeros((len(images), 1, 32, 32), np.uint8)
        framed[:, 0, 2:30, 2:30] = images
        assert np.array_equal(arrays[part][0], framed), part
        assert arrays[part][1].tolist() == list(told), part


def write_gtsrb(root: Path) -> None:
    """As torchvision's archives unpack: 12 tracks of 3 views in two classes, and two test images."""
    for track in range(12):
        label = track % 2
        place = root / f"gtsrb/GTSRB/Training/{label:05d}"
        place.mkdir(parents=True, exist_ok=True)
        for view in range(3):
            # Views of one track are alike; their sizes differ, as those of real ones do.
            image = np.full((20 + view, 30, 3), 10 * track, np.uint8)
            Image.fromarray(image).save(place / f"{track // 2:05d}_{view:05d}.ppm")
    place = root / "gtsrb/GTSRB/Final_Test/Images"
    place.mkdir(parents=True)
    for number in range(2):
        Image.fromarray(noise(32, 32, 3, seed=number)).save(place / f"{number:05d}.ppm")
    (root / "gtsrb/GT-final_test.csv").write_text(
        "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
        "00001.ppm;32;32;1;1;2;2;0\n00000.ppm;32;32;1;1;2;2;1\n"
    )


def test_gtsrb_is_usable_after_its_own_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_fetch_images", lambda base, folder: write_gtsrb(folder))
    assert data_status("gtsrb", tmp_path).ready is False
    assert get_dataset("gtsrb", tmp_path) == tmp_path
    assert data_status("gtsrb", tmp_path).ready is True


@pytest.mark.parametrize("moved", ["", "gtsrb", "GTSRB"])
def test_gtsrb_is_found_wherever_it_was_unpacked(moved: str, tmp_path: Path) -> None:
    """In the data folder, in the folder that is named; with the list beside the images or among them."""
    write_gtsrb(tmp_path)
    folder = tmp_path / "gtsrb" if moved else tmp_path
    if moved == "GTSRB":
        folder = tmp_path / "gtsrb/GTSRB"
        (tmp_path / "gtsrb/GT-final_test.csv").rename(folder / "GT-final_test.csv")
    assert len(formats.gtsrb_files(folder)[1]) == 2


def test_gtsrb_is_what_torchvision_reads(tmp_path: Path) -> None:
    from torchvision.datasets import GTSRB

    write_gtsrb(tmp_path)
    ours = dict(zip(("train", "test"), formats.gtsrb_files(tmp_path), strict=True))
    for part, files in ours.items():
        theirs = GTSRB(str(tmp_path), part)
        assert sorted((str(f), c) for f, c in files) == sorted((str(f), c) for f, c in theirs._samples)
    arrays = formats.READERS["gtsrb"](tmp_path, DATASETS["gtsrb"])
    assert arrays["test"][1].tolist() == [0, 1]
    assert np.array_equal(
        arrays["test"][0], np.stack([noise(32, 32, 3, seed=s) for s in (1, 0)]).transpose(0, 3, 1, 2)
    )


def test_no_track_of_gtsrb_lies_in_two_parts(tmp_path: Path) -> None:
    write_gtsrb(tmp_path)
    arrays = formats.READERS["gtsrb"](tmp_path, DATASETS["gtsrb"])
    seen = {part: set(arrays[part][0][:, 0, 0, 0].tolist()) for part in ("train", "validation")}
    assert len(arrays["train"][0]) == 33 and len(arrays["validation"][0]) == 3
    assert not seen["train"] & seen["validation"]
    assert arrays["validation"][1].tolist() == [1, 1, 1]


def test_gtsrbs_files_are_part_of_its_identity(tmp_path: Path) -> None:
    write_gtsrb(tmp_path)
    before = {dataset_identity(name, tmp_path) for name in ("gtsrb", "gtsrb-full")}
    assert len(before) == 2
    Image.fromarray(noise(32, 32, 3, seed=9)).save(tmp_path / "gtsrb/GTSRB/Final_Test/Images/00000.ppm")
    assert dataset_identity("gtsrb", tmp_path) not in before
    with pytest.raises(DataMissingError):
        dataset_identity("gtsrb", tmp_path / "elsewhere")


@pytest.mark.parametrize(
    "text",
    ["", "Filename;ClassId\n00000.ppm;stop\n", "Filename,ClassId\n00000.ppm,1\n", "Filename;ClassId\n\xff"],
)
def test_a_list_of_gtsrbs_test_images_that_does_not_read_is_told_so(text: str, tmp_path: Path) -> None:
    write_gtsrb(tmp_path)
    (tmp_path / "gtsrb/GT-final_test.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DatasetError, match="does not hold GTSRB"):
        formats.gtsrb_files(tmp_path)


def test_the_joined_parts_are_both_and_the_test_part_stays(tmp_path: Path) -> None:
    write_gtsrb(tmp_path)
    halves = formats.READERS["gtsrb"](tmp_path, DATASETS["gtsrb"])
    joined = datasets._reader("gtsrb-full")(tmp_path, DATASETS["gtsrb-full"])
    assert set(joined) == {"train", "test"}
    for n in range(2):
        both = np.concatenate([halves["train"][n], halves["validation"][n]])
        assert np.array_equal(joined["train"][n], both)
        assert np.array_equal(joined["test"][n], halves["test"][n])
