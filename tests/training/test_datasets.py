"""Data sets: facts, splits and files; a sentence for every file that is missing or is not what it says."""

import gzip
import hashlib
import io
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nader.training import (
    DATASETS,
    DataMissingError,
    DatasetError,
    check_dataset,
    data_status,
    dataset_identity,
    dataset_info,
    download,
    formats,
    get_dataset,
    load_dataset,
)
from nader.training import datasets as catalogue
from nader.training.datasets import Part, balanced_subset
from nader.training.splits import SPLIT_DIGESTS, find_split, read_split
from tests.conftest import shared_data

SIZES = {
    "digits": (10, 1, 8, 1000, 397, 400),
    "fashion-mnist": (10, 1, 32, 50_000, 10_000, 10_000),
    "cifar10": (10, 3, 32, 25_000, 25_000, 10_000),
    "cifar10-full": (10, 3, 32, 50_000, 0, 10_000),
    "cifar100": (100, 3, 32, 50_000, 5_000, 5_000),
    "imagenet16-120": (120, 3, 16, 151_700, 3_000, 3_000),
    "gtsrb": (43, 3, 32, 24_000, 2_640, 12_630),
    "stl10": (10, 3, 32, 4_500, 500, 8_000),
}


@pytest.mark.parametrize(("name", "facts"), SIZES.items())
def test_each_data_set_has_its_published_facts(name: str, facts: tuple[int, ...]) -> None:
    info = dataset_info(name)
    assert (info.classes, info.channels, info.height, info.train, info.validation, info.test) == facts


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("cifar10", (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
        ("cifar100", (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
        ("imagenet16-120", (122.68, 116.66, 104.01), (63.22, 61.26, 65.09)),
    ],
)
def test_means_and_deviations_are_the_protocols(
    name: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    assert (DATASETS[name].mean, DATASETS[name].std) == (mean, std)


def test_digits_split_into_parts_that_share_no_image_and_never_change() -> None:
    data = load_dataset("digits")
    assert data.validation is not None and data.test is not None
    images = torch.cat([p.images for p in (data.train, data.validation, data.test)])
    assert len(images) == 1797
    assert hashlib.sha256(images.numpy().tobytes()).hexdigest()[:16] == "cd62839b202d01ee"
    for part in (data.train, data.validation, data.test):
        assert part.labels.bincount().min() > len(part) / 14


def test_digits_are_normalised_by_their_own_mean_and_deviation() -> None:
    data = load_dataset("digits")
    pixels = data.train.images.double()
    assert abs(pixels.mean() - data.info.mean[0]) < 1 and abs(pixels.std() - data.info.std[0]) < 1


def test_a_subset_takes_an_equal_share_of_each_class() -> None:
    train = load_dataset("digits").train
    subset = balanced_subset(train, 95, 10)
    assert sorted(subset.labels.bincount().tolist()) == [9] * 5 + [10] * 5
    assert torch.equal(subset.images, balanced_subset(train, 95, 10).images)


def test_a_subset_larger_than_the_part_is_the_part() -> None:
    part = Part(torch.zeros((3, 1, 8, 8), dtype=torch.uint8), torch.tensor([0, 0, 1]))
    assert len(balanced_subset(part, 10, 2)) == 3


@pytest.mark.parametrize(
    ("file", "parts"),
    [
        ("cifar-split.txt", {"train": 25_000, "valid": 25_000}),
        ("cifar100-test-split.txt", {"xvalid": 5_000, "xtest": 5_000}),
        ("imagenet-16-120-test-split.txt", {"xvalid": 3_000, "xtest": 3_000}),
    ],
)
def test_the_published_splits_cut_their_set_into_two_halves(file: str, parts: dict[str, int]) -> None:
    split = read_split(find_split(file, shared_data("data/nas-bench-201")))
    assert {name: len(index) for name, index in split.items()} == parts
    joined = np.sort(np.concatenate(list(split.values())))
    assert np.array_equal(joined, np.arange(sum(parts.values())))


def test_a_split_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cifar-split.txt").write_text('{"train": ["int", ["1"]], "valid": ["int", ["0"]]}')
    with pytest.raises(DatasetError, match="SHA-256 is"):
        read_split(find_split("cifar-split.txt", tmp_path))


def test_the_split_is_part_of_the_identity() -> None:
    assert SPLIT_DIGESTS["cifar-split.txt"] in dataset_identity("cifar10")
    by_name = [name for name in DATASETS if not name.startswith("gtsrb")]  # which its files identify
    assert len({dataset_identity(name) for name in by_name}) == len(by_name)


def test_an_unknown_data_set_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(DatasetError, match=r"There is no data set 'cifar-10'; did you mean .cifar10.\?"):
        dataset_info("cifar-10")


@pytest.mark.parametrize("name", [n for n in DATASETS if not n.startswith("digits")])
def test_a_missing_data_set_is_told_with_the_place_and_the_remedy(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "DEBIAN_FASHION_MNIST", tmp_path / "not installed")
    with pytest.raises(DataMissingError) as caught:
        load_dataset(name, tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message and "\n" not in message
    assert "data_dir" in message or "nader data get" in message
    assert data_status(name, tmp_path).ready is False


def test_digits_are_always_ready() -> None:
    assert data_status("digits").ready is True


def test_imagenet16_cannot_be_downloaded_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match=r"fetch ImageNet16 by hand"):
        get_dataset("imagenet16-120", tmp_path)


def test_a_download_that_fails_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(base: str, folder: Path) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(download, "_fetch_images", no_network)
    monkeypatch.setattr(catalogue, "DEBIAN_FASHION_MNIST", tmp_path / "not installed")
    with pytest.raises(
        DataMissingError, match=r"Network is unreachable\. Without a network, copy the files there by hand"
    ):
        get_dataset("fashion-mnist", tmp_path)


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("true",))


def test_a_pickle_that_asks_for_anything_but_arrays_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"asks for (posix|os)\.system"):
        formats.unpickle_arrays(pickle.dumps({"data": _Evil()}))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_of_arrays_is_read(protocol: int) -> None:
    raw = pickle.dumps({b"data": np.arange(6, dtype=np.uint8), b"labels": [1, 2]}, protocol)
    value = formats.unpickle_arrays(raw)
    assert value["data"].tolist() == list(range(6)) and value["labels"] == [1, 2]


@pytest.mark.parametrize("raw", [b"", b"not a pickle", pickle.dumps([1]), pickle.dumps({"a": 1})[:-3]])
def test_what_is_no_pickle_of_arrays_is_told_so(raw: bytes) -> None:
    with pytest.raises(DatasetError, match="pickle"):
        formats.unpickle_arrays(raw)


def _fake_imagenet16(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files of the real format: 1-based labels up to 1000, of which 120 are kept."""
    place, digests = folder / "ImageNet16", {}
    place.mkdir()
    for number, file in enumerate(formats.FILES["imagenet16-120"]):
        labels = [1, 120, 121, 1000] if file != "val_data" else [1, 60, 120, 119, 500]
        batch = {"data": np.full((len(labels), 768), number, np.uint8), "labels": labels}
        raw = pickle.dumps(batch)
        (place / file).write_bytes(raw)
        digests[file] = hashlib.md5(raw).hexdigest()
    monkeypatch.setitem(formats.FILES, "imagenet16-120", digests)
    monkeypatch.setattr(formats, "find_split", lambda name, folder: folder / name)
    monkeypatch.setattr(
        formats, "read_split", lambda path: {"xvalid": np.array([0, 3]), "xtest": np.array([1, 2])}
    )


def test_imagenet16_keeps_its_first_120_classes_counted_from_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake_imagenet16(tmp_path, monkeypatch)
    arrays = formats.READERS["imagenet16-120"](tmp_path, DATASETS["imagenet16-120"])
    assert arrays["train"][1].tolist() == [0, 119] * 10
    assert arrays["validation"][1].tolist() == [0, 118] and arrays["test"][1].tolist() == [59, 119]
    assert arrays["train"][0].shape == (20, 3, 16, 16)


def test_a_damaged_file_is_named_with_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_imagenet16(tmp_path, monkeypatch)
    (tmp_path / "ImageNet16" / "val_data").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"val_data is damaged or another file: its MD5 is"):
        formats.READERS["imagenet16-120"](tmp_path, DATASETS["imagenet16-120"])


def test_idx_files_are_read_and_others_refused() -> None:
    header = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3])
    assert formats.read_idx(header + bytes(range(6))).tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(DatasetError, match="not an IDX file"):
        formats.read_idx(b"\0\0\x0d\1aaaa")


def test_a_folder_that_is_named_is_the_only_one_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's files stand in for a default folder, not for the one the user says."""
    monkeypatch.setattr(catalogue, "DEBIAN_FASHION_MNIST", tmp_path)
    assert catalogue.folder_of("fashion-mnist", tmp_path / "mine") == tmp_path / "mine"
    monkeypatch.setenv("NADER_DATA", str(tmp_path / "default"))
    assert catalogue.folder_of("fashion-mnist", None) == tmp_path


def test_fashion_mnist_is_read_from_debians_package(monkeypatch: pytest.MonkeyPatch) -> None:
    if not catalogue.DEBIAN_FASHION_MNIST.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    monkeypatch.setenv("NADER_DATA", "/nowhere")
    data = check_dataset("fashion-mnist", None)
    assert data.validation is not None
    assert data.train.labels.bincount().min() > 4900 and len(data.validation) == 10_000
    assert data.train.images[:, :, :2].max() == 0


def test_a_gzip_file_cut_short_is_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"abc")[:-6])
    with pytest.raises(DatasetError, match="is damaged"):
        formats.read_checked(tmp_path / "train-images-idx3-ubyte.gz", "0")


