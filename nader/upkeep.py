"""Gives room back: blobs that no event names, and folders of trainings that no event asked for."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from events.training import RetrainingRecorded, TrainingRequested
from nader.workspace import Workspace
from store import Log, Reader

JOB_LENGTH = 64
"""A training's folder is named by its job, a SHA-256 in hex; anything else there is not ours to touch."""


@dataclass(frozen=True)
class UpkeepReport:
    """What was dropped, and what is in use."""

    blobs: int
    bytes: int
    kept: int
    """Blobs in use."""
    trainings: int
    training_bytes: int
    trainings_kept: int


async def vacuum(workspace: Workspace) -> UpkeepReport:
    """Drop what no event names; nothing else is ever deleted.

    Takes the writer's lock, so that nothing is under way.
    """
    async with Log.open(workspace.log) as log:
        report = await log.vacuum()
        orphans, kept = _trainings(log, workspace.trainings)
        freed = 0
        for folder in orphans:
            freed += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            shutil.rmtree(folder, ignore_errors=True)
    return UpkeepReport(report.blobs, report.bytes, report.kept, len(orphans), freed, kept)


def _trainings(log: Reader, folder: Path) -> tuple[list[Path], int]:
    """Folders of trainings that no event names, and how many are named."""
    named: set[str] = set()
    for branch in log.branches():
        types = (TrainingRequested.__name__, RetrainingRecorded.__name__)
        for envelope in log.read(branch.name, after=branch.fork_position, types=types):
            event = envelope.event
            if isinstance(event, TrainingRequested):
                named.add(event.job)
            elif isinstance(event, RetrainingRecorded):
                named.update(event.jobs)
    found = [path for path in folder.iterdir() if len(path.name) == JOB_LENGTH] if folder.is_dir() else []
    orphans = sorted(
        path for path in found if path.name not in named and path.is_dir() and not path.is_symlink()
    )
    return orphans, len(found) - len(orphans)
