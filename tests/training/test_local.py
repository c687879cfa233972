"""Trainings in real worker processes: adopted, resumed, and every way to fail costs one job only."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nader.graph import base_design
from nader.training import Failed, FailureKind, Progress, Trained, TrainingJob, dataset_identity
from nader.training.files import RESULT
from nader.training.local import LocalBackend
from nader.training.process import worker_environment
from tests.training.jobs import job, run, train_here
from tests.training.test_datasets import write_image_folder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and limits are set as on Linux")


def test_a_finished_training_is_adopted_not_repeated(tmp_path: Path) -> None:
    async def twice() -> tuple[Trained | Failed, Trained | Failed, list[Progress]]:
        backend, told = LocalBackend(1, tensorboard=True), []
        first = await backend.train(job(), tmp_path / "a")
        second = await backend.train(job(), tmp_path / "a", told.append)
        await backend.close()
        return first, second, told

    first, second, told = run(twice())
    assert isinstance(first, Trained) and isinstance(second, Trained)
    assert not first.adopted and second.adopted and told == []
    assert second.model_copy(update={"adopted": False}) == first
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        ".lock", RESULT, "tensorboard", "weights.safetensors",
    ]  # fmt: skip


def test_a_workers_environment_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "MY_PASSWORD",
    ):
        monkeypatch.setenv(name, "secret")
    environment = worker_environment(1)
    assert "secret" not in environment.values()
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE" and environment["OMP_NUM_THREADS"] == "1"


Act = Callable[[LocalBackend, Progress], None]


def _signal(number: signal.Signals) -> Act:
    def act(backend: LocalBackend, progress: Progress) -> None:
        if progress.point is not None and progress.point.epoch == 1:
            os.kill(backend.worker_pids()[0], number)

    return act


def _small_files(backend: LocalBackend, progress: Progress) -> None:
    if progress.stage == "starting":
        resource.prlimit(backend.worker_pids()[0], resource.RLIMIT_FSIZE, (1000, 1000))


def _huge() -> str:
    """A design whose cell blows each map up to 2,000 by 2,000, near the verifier's limit: 64 MB an image."""
    text = base_design("resnet-basic").to_text()
    nodes = "0:input\n1:output\n2:repeat(1,1,250,250)\n3:ReLU\n4:AdaptiveAvgPool2d(output_size=(H,W))\n"
    cell = f"##Huge##\n{nodes}0->2->3->4->1\n"
    return cell + text[text.index("##ResNetBasic_stem") :]


def _hundred_gigabytes(folder: Path) -> TrainingJob:
    return job(design=_huge(), train_images=1000, batch=1000)


@dataclass
class Case:
    """A way to fail: the job, what is done to its worker, the kind it must get, and words of the message."""

    kind: FailureKind
    words: str
    work: Callable[[Path], TrainingJob] = field(default=lambda folder: job(epochs=200))
    act: Act = lambda backend, progress: None


def _vanished(folder: Path) -> TrainingJob:
    write_image_folder(folder / "images")
    work = job(dataset="image-folder-8", data_dir=str(folder / "images"), classes=3)
    _ = work.digest  # it was there when the campaign began
    (folder / "images").rename(folder / "moved")
    return work


def _changed(folder: Path) -> TrainingJob:
    """Its images are others than those that the result would be recorded for."""
    write_image_folder(folder / "other")
    work = job(
        dataset="image-folder-8",
        data_dir=str(folder / "other"),
        classes=3,
        data=dataset_identity("image-folder-8", folder / "other"),
    )
    shutil.copy(folder / "other" / "class0" / "0.png", folder / "other" / "class0" / "new.png")
    return work


CASES = {
    "killed": Case(FailureKind.HOST_OOM, "killed from outside", act=_signal(signal.SIGKILL)),
    "segfault": Case(FailureKind.SEGFAULT, "crashed with SIGSEGV", act=_signal(signal.SIGSEGV)),
    "nan": Case(FailureKind.NAN, "became NaN or infinite in epoch 1", work=lambda folder: job(lr=1e30)),
    "huge": Case(FailureKind.HOST_OOM, "memory", work=_hundred_gigabytes),
    "disk full": Case(FailureKind.DISK_FULL, "could not be written", act=_small_files),
    "data removed": Case(FailureKind.DATA_MISSING, "is not there", work=_vanished),
    "data changed": Case(FailureKind.DATA_CHANGED, "is not the one that was begun with", work=_changed),
    "wrong job": Case(FailureKind.PYTHON_ERROR, "classes", work=lambda folder: job(classes=7)),
}


def test_each_failure_costs_one_job_and_the_next_trains(tmp_path: Path) -> None:
    """One back end meets every failure in turn; after each it must train again."""

    async def scenario() -> dict[str, tuple[Trained | Failed, Trained | Failed]]:
        backend, outcomes = LocalBackend(1), {}
        for seed, (name, case) in enumerate(CASES.items()):
            act = case.act
            bad = await backend.train(
                case.work(tmp_path), tmp_path / name, lambda p, act=act: act(backend, p)
            )
            outcomes[name] = bad, await backend.train(job(epochs=1, seed=seed), tmp_path / f"after {name}")
        await backend.close()
        return outcomes

    for name, (bad, good) in run(scenario()).items():
        assert isinstance(bad, Failed), name
        assert (bad.kind, CASES[name].words in bad.message) == (CASES[name].kind, True), (name, bad)
        assert isinstance(good, Trained), (name, good)
        assert not (tmp_path / name / RESULT).exists()