def test_stl10_images_shrink_by_whole_blocks() -> None:
    images = np.arange(96 * 96, dtype=np.int64).reshape(1, 1, 96, 96) % 256
    small = formats.shrink(images.astype(np.uint8), 32)
    assert small.shape == (1, 1, 32, 32)
    assert small[0, 0, 0, 0] == round(images[0, 0, :3, :3].mean())


def write_image_folder(root: Path, classes: int = 3, each: int = 10) -> None:
    """A folder of small images, each class of its own colour."""
    for number in range(classes):
        place = root / f"class{number}"
        place.mkdir(parents=True)
        for i in range(each):
            buffer = io.BytesIO()
            Image.new("RGB", (20, 30), (80 * number, 7 * i, 0)).save(buffer, "PNG")
            (place / f"{i}.png").write_bytes(buffer.getvalue())


def test_a_folder_of_images_is_split_resized_and_identified(tmp_path: Path) -> None:
    write_image_folder(tmp_path)
    data = check_dataset("image-folder-16", tmp_path)
    assert data.info.image == (3, 16, 16) and data.info.classes == 3
    assert (data.info.train, data.info.validation, data.info.test) == (24, 3, 3)
    before = dataset_identity("image-folder-16", tmp_path)
    (tmp_path / "class0" / "0.png").unlink()
    assert dataset_identity("image-folder-16", tmp_path) != before


