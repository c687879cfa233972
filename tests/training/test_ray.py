"""Ray: the same results as local slots, and a lost worker costs a retry."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra `ray` is not installed")

from nader.training import Failed, FailureKind, Progress, Trained, TrainingError
from nader.training.ray_backend import Node, RayBackend, _offer_token, slots_on
from tests.training.jobs import job, run, train_here


@pytest.mark.parametrize(
    ("node", "slot", "fit"),
    [
        ((8, 0), (1, 0), 8),
        ((8, 0), (3, 0), 2),
        ((0.5, 0), (1, 0), 0),
        ((8, 2), (1, 1), 2),
        ((8, 2), (1, 0.5), 4),
        ((8, 2), (1, 0.4), 4),
        ((3, 2), (1, 0.25), 3),
        ((8, 0), (1, 1), 0),
    ],
)
def test_slots_that_fit_on_a_node(node: tuple[float, float], slot: tuple[float, float], fit: int) -> None:
    assert slots_on(*node, *slot) == fit


def test_a_token_is_offered_where_there_is_one_and_the_user_has_not_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for given, mode in (
        ({}, None),
        ({"RAY_AUTH_TOKEN": "x"}, "token"),
        ({"RAY_AUTH_TOKEN": "x", "RAY_AUTH_MODE": "disabled"}, "disabled"),
    ):
        environment = dict(given)
        _offer_token(environment)
        assert environment.get("RAY_AUTH_MODE") == mode
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("x")
    environment = {}
    _offer_token(environment)
    assert environment == {"RAY_AUTH_MODE": "token"}


def test_more_slots_than_fit_are_refused_and_a_slot_that_finds_no_room_is_told(tmp_path: Path) -> None:
    import ray

    with pytest.raises(TrainingError, match=r"room for 0 trainings at once, each with 1 CPU and 4 GPU"):
        RayBackend(1, gpus=4)
    assert not ray.is_initialized()

    async def scenario() -> tuple[Trained | Failed, Trained | Failed]:
        backend = RayBackend(1, placement_timeout=4)
        other = ray.remote(num_cpus=1)(Node).remote("cpu", {})
        await other.pids.remote()
        waited = await backend.train(job(epochs=1), tmp_path / "a")
        ray.kill(other)
        later = await backend.train(job(epochs=1), tmp_path / "a")
        await backend.close()
        return waited, later

    waited, later = run(scenario())
    assert isinstance(waited, Failed) and waited.kind is FailureKind.NO_ROOM
    assert "no room for a slot (1 CPU) within 4 s" in waited.message
    assert isinstance(later, Trained)


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
