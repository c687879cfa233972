"""A campaign on two Ray workers is the campaign on two local slots, event for event but for timings."""

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time

import pytest

from nader.campaign import Campaign
from nader.errors import SettingsError
from nader.settings import load_settings
from nader.workspace import Workspace
from tests.conftest import REPOSITORY
from tests.e2e.campaigns import check_log, events, tree

SETS = (
    "search.candidates=3", "search.width=3", "training.epochs=2", "training.slots=2", "synchronous=NORMAL",
    "training.max_params=20000",
)  # fmt: skip
TIMINGS = ("seconds", "latency", "latency_ms", "peak_memory", "slot")


def run(folder, *more):
    async def main():
        async with await Campaign.start(Workspace(folder), load_settings(sets=(*SETS, *more))) as campaign:
            return await campaign.run()

    return asyncio.run(main())


def story(folder):
    """Every event but its place, times and measurements of the machine, in an order of their own."""
    told = []
    for envelope in events(folder):
        data = {k: v for k, v in envelope.data().items() if k not in TIMINGS}
        if envelope.type == "CampaignStarted":
            data["settings"]["training"]["backend"] = ""
        told.append(
            (envelope.type, envelope.actor, envelope.correlation or "", json.dumps(data, sort_keys=True))
        )
    return sorted(told)


@pytest.mark.timeout(300)
def test_two_ray_workers_tell_the_same_story_as_two_local_slots(tmp_path):
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    run(tmp_path / "local")
    run(tmp_path / "ray", "training.backend=ray")
    check_log(tmp_path / "ray")
    assert tree(tmp_path / "local") == tree(tmp_path / "ray")
    assert story(tmp_path / "local") == story(tmp_path / "ray")


def without_ray():
    """The environment as it was before Ray ran in this process."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def nader(folder, *words, **environment):
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "nader.cli", *words, "-w", str(folder)], cwd=REPOSITORY, timeout=280,
        env={**without_ray(), "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster that the documented command started, and the folder in which it has its token."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    command = ["-c", "from ray.scripts.scripts import main; main()", "start", "--head", f"--port={port}"]
    options = ["--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats", "--block"]
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    process = subprocess.Popen(
        [sys.executable, *command, *options], env=without_ray() | {"HOME": str(home)}, cwd=home,
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        time.sleep(0.2)
    time.sleep(5)  # the port answers a little before the first node has joined
    yield f"127.0.0.1:{port}", home
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


WORDS = [piece for pair in SETS if "candidates" not in pair for piece in ("--set", pair)]


@pytest.mark.timeout(300)
def test_the_documented_steps_run_a_campaign_on_a_cluster_that_is_there(tmp_path, cluster):
    address, home = cluster
    done = nader(tmp_path, "run", "--backend", "ray", "--address", address, "-c", "1", *WORDS, HOME=str(home))
    assert done.returncode == 0, done.stderr[-2000:]
    check_log(tmp_path)
    log = events(tmp_path)
    assert [e.type for e in log].count("TrainingCompleted") == 2
    slots = {e.event.slot for e in log if e.type == "TrainingStarted"}
    assert slots <= {f"slot {n} on {socket.gethostname()}" for n in range(2)}
    token = (home / ".ray" / "auth_token").read_bytes()
    assert all(token not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.timeout(300)
def test_a_wrong_token_is_told_as_authentication_and_nothing_is_recorded(tmp_path, cluster):
    if tuple(map(int, importlib.metadata.version("ray").split(".")[:2])) < (2, 59):
        pytest.skip("this version of Ray asks for no token of itself")
    address, home = cluster
    words = ("run", "--backend", "ray", "--address", address)
    done = nader(tmp_path, *words, HOME=str(home), RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="not-the-one")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "authentication" in done.stderr and "RAY_AUTH_MODE=token" in done.stderr
    assert "not-the-one" not in done.stderr + done.stdout
    assert not (tmp_path / "nader.db").exists()


@pytest.mark.timeout(300)
def test_more_slots_than_the_cluster_has_room_for_are_refused_before_anything_is_recorded(tmp_path, cluster):
    address, home = cluster
    words = ("run", "--backend", "ray", "--address", address, "--set", "training.slots=3")
    done = nader(tmp_path, *words, HOME=str(home))
    assert done.returncode != 0 and "has room for 2 trainings at once" in done.stderr, done.stderr
    assert not (tmp_path / "nader.db").exists()


@pytest.mark.parametrize("extra", ["ray", "tensorboard"])
def test_an_extra_that_is_not_installed_is_said_before_anything_is_recorded(tmp_path, monkeypatch, extra):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == extra else find(name))
    change = {"ray": "training.backend=ray", "tensorboard": "training.tensorboard=true"}[extra]
    with pytest.raises(SettingsError, match=rf"pip install 'nader\[{extra}\]'"):
        run(tmp_path, change)
    assert not (tmp_path / "nader.db").exists()
