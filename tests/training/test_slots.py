"""What a slot gives its training: a share of the memory, threads, a name. A start that fails is explained."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import nader.training.slots as places
from nader.assembly import slots_of, watched
from nader.settings import load_settings
from nader.training import Failed, FailureKind, Progress, Trained
from nader.training.local import LocalBackend
from nader.training.process import explain_exit, explain_start
from nader.training.slots import suggest_slots
from tests.training.jobs import job, run


def test_each_workers_limit_is_its_share_of_the_machine_where_the_settings_allow_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "memory_bytes", lambda: 8 * 10**9)
    training = load_settings(sets=["training.slots=2", "training.device=cpu"]).training
    assert training.memory_gb == 8
    assert LocalBackend(slots_of(training), **watched(training)).memory_limit == 3_600_000_000
    small = training.model_copy(update={"memory_gb": 2.0})
    assert LocalBackend(slots_of(small), **watched(small)).memory_limit == 2_000_000_000
    assert LocalBackend(1).memory_limit == 7_200_000_000


def test_the_settings_say_how_a_worker_is_watched() -> None:
    sets = ["training.step_timeout_s=30", "training.heartbeat_s=7", "training.time_limit_s=99"]
    training = load_settings(sets=[*sets, "training.threads=2"]).training
    wanted = {"step_timeout": 30, "heartbeat_timeout": 7, "time_limit": 99, "threads": 2}
    assert wanted.items() <= watched(training).items()


def test_slots_of_several_threads_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "usable_gpus", lambda: 0)
    monkeypatch.setattr(places, "cpu_slots", lambda: 8)
    assert [len(suggest_slots(threads=n)) for n in (1, 3, 8, 20)] == [8, 2, 1, 1]


def test_the_slots_that_are_suggested_have_memory_enough_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places.os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    monkeypatch.setattr(places, "_quota", lambda: 64)
    monkeypatch.setattr(places, "memory_bytes", lambda: 64 * places.BYTES_PER_CPU_SLOT)
    assert places.cpu_slots() == 57
    assert places.share_of_memory(57) >= places.BYTES_PER_CPU_SLOT


def test_a_share_of_a_gpu_a_slot_trains_several_networks_on_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "usable_gpus", lambda: 2)
    training = load_settings(sets=["training.gpus_per_slot=0.3"]).training
    assert [slot.device for slot in slots_of(training)] == ["cuda:0", "cuda:1"] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is set as on Linux")
def test_a_limit_too_small_to_load_torch_is_told_as_want_of_memory(tmp_path: Path) -> None:
    async def scenario() -> Trained | Failed:
        backend = LocalBackend(1, memory_limit=50_000_000)
        outcome = await backend.train(job(epochs=1), tmp_path)
        await backend.close()
        return outcome

    outcome = run(scenario())
    assert isinstance(outcome, Failed) and outcome.kind is FailureKind.HOST_OOM
    assert "memory limit of 0.05 GB" in outcome.message and "raise training.memory_gb" in outcome.message


def test_a_worker_that_ends_before_it_is_ready_says_its_last_words() -> None:
    told = explain_start(explain_exit(1, "Traceback\n  File\nImportError: no torch here."), None)
    assert told.kind is FailureKind.PYTHON_ERROR
    assert told.message.endswith("It had not begun to train. Its last words: ImportError: no torch here.")


def test_a_training_says_its_slot_and_has_the_slots_threads(tmp_path: Path) -> None:
    told: list[Progress] = []

    async def scenario() -> Trained | Failed:
        backend = LocalBackend(1, threads=2)
        outcome = await backend.train(job(epochs=1), tmp_path, told.append)
        await backend.close()
        return outcome

    outcome = run(scenario())
    assert isinstance(outcome, Trained) and outcome.device == "cpu, 2 threads"
    assert [p.slot for p in told if p.stage == "starting"] == ["slot 0 (cpu)"]
