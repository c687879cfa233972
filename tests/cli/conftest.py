"""A small finished campaign to look at, and the command line to look with."""

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nader.cli import main
from nader.forks import fork
from nader.workspace import Workspace
from tests.e2e.campaigns import SMALL, events, folded, resume_campaign, run_campaign
from tests.e2e.simulation import SimulatedBackend


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Nader = Callable[..., Said]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a finished run, some of whose trainings failed, and a finished fork of it."""
    folder = tmp_path_factory.mktemp("finished") / "workspace"
    run_campaign(folder, [*SMALL, "search.candidates=6", "seed=2"], SimulatedBackend(failing=0.5))
    views, _ = folded(folder)
    best = views.best()
    assert best is not None and best.parent is not None, (
        "what is shown of the best is about a design of its own"
    )
    assert any(candidate.failed for candidate in views.tree.candidates())
    at = next(e.position for e in events(folder) if e.correlation == "r1-1")
    sets = ["seed=5", "search.strategy=greedy"]
    asyncio.run(fork(Workspace(folder), "run-1", at, name="other", sets=sets))
    resume_campaign(folder, "other", SimulatedBackend(failing=0.25))
    return folder


@pytest.fixture(scope="session")
def parting(finished: Path) -> int:
    """The position up to which the fork shares the run's history: where its first candidate is proposed."""
    with Workspace(finished).reader() as reader:
        return reader.branches()[1].fork_position


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    """A copy of that workspace, to write into."""
    return Path(shutil.copytree(finished, tmp_path / "workspace"))


@pytest.fixture
def nader(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Nader:
    """Runs a command line in this process."""
    for name in ("NADER_WORKSPACE", "OPENAI_API_KEY", "OPENAI_BASE_URL", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def call(*words: object) -> Said:
        capsys.readouterr()
        status = main([str(word) for word in words])
        told = capsys.readouterr()
        return Said(status, told.out, told.err)

    return call
