"""Runs a campaign in a process of its own, so that a test can kill it: `python -m tests.e2e.driver
start|resume|fork FOLDER …`.

`fork` makes the fork `mine` of run-1 at `--at`. `--kill TYPE:N` kills the process at the N-th commit of an
event of that type; $NADER_FAULT kills at a fault point. Each committed event is told on stdout as `position
hash type`, after its commit: what was acknowledged.
"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import store.writer
from nader.campaign import Campaign
from nader.forks import fork
from nader.settings import load_settings
from nader.workspace import Workspace
from tests.e2e.simulation import SimulatedBackend


async def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["start", "resume", "fork"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--kill", default="")
    parser.add_argument("--real", action="store_true", help="train for real, in worker processes")
    parser.add_argument("--checkpoints", action="store_true", help="empty the WAL after every commit")
    parser.add_argument("--at", type=int, default=0)
    given = parser.parse_args()
    workspace = Workspace(given.folder)
    if given.checkpoints:
        store.writer._CHECKPOINT_BYTES = 1
    if given.verb == "fork":
        await fork(workspace, "run-1", given.at, name="mine")
        return 0
    if given.verb == "start":
        campaign = await Campaign.start(workspace, load_settings(sets=given.set))
    else:
        campaign = await Campaign.resume(workspace)
    kind, _, count = given.kill.partition(":")
    left = int(count or 1)

    def watch(envelope):
        nonlocal left
        print(envelope.position, envelope.hash, envelope.type, flush=True)
        if envelope.type == kind:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    async with campaign:
        campaign.observe(watch)
        backend = None if given.real else SimulatedBackend(2, pause=lambda rng: 0.05)
        ending = await campaign.run(backend)
    print(ending.kind, ending.reason)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
