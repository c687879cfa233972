"""One training: reproducible, resumable at any step, and honest about what went wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nader.training import (
    NotFiniteError,
    Progress,
    StoppedError,
    Trained,
    TrainingJob,
    dataset_identity,
    load_dataset,
)
from nader.training.errors import DiskFullError
from nader.training.files import CHECKPOINT, WEIGHTS, write_atomic
from nader.training.loop import Training
from tests.training.jobs import DROP_PATH, job

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def train(work: TrainingJob, folder: Path, stop_at: set[int] | None = None) -> Trained:
    """Train to the end, stopping and starting again at the given step numbers."""
    done = 0

    def stopped() -> bool:
        nonlocal done
        done += 1
        return done in (stop_at or set())

    data = load_dataset(work.dataset, work.data_dir)
    while True:
        try:
            return Training(work, data, folder, CPU).run(stopped=stopped)
        except StoppedError:
            continue


def without_time(result: Trained) -> dict[str, object]:
    """Everything of a result but what the clock and the machine say."""
    values = result.model_dump(exclude={"seconds", "latency_ms", "peak_memory_bytes"})
    for point in values["curve"]:
        point.pop("seconds")
    return values


def test_the_same_job_gives_the_same_bits(tmp_path: Path) -> None:
    work = job("convnext")
    first, second = train(work, tmp_path / "a"), train(work, tmp_path / "b")
    assert without_time(first) == without_time(second)
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


def test_training_does_not_import_the_compiler(tmp_path: Path) -> None:
    """It would cost every worker a second and 150 MB before its first step."""
    script = (
        "import sys; from pathlib import Path; from tests.training.jobs import job, train_here\n"
        f"train_here(job(epochs=1), Path({str(tmp_path)!r}))\n"
        "print([name for name in ('torch._dynamo', 'torch._inductor', 'sympy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_another_seed_gives_other_bits(tmp_path: Path) -> None:
    first, second = train(job(), tmp_path / "a"), train(job(seed=888), tmp_path / "b")
    assert first.weights_sha256 != second.weights_sha256


@pytest.mark.parametrize("stops", [{1}, {2, 3}, {5}, {4, 6, 7, 9}])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_interrupted_at_any_step_ends_bit_equal(
    stops: set[int], precision: str, tmp_path: Path
) -> None:
    work = job("se-resnet", precision=precision, channels_last=precision == "bf16")
    whole, pieces = train(work, tmp_path / "whole"), train(work, tmp_path / "pieces", stops)
    assert without_time(whole) == without_time(pieces)


@pytest.mark.parametrize("stops", [{1}, {2, 4, 5}])
def test_a_network_that_draws_by_chance_goes_on_with_the_draws_it_would_have_had(
    stops: set[int], tmp_path: Path
) -> None:
    work = job(design=DROP_PATH)
    whole, pieces = train(work, tmp_path / "whole"), train(work, tmp_path / "pieces", stops)
    assert without_time(whole) == without_time(pieces)


def test_what_the_result_says_is_what_was_measured(tmp_path: Path) -> None:
    work = job()
    result = train(work, tmp_path)
    assert result.epochs_run == 3 and [p.epoch for p in result.curve] == [1, 2, 3]
    assert result.validation == result.curve[-1].validation
    assert 0 <= result.test <= 1 if result.test is not None else False
    weights = load_file(tmp_path / WEIGHTS)
    trainable = sum(t.numel() for n, t in weights.items() if "running" not in n and "num_batches" not in n)
    assert result.params == trainable and result.macs > 0
    assert result.latency_ms > 0 and result.peak_memory_bytes > 1e6 and result.deterministic is True


def test_progress_is_told_for_each_epoch_and_grows(tmp_path: Path) -> None:
    work, told = job(), []
    Training(work, load_dataset("digits"), tmp_path, CPU).run(told.append)
    assert all(isinstance(p, Progress) for p in told)
    assert [p.point.epoch for p in told if p.point] == [1, 2, 3]
    fractions = [p.fraction for p in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1


@pytest.mark.parametrize("damage", [b"", b"torn", b"\xff" * 100])
def test_a_damaged_checkpoint_is_not_used(damage: bytes, tmp_path: Path) -> None:
    work = job()
    whole = train(work, tmp_path / "whole")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / CHECKPOINT).write_bytes(damage)
    assert without_time(train(work, tmp_path / "torn")) == without_time(whole)


def test_a_checkpoint_of_another_job_is_not_used(tmp_path: Path) -> None:
    data = load_dataset("digits")
    with pytest.raises(StoppedError):
        Training(job(seed=1), data, tmp_path, CPU).run(stopped=lambda: True)
    assert (tmp_path / CHECKPOINT).exists()
    assert Training(job(seed=2), data, tmp_path, CPU).resumed_from is None
    assert Training(job(seed=1), data, tmp_path, CPU).resumed_from == 0


def test_a_loss_that_is_not_finite_ends_the_training_with_its_epoch(tmp_path: Path) -> None:
    work = job(lr=1e30)
    with pytest.raises(NotFiniteError, match=r"became NaN or infinite in epoch 1 of 3, by step"):
        train(work, tmp_path)


def test_validation_is_measured_when_the_recipe_says_and_at_the_end(tmp_path: Path) -> None:
    result = train(job(epochs=5, evaluate_every=2), tmp_path)
    assert [p.validation is not None for p in result.curve] == [False, True, False, True, True]


def test_how_often_it_is_evaluated_changes_no_weight(tmp_path: Path) -> None:
    often, seldom = train(job(), tmp_path / "a"), train(job(evaluate_every=3), tmp_path / "b")
    assert often.weights_sha256 == seldom.weights_sha256


def test_a_data_set_without_validation_gives_none(tmp_path: Path) -> None:
    from tests.training.test_datasets import write_image_folder

    write_image_folder(tmp_path / "images" / "train", each=20)
    work = job(dataset="image-folder-8", data_dir=str(tmp_path / "images"), classes=3)
    result = train(work, tmp_path / "run")
    assert result.validation is None and result.test is None


def test_the_wrong_number_of_classes_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="The job says 7 classes, but digits has 10"):
        train(job(classes=7), tmp_path)


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomic(tmp_path / "file", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match="No space left on device"):
        write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_jobs_with_one_identity_share_a_digest_and_others_do_not() -> None:
    work = job()
    same = [{"data_dir": "/elsewhere"}, {"threads": 2}, {"device": "cuda:0"}]
    same.append({"data": dataset_identity("digits")})
    other = [
        {"seed": 1},
        {"width": 8},
        {"data": "another"},
        {"recipe": work.recipe.model_copy(update={"lr": 0.2})},
    ]
    assert {work.model_copy(update=change).digest for change in same} == {work.digest}
    assert len({work.model_copy(update=change).digest for change in other} | {work.digest}) == 5


def test_the_same_design_written_otherwise_is_the_same_job() -> None:
    work = job()
    assert (
        work.model_copy(update={"design": work.design.replace("ResNetBasic", "Renamed")}).digest
        == work.digest
    )


def test_a_job_survives_json() -> None:
    work = job()
    assert TrainingJob(**json.loads(work.model_dump_json())) == work
