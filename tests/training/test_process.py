"""What a worker's end means, what the machine offers, and how exceptions become kinds."""

import errno
import signal
from pathlib import Path

import pytest
import torch

from nader.training import FailureKind, LocalBackend, TrainingError, make_slots, suggest_slots
from nader.training import slots as places
from nader.training.errors import (
    DataChangedError,
    DataMissingError,
    DiskFullError,
    NotFiniteError,
    StoppedError,
)
from nader.training.files import RESULT, only_writer
from nader.training.process import explain_exit, resident_bytes
from nader.training.results import failed, kind_of, read_result


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (-signal.SIGSEGV, FailureKind.SEGFAULT, "crashed with SIGSEGV in native code"),
        (-signal.SIGBUS, FailureKind.SEGFAULT, "crashed with SIGBUS"),
        (-signal.SIGABRT, FailureKind.SEGFAULT, "crashed with SIGABRT"),
        (-signal.SIGKILL, FailureKind.HOST_OOM, "killed from outside (SIGKILL)"),
        (-signal.SIGTERM, FailureKind.PYTHON_ERROR, "ended with signal SIGTERM"),
        (3, FailureKind.PYTHON_ERROR, "ended with exit status 3"),
    ],
)
def test_a_workers_exit_status_is_explained(code: int, kind: FailureKind, words: str) -> None:
    outcome = explain_exit(code, "the end of its error output")
    assert outcome.kind is kind and words in outcome.message
    assert outcome.detail == "the end of its error output"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), FailureKind.GPU_OOM),
        (RuntimeError("CUDA error: CUDA out of memory"), FailureKind.GPU_OOM),
        (MemoryError(), FailureKind.HOST_OOM),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
            FailureKind.HOST_OOM,
        ),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), FailureKind.HOST_OOM),
        (OSError(errno.ENOSPC, "No space left on device"), FailureKind.DISK_FULL),
        (DiskFullError("full"), FailureKind.DISK_FULL),
        (DataMissingError("gone"), FailureKind.DATA_MISSING),
        (DataChangedError("another"), FailureKind.DATA_CHANGED),
        (NotFiniteError("NaN"), FailureKind.NAN),
        (StoppedError("stop"), FailureKind.CANCELLED),
        (RuntimeError("shape mismatch"), FailureKind.PYTHON_ERROR),
    ],
)
def test_each_exception_has_its_kind(error: Exception, kind: FailureKind) -> None:
    assert kind_of(error) is kind


def test_an_unexpected_exception_keeps_its_type_and_the_end_of_its_traceback() -> None:
    try:
        raise KeyError("conv")
    except KeyError as error:
        outcome = failed(error)
    assert outcome.message == "KeyError: 'conv'" and "test_process.py" in outcome.detail


def test_what_the_worker_holds_is_read_from_the_system() -> None:
    import os

    assert resident_bytes(os.getpid()) > 1e6
    assert resident_bytes(2**22 + 1) == 0


def test_the_machine_offers_at_least_one_slot_and_no_more_than_its_cores() -> None:
    found = suggest_slots()
    assert len(found) >= 1 and [slot.index for slot in found] == list(range(len(found)))


def test_gpus_become_slots_shared_by_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "usable_gpus", lambda: 2)
    assert [slot.device for slot in suggest_slots(per_gpu=2)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]


def test_memory_bounds_the_slots_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "memory_bytes", lambda: places.BYTES_PER_CPU_SLOT // 2)
    assert places.cpu_slots() == 1


def test_a_backend_without_slots_is_refused() -> None:
    with pytest.raises(TrainingError, match="at least one slot"):
        LocalBackend(make_slots([]))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"job": "x", "outcome": {"status": "trained"}}'])
def test_a_result_file_that_is_torn_or_foreign_is_not_adopted(text: str, tmp_path: Path) -> None:
    (tmp_path / RESULT).write_text(text)
    assert read_result(tmp_path, "x") is None


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    with (
        only_writer(tmp_path),
        pytest.raises(TrainingError, match="Another process is training in"),
        only_writer(tmp_path, patience=0.1),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(TrainingError, match="cannot be written: Not a directory"),
        only_writer(tmp_path / "file" / "a"),
    ):
        pass
