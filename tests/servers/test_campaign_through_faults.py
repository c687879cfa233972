"""A whole campaign against a server that fails in every way and plays drafts that models really wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, shared_root
from tests.servers.openai_server import ScriptedServer, serve
from tests.servers.scenario import FaultKind, Scenario

FAULTS = Path(__file__).parent / "scenarios" / "every-fault.json"


def drafts() -> tuple[str, ...]:
    """Real drafts of cells, faulty and not, where they are at hand."""
    root = shared_root()
    if root is None:
        return ()
    real = json.loads((root / "data" / "nader-official" / "llm_drafts.json").read_text())
    return tuple(f"<block>\n{draft['blocks']['base_block']}\n</block>" for draft in real[::3])


def campaign(server: ScriptedServer, workspace: Path, candidates: int) -> list[dict[str, Any]]:
    """The events of a campaign through the command line."""
    choices = [f"search.candidates={candidates}", "training.epochs=1", f"llm.base_url={server.url}"]
    choices += ["llm.model=scripted", "llm.deadline_s=5", "llm.backoff_s=0.05"]
    command = [sys.executable, "-m", "nader.cli", "run", "--preset", "digits", "-w", str(workspace)]
    for choice in choices:
        command += ["--set", choice]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(2):  # the model that is once not there pauses it
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
        command = [sys.executable, "-m", "nader.cli", "resume", "-w", str(workspace)]
    log = [sys.executable, "-m", "nader.cli", "log", "--json", "-w", str(workspace)]
    told = subprocess.run(log, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in told.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_campaign_ends_through_every_fault_and_its_ledger_equals_the_servers(
    tmp_path: Path,
) -> None:
    scenario = Scenario.load(FAULTS).model_copy(update={"task_answers": {"modify_cell": drafts()}})
    with serve(scenario) as server:
        events = campaign(server, tmp_path, 20)
        stats = server.stats()
    types = Counter(event["type"] for event in events)
    assert events[-1]["type"] == "CampaignFinished"
    assert types["ChatRequested"] == types["ChatCompleted"] + types["ChatFailed"]
    assert types["HandlerFailed"] == 0
    assert types["ProposalMade"] == types["DesignReady"] + types["DesignAbandoned"]
    told = [event["event"] for event in events if event["type"] in ("ChatCompleted", "ChatFailed")]
    booked = sum(t["input_tokens"] for t in told), sum(t["output_tokens"] for t in told)
    assert booked == (stats["prompt_tokens"], stats["completion_tokens"])
    # The embedder is the local one here, so its fault does not come up.
    expected = {fault.kind for fault in scenario.faults} - {FaultKind.WRONG_DIMENSION}
    assert {FaultKind(kind) for kind in stats["faults"]} == expected
