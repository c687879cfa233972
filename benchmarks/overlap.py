"""How much designing costs a campaign: its wall time against the time its trainings take.

A scripted chat server on loopback takes half a second an answer; trainings of the digits preset take about
two seconds; twelve candidates, four a round, one training slot. With `lookahead` 1 the next round is
designed while this one trains; with 0 it waits. Target: at most 1.15 times the total training time at
lookahead 1.

    python benchmarks/overlap.py [--epochs N] [--candidates N] [--delay SECONDS]
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from nader.campaign import Campaign
from nader.settings import load_settings
from nader.workspace import Workspace
from tests.servers.openai_server import serve
from tests.servers.scenario import Scenario

TARGET = 1.15


async def campaign(
    url: str, lookahead: int, given: argparse.Namespace, folder: Path
) -> tuple[float, list[float]]:
    """Run one campaign; returns its seconds, its start and its end included, and those of its trainings."""
    sets = [
        "llm.backend=openai", f"llm.base_url={url}", "llm.model=scripted",
        f"search.candidates={given.candidates}",
        "search.width=4", f"search.lookahead={lookahead}", "training.slots=1", "search.base=convnext",
    ]  # fmt: skip
    if given.epochs:
        sets.append(f"training.epochs={given.epochs}")
    began = time.perf_counter()
    async with await Campaign.start(Workspace(folder), load_settings(sets=sets)) as running:
        await running.run()
        seconds = time.perf_counter() - began
        trained = [c.seconds for c in running.views.tree.candidates() if c.trained and c.original is None]
    return seconds, [s for s in trained if s is not None]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=15, help="of a training; 15 take about two seconds")
    parser.add_argument("--candidates", type=int, default=12)
    parser.add_argument("--delay", type=float, default=0.5, help="seconds an answer takes")
    given = parser.parse_args()
    os.environ["OPENAI_API_KEY"] = "loopback"
    print(f"{'lookahead':>9} {'campaign s':>11} {'training s':>11} {'mean s':>7} {'ratio':>6}")
    for lookahead in (1, 0):
        with serve(Scenario(delay_s=given.delay)) as server, tempfile.TemporaryDirectory() as folder:
            seconds, trained = asyncio.run(campaign(server.url, lookahead, given, Path(folder)))
        ratio = seconds / sum(trained)
        verdict = ("ok" if ratio <= TARGET else "MISSED") if lookahead == 1 else "for comparison"
        mean = sum(trained) / len(trained)
        print(f"{lookahead:>9} {seconds:>11.2f} {sum(trained):>11.2f} {mean:>7.2f} {ratio:>6.3f}  {verdict}")


if __name__ == "__main__":
    main()
