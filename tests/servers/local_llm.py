"""The real local chat server that `local_llm.sh` sets up, as a context for the tests marked `local_llm`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MODEL = "smollm2"
_START_S = 120.0


@dataclass(frozen=True)
class LocalServer:
    """A running llama-server."""

    url: str
    model: str = MODEL


def folder() -> Path | None:
    """$NADER_LOCAL_LLM, or the default folder of the set-up script; None where neither can be told."""
    given = os.environ.get("NADER_LOCAL_LLM")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME")
    home = os.environ.get("HOME")
    if not cache and not home:
        return None
    return (Path(cache) if cache else Path(str(home)) / ".cache") / "nader-local-llm"


@contextmanager
def local_server(context: int = 8192, slots: int = 2) -> Iterator[LocalServer]:
    """A llama-server of its own on a free port; skips the test, with a reason, where none is set up."""
    place = folder()
    if place is None or not (place / "llama-server").exists() or not (place / "model.gguf").exists():
        pytest.skip("no local chat server: set one up with bash tests/servers/local_llm.sh")
    port = _free_port()
    command = [place / "llama-server", "-m", place / "model.gguf", "--host", "127.0.0.1", "--port", port]
    # One thread: with more, its workers spin against whatever else is running.
    command += ["--alias", MODEL, "-c", context * slots, "--parallel", slots, "--threads", 1]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([str(c) for c in command], stdout=log, stderr=log)
        try:
            _await_ready(process, port)
            yield LocalServer(f"http://127.0.0.1:{port}/v1")
        finally:
            process.terminate()
            process.wait(timeout=60)


def _await_ready(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.fail(f"llama-server ended with status {process.returncode} before it was ready")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                if json.load(answer).get("status") == "ok":
                    return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"llama-server was not ready within {_START_S:g} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
