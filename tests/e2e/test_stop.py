"""Ctrl-C, caps and troubles of the machine: the campaign leaves in order, and goes on later."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from actors.runtime import external
from events import Pending, encode
from events.campaign import CampaignResumed
from events.training import EpochFinished, RetrainingRecorded
from nader.campaign import Campaign
from nader.hours import seconds_run
from nader.settings import load_settings
from nader.workspace import Workspace, fold
from store import LockedError, Log
from tests.conftest import REPOSITORY
from tests.e2e.campaigns import SMALL, check_log, events, folded, resume_campaign, run_campaign, tree
from tests.e2e.simulation import SimulatedBackend


def paused_at(folder, type, *, now=False):
    """Run a campaign, pause it at the first event of a type, and return how it ended."""

    async def main():
        async with await Campaign.start(Workspace(folder), load_settings(sets=SMALL)) as campaign:

            def watch(envelope):
                if envelope.type == type:
                    campaign.pause("stopped by a test", now=now)

            campaign.observe(watch)
            return await campaign.run(SimulatedBackend(2, pause=lambda rng: 0.05))

    return asyncio.run(main())


@pytest.mark.parametrize("now", [False, True])
@pytest.mark.parametrize("type", ["ChatRequested", "DesignReady", "EpochFinished", "ReflectionRequested"])
def test_a_campaign_that_is_paused_goes_on_to_the_same_end(tmp_path, type, now):
    ending = paused_at(tmp_path / "paused", type, now=now)
    assert (ending.kind, ending.reason) == ("paused", "stopped by a test")
    log = events(tmp_path / "paused")
    assert log[-1].type == "CampaignPaused"
    resume_campaign(tmp_path / "paused")
    run_campaign(tmp_path / "whole")
    check_log(tmp_path / "paused")
    assert tree(tmp_path / "paused") == tree(tmp_path / "whole")


def test_the_cap_on_hours_pauses_and_more_hours_go_on(tmp_path):
    slow = SimulatedBackend(1, pause=lambda rng: 0.4)
    ending = run_campaign(tmp_path, (*SMALL, "budget.hours=0.0002"), slow)
    assert ending.kind == "paused" and "hours" in ending.reason
    assert resume_campaign(tmp_path, sets=("budget.hours=1",)).reason == "completed"
    check_log(tmp_path)


def test_a_finished_campaign_resumes_to_nothing_and_with_more_candidates_goes_on(tmp_path):
    run_campaign(tmp_path)
    before = len(events(tmp_path))
    assert resume_campaign(tmp_path).reason == "completed"
    assert len(events(tmp_path)) == before
    resume_campaign(tmp_path, sets=("search.candidates=8",))
    check_log(tmp_path)
    views, _ = folded(tmp_path)
    assert len([c for c in views.tree.candidates() if c.round and c.trained and c.original is None]) == 8


def test_a_second_process_is_told_who_writes(tmp_path):
    async def main():
        async with await Campaign.start(Workspace(tmp_path), load_settings(sets=SMALL)):
            with pytest.raises(LockedError, match=str(os.getpid())):
                await Campaign.resume(Workspace(tmp_path))

    asyncio.run(main())


def driver(folder, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "nader.cli", *arguments, "--workspace", str(folder)]
    return subprocess.Popen(
        command,
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


REAL = [
    piece
    for pair in ("search.candidates=2", "search.width=2", "training.slots=1", "training.epochs=400")
    for piece in ("--set", pair)
]


def wait_for(folder, type, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (folder / "nader.db").exists():
            try:
                if any(e.type == type for e in events(folder)):
                    return
            except Exception:
                pass
        time.sleep(0.2)
    raise AssertionError(f"no {type} within {seconds} s")


def test_the_hours_of_a_process_that_was_killed_count_up_to_its_last_epoch(tmp_path):
    """Nothing but epochs may come for a long while; that it trained all the time is known by them."""
    run_campaign(tmp_path)
    with Workspace(tmp_path).reader() as reader:
        before = list(reader.read("run-1"))
    epoch = encode(EpochFinished(job="j", epoch=1, epochs=9, loss=1.0, accuracy=1.0, rate=0.1, seconds=1.0))
    began, last = before[0].time, before[-1].time

    async def later():
        async with Log.open(tmp_path / "nader.db") as log:
            await log.append("run-1", [Pending("training", *epoch, time=last + 1000)])
            await log.append(
                "run-1", [replace(external(CampaignResumed(nader_version="0")), time=last + 5000)]
            )
            await log.append("run-1", [Pending("training", *epoch, time=last + 5100)])

    asyncio.run(later())
    with Workspace(tmp_path).reader() as reader:
        worked = seconds_run(reader, "run-1", fold(reader, "run-1")[1])
    assert worked == pytest.approx(last - began + 1000 + 100)


def test_a_retraining_days_after_the_campaign_left_adds_no_hours_to_it(tmp_path):
    run_campaign(tmp_path)
    first, *_, newest = events(tmp_path)
    retrained = external(
        RetrainingRecorded(
            candidate="base", dataset="digits", recipe="digits", recipe_digest="", seeds=(), width=1,
            params=1, macs=1, validation=(), test=(), seconds=(),
        )
    )  # fmt: skip
    resumed = external(CampaignResumed(nader_version="0"))
    days = [
        replace(e, time=newest.time + 86400 * day) for day, e in enumerate([retrained, retrained, resumed], 1)
    ]

    async def later():
        async with Log.open(tmp_path / "nader.db") as log:
            for event in days:
                await log.append("run-1", [event])
                assert seconds_run(log, "run-1", fold(log, "run-1")[1]) == pytest.approx(
                    newest.time - first.time
                )

    asyncio.run(later())


def test_ctrl_c_checkpoints_the_training_and_resume_goes_on_from_there(tmp_path):
    process = driver(tmp_path, "run", *REAL)
    wait_for(tmp_path, "EpochFinished")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    assert events(tmp_path)[-1].type == "CampaignPaused", out + err
    reached = max(e.event.epoch for e in events(tmp_path) if e.type == "EpochFinished")
    process = driver(tmp_path, "resume")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        started = [e.event for e in events(tmp_path) if e.type == "TrainingStarted"]
        if len(started) > 1:
            break
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert started[-1].job == started[0].job
    assert started[-1].first_epoch == reached + 1, "not one epoch is lost by an orderly stop"


def test_a_disk_that_fills_up_ends_with_a_sentence_and_what_was_acknowledged_stays(tmp_path):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    process = driver(tmp_path, "run", "--set", "search.candidates=40", preexec_fn=small_files)
    _, err = process.communicate(timeout=240)
    assert process.returncode not in (0, None)
    assert "Traceback" not in err and ("full" in err or "too large" in err), err
    kept = events(tmp_path)
    assert kept and [e.position for e in kept] == list(range(1, len(kept) + 1))


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into read-only folders")
def test_a_read_only_folder_is_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    process = driver(tmp_path / "w", "run")
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0 and "cannot be written" in err and "Traceback" not in err


def test_a_workspace_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "w").write_text("not a folder")
    process = driver(tmp_path / "w", "run")
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0 and "cannot be written" in err and "Traceback" not in err
