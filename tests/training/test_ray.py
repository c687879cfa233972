"""Ray: the same results as local slots, and a lost worker costs a retry."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra `ray` is not installed")

from nader.training import Failed, FailureKind, Progress, Trained, TrainingError
from nader.training.ray_backend import RayBackend
from tests.training.jobs import job, run, train_here


def test_no_cluster_at_an_address_is_told_in_a_sentence() -> None:
    with pytest.raises(TrainingError, match=r"No Ray cluster answers at 127\.0\.0\.1:9:"):
        RayBackend(1, address="127.0.0.1:9")


def test_two_ray_workers_give_the_results_of_one_process_and_a_killed_one_costs_a_retry(
    tmp_path: Path,
) -> None:
    works = [job(seed=seed) for seed in range(3)]
    long = job(epochs=30, seed=9)
    killed: list[int] = []
    told: list[Progress] = []

    async def scenario() -> tuple[list[Trained | Failed], Trained | Failed, Trained | Failed]:
        backend = RayBackend(2)
        assert backend.slots == 2
        results = await asyncio.gather(*(backend.train(w, tmp_path / w.digest) for w in works))
        (actor, _), *_ = await backend.node_pids()

        def kill_once(progress: Progress) -> None:
            told.append(progress)
            if progress.epoch == 4 and not killed:
                killed.append(actor)
                os.kill(actor, signal.SIGKILL)

        retried = await backend.train(long, tmp_path / "long", kill_once)
        wrong = await backend.train(job(lr=1e30), tmp_path / "nan")
        await backend.close()
        return results, retried, wrong

    results, retried, wrong = run(scenario())
    expected = [train_here(work, tmp_path / "here" / work.digest).weights_sha256 for work in works]
    assert [o.weights_sha256 for o in results if isinstance(o, Trained)] == expected
    assert killed and isinstance(retried, Trained)
    assert retried.weights_sha256 == train_here(long, tmp_path / "here" / "long").weights_sha256
    assert [p.resumed_from for p in told if p.stage == "starting"][1] is not None, (
        "it went on from its checkpoint"
    )
    assert isinstance(wrong, Failed) and wrong.kind is FailureKind.NAN
