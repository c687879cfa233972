"""A whole simulated campaign in a process of its own: what it takes on disk and in memory, and how fast it is
taken up again and verified.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, at_least, at_most

CANDIDATES = 500
_CHILD = """
import asyncio, json, resource, sys, time
from pathlib import Path
from nader.campaign import Campaign
from nader.workspace import Workspace
from tests.e2e.campaigns import run_campaign, verified
from tests.e2e.simulation import SimulatedBackend

async def resume(folder):
    start = time.process_time()
    async with await Campaign.resume(Workspace(folder), sets=["search.candidates=501"]):
        return time.process_time() - start

what, folder = sys.argv[1], Path(sys.argv[2])
start = time.process_time()
events = 0
if what == "run":
    sets = ("search.candidates=%d", "search.width=4", "synchronous=NORMAL")
    run_campaign(folder, sets, SimulatedBackend(4, epochs=200))
if what == "verify":
    report = verified(folder)
    assert report.ok, report.differences[:1] or report.chain
    events = report.events
seconds = asyncio.run(resume(folder)) if what == "resume" else time.process_time() - start
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "memory": memory, "torch": "torch" in sys.modules, "events": events}))
"""


def child(what: str, folder: Path) -> dict[str, float]:
    """Do a thing with a simulated campaign in a process of its own; its CPU seconds and peak memory in MB."""
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD.replace("%d", str(CANDIDATES)), what, str(folder)],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _simulated(folder: Path) -> Path:
    """A whole campaign of 500 candidates, 200 epochs each, with trainings that only pretend."""
    workspace = folder / "campaign"
    if not workspace.exists():
        (workspace / "figures.json").write_text(json.dumps(child("run", workspace)), encoding="utf-8")
    return workspace


def verify(folder: Path) -> Iterator[Figure]:
    """Every agent's handlers run again from the log and compared, as `nader verify` does."""
    found = child("verify", _simulated(folder))
    rate = found["events"] / found["seconds"]
    yield at_least("verify", f"a log of {found['events']:.0f} events", rate, "events/CPU s", 30_000)


def whole_campaign(folder: Path) -> Iterator[Figure]:
    """What a long campaign takes: on disk, in memory, and to take up again."""
    workspace = _simulated(folder)
    figures = json.loads((workspace / "figures.json").read_text(encoding="utf-8"))
    size = sum(file.stat().st_size for file in workspace.glob("*.db*"))
    yield at_most("campaign", f"{CANDIDATES} candidates, 200 epochs each: on disk", size / 1e6, "MB", 100)
    label = "peak memory" + (", torch among it" if figures["torch"] else ", without torch")
    yield at_most("campaign", label, figures["memory"], "MB", 500)
    yield Figure("campaign", "all of it, trainings pretended", figures["seconds"], "CPU s")
    resumed = child("resume", workspace)
    yield at_most("campaign", "taken up again", resumed["seconds"], "CPU s", 3)
