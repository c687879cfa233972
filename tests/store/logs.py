"""What the store's tests share: small logs, programs in real processes, and a way to run a coroutine."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from events.envelope import Pending, canonical_json
from store import Log

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
"""Seconds after which a process that should have done something counts as stuck."""


def pending(
    n: int = 0, *, key: str | None = None, type: str = "Noted", actor: str = "tester", **more: Any
) -> Pending:
    """An event with a small payload."""
    return Pending(
        actor=actor, type=type, version=1, payload=canonical_json({"n": n, **more}), effect_key=key
    )


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine to its end."""
    return asyncio.run(work)


def make_log(
    path: Path, events: int = 5, *, forks: Sequence[tuple[str, str, int]] = (), per_fork: int = 3
) -> Path:
    """A closed log: `events` on branch main, then each fork (name, parent, position) with `per_fork` of its
    own.
    """

    async def build() -> None:
        async with Log.open(path, create=True, synchronous="NORMAL") as log:
            await log.create_branch("main", "run")
            if events:
                await log.append("main", [pending(n, key=f"main-{n}") for n in range(events)])
            for name, parent, position in forks:
                await log.create_branch(name, "run", parent, position)
                await log.append(name, [pending(n, key=f"{name}-{n}") for n in range(per_fork)])

    run(build())
    return path


def start(arguments: Iterable[str], **environment: str) -> "subprocess.Popen[str]":
    """A Python program in a process of its own, with this repository importable."""
    scrubbed = {k: v for k, v in os.environ.items() if k not in ("NADER_FAULT", "HOME")}
    scrubbed |= {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", **environment}
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env=scrubbed,
        cwd=REPOSITORY,
    )


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Poll until a condition holds; the deadline is generous, so that a slow machine passes."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE:.0f} s"
        time.sleep(0.01)