def test_a_stopped_worker_is_found_and_killed(tmp_path: Path) -> None:
    async def scenario() -> tuple[Trained | Failed, Trained | Failed]:
        backend = LocalBackend(1, heartbeat_timeout=8)
        stop = _signal(signal.SIGSTOP)
        hung = await backend.train(job(epochs=200), tmp_path / "hung", lambda p: stop(backend, p))
        good = await backend.train(job(epochs=1), tmp_path / "good")
        await backend.close()
        return hung, good

    hung, good = run(scenario())
    assert isinstance(hung, Failed) and hung.kind is FailureKind.HANG
    assert "no sign of life for 8 s" in hung.message and len(hung.curve) >= 1
    assert isinstance(good, Trained)


def test_a_worker_that_dies_while_it_is_idle_costs_no_job(tmp_path: Path) -> None:
    async def scenario() -> Trained | Failed:
        backend = LocalBackend(1)
        await backend.train(job(epochs=1), tmp_path / "first")
        os.kill(backend.worker_pids()[0], signal.SIGKILL)
        second = await backend.train(job(epochs=1, seed=2), tmp_path / "second")
        await backend.close()
        return second

    assert isinstance(run(scenario()), Trained)


def test_a_training_over_its_time_limit_is_killed(tmp_path: Path) -> None:
    async def scenario() -> Trained | Failed:
        backend = LocalBackend(1, time_limit=0.5)
        outcome = await backend.train(job(epochs=5000), tmp_path)
        await backend.close()
        return outcome

    outcome = run(scenario())
    assert isinstance(outcome, Failed) and outcome.kind is FailureKind.TIME_OUT
    assert outcome.message == "The training took longer than its limit of 0.5 s.", (
        "as it was set, not rounded"
    )


def test_closing_checkpoints_what_runs_and_a_new_backend_goes_on_from_there(tmp_path: Path) -> None:
    work = job(epochs=40, checkpoint_every=40)

    async def interrupted() -> Trained | Failed:
        backend, third = LocalBackend(1), asyncio.Event()
        task = asyncio.create_task(
            backend.train(work, tmp_path / "a", lambda p: third.set() if p.epoch == 3 else None)
        )
        await third.wait()
        await backend.close()
        return await task

    async def resume() -> tuple[Trained | Failed, list[Progress]]:
        backend, told = LocalBackend(1), []
        outcome = await backend.train(work, tmp_path / "a", told.append)
        await backend.close()
        return outcome, told

    stopped = run(interrupted())
    assert isinstance(stopped, Failed) and stopped.kind is FailureKind.CANCELLED
    resumed, told = run(resume())
    assert told[0].resumed_from is not None and told[0].resumed_from >= 3
    assert isinstance(resumed, Trained)
    assert resumed.weights_sha256 == train_here(work, tmp_path / "b").weights_sha256


def test_a_hopeless_candidate_is_stopped_with_its_evidence(tmp_path: Path) -> None:
    async def scenario() -> tuple[Trained | Failed, Trained | Failed]:
        backend = LocalBackend(1)
        base = await backend.train(job(epochs=12), tmp_path / "base")
        assert isinstance(base, Trained)
        dead = job(epochs=12, lr=1e-9)
        outcome = await backend.train(dead, tmp_path / "dead", lambda p: None, baseline=base.curve)
        pids = backend.worker_pids()
        again = await backend.train(job(epochs=12, seed=1), tmp_path / "again", baseline=base.curve)
        assert backend.worker_pids() == pids, "an early stop must not cost the worker"
        await backend.close()
        return outcome, again

    outcome, again = run(scenario())
    assert isinstance(outcome, Failed) and outcome.kind is FailureKind.HOPELESS
    assert outcome.evidence is not None and outcome.evidence.epoch == len(outcome.curve) < 12
    assert isinstance(again, Trained)


def test_more_jobs_than_slots_wait_their_turn_and_give_what_one_process_gives(tmp_path: Path) -> None:
    works = [job(seed=seed) for seed in range(4)]

    async def scenario() -> tuple[list[Trained | Failed], set[int]]:
        backend, pids = LocalBackend(2), set()
        trainings = [
            backend.train(w, tmp_path / w.digest, lambda p: pids.update(backend.worker_pids())) for w in works
        ]
        outcomes = await asyncio.gather(*trainings)
        await backend.close()
        return outcomes, pids

    outcomes, pids = run(scenario())
    assert len(pids) == 2, "each worker serves many jobs"
    expected = [train_here(work, tmp_path / "here" / work.digest).weights_sha256 for work in works]
    assert [o.weights_sha256 for o in outcomes if isinstance(o, Trained)] == expected