def test_an_image_of_the_same_size_but_other_contents_is_another_data_set(tmp_path: Path) -> None:
    write_image_folder(tmp_path)
    before, file = dataset_identity("image-folder-16", tmp_path), tmp_path / "class0" / "0.png"
    raw, facts = bytearray(file.read_bytes()), file.stat()
    raw[-20] ^= 1
    file.write_bytes(raw)
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert dataset_identity("image-folder-16", tmp_path) != before
    raw[-20] ^= 1
    file.write_bytes(raw)
    assert dataset_identity("image-folder-16", tmp_path) == before


def test_a_copy_of_an_image_folder_elsewhere_is_the_same_data_set(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert dataset_identity("image-folder", tmp_path / "a") == dataset_identity(
        "image-folder", tmp_path / "b"
    )


def test_an_image_whose_name_is_not_utf8_is_read(tmp_path: Path) -> None:
    write_image_folder(tmp_path)
    (tmp_path / "class0" / "0.png").rename(tmp_path / "class0" / os.fsdecode(b"\xff.png"))
    assert len(load_dataset("image-folder-16", tmp_path).train) == 24
    assert dataset_identity("image-folder-16", tmp_path)


def test_a_folder_with_parts_keeps_them(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "train", each=4)
    write_image_folder(tmp_path / "validation", each=2)
    info = dataset_info("image-folder", tmp_path)
    assert (info.train, info.validation, info.test) == (12, 6, 0)
    assert load_dataset("image-folder", tmp_path).test is None


def test_a_folder_that_holds_no_classes_or_no_images_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match="is not there"):
        dataset_info("image-folder", tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="at least two classes; it holds 0"):
        dataset_info("image-folder", tmp_path)
    write_image_folder(tmp_path)
    (tmp_path / "class1" / "broken.png").write_text("no image")
    with pytest.raises(DatasetError, match=r"broken\.png cannot be read as an image"):
        load_dataset("image-folder", tmp_path)
    with pytest.raises(DatasetError, match="multiple of 4"):
        dataset_info("image-folder-30", tmp_path)
