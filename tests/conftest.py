"""Shared fixtures: where the real inputs lie, and one thread for torch, so that tests share the cores."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def shared_root() -> Path | None:
    """The folder of real inputs: $NADER_SHARED, else `shared` beside the repository; None without one."""
    for place in (os.environ.get("NADER_SHARED"), REPOSITORY.parent / "shared"):
        if place and (Path(place) / "data").is_dir():
            return Path(place)
    return None


def shared_data(relative: str) -> Path:
    """A real input by its path under `shared/`; skips the test, with a reason, where it is absent."""
    root = shared_root()
    if root is None or not (root / relative).exists():
        pytest.skip(f"real input shared/{relative} is not on this machine", allow_module_level=True)
    return root / relative


@pytest.fixture
def shared() -> Path:
    """The folder of real inputs."""
    return shared_data("data").parent
