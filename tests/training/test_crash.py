"""kill -9 of the whole tree at any moment: the training goes on and ends as if it had never been killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nader.training.files import CHECKPOINT, RESULT
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the death of a parent is noticed as on Linux"
)

EPOCHS = 10


def start(folder: Path, **environment: str) -> subprocess.Popen[str]:
    """A process of its own that trains in the folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.drive", str(folder), str(EPOCHS)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(folder: Path) -> str:
    """Train to the end; the digest of the weights."""
    out, _ = start(folder).communicate(timeout=200)
    assert out.splitlines()[-1].startswith("ended trained"), out
    return out.split()[-1]


def gone(pid: int) -> bool:
    """Whether a process ends within a generous time."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


def kill_after(folder: Path, lines: int, pause: float, freeze: bool = False) -> int:
    """Kill the parent after so many lines of progress and a pause; the worker's process id."""
    process = start(folder)
    assert process.stdout is not None
    worker = 0
    for _ in range(lines):
        words = process.stdout.readline().split()
        if not words or words[0] == "ended":
            break
        worker = int(words[3])
    time.sleep(pause)
    if freeze:
        os.kill(worker, signal.SIGSTOP)
    process.kill()
    process.wait()
    process.stdout.close()
    return worker


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of the training that was never killed."""
    return finish(tmp_path_factory.mktemp("whole"))


def test_a_worker_leaves_when_its_parent_is_killed_even_while_it_is_stopped(tmp_path: Path) -> None:
    worker = kill_after(tmp_path, lines=8, pause=0.0, freeze=True)
    assert gone(worker)


def test_a_worker_killed_while_it_writes_a_checkpoint_resumes_from_the_one_before(
    tmp_path: Path, uninterrupted: str
) -> None:
    out, _ = start(tmp_path, NADER_FAULT="during-checkpoint:3").communicate(timeout=200)
    assert out.splitlines()[-1].startswith("ended failed") and (tmp_path / CHECKPOINT).exists()
    assert not (tmp_path / RESULT).exists()
    assert finish(tmp_path) == uninterrupted


def _killed_at_random_moments(folder: Path, times: int, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(times):
        kill_after(folder, lines=draw.randrange(1, 16), pause=draw.random() * 0.05)


def test_a_training_killed_at_random_moments_ends_bit_equal(tmp_path: Path, uninterrupted: str) -> None:
    _killed_at_random_moments(tmp_path, times=2, seed=1)
    assert finish(tmp_path) == uninterrupted


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(3))
def test_a_training_killed_at_ten_random_moments_ends_bit_equal(
    tmp_path: Path, uninterrupted: str, seed: int
) -> None:
    _killed_at_random_moments(tmp_path, times=10, seed=seed)
    assert finish(tmp_path) == uninterrupted
