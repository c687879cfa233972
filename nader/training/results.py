"""Results: published whole in a training's folder and adopted from there; exceptions as typed failures."""

from __future__ import annotations

import errno
import json
import traceback
from pathlib import Path

from nader.training.errors import (
    DataChangedError,
    DataMissingError,
    DiskFullError,
    NotFiniteError,
    StoppedError,
)
from nader.training.files import RESULT, write_atomic
from nader.training.hopeless import HopelessError
from nader.training.job import OUTCOME, Curve, Failed, FailureKind, Trained

DETAIL_CHARACTERS = 6000


def publish(folder: Path, job: str, trained: Trained) -> None:
    """Make a finished training's result the folder's, whole or not at all."""
    result = {"job": job, "outcome": trained.model_dump(mode="json")}
    write_atomic(folder / RESULT, json.dumps(result, indent=1).encode())


def read_result(folder: Path, job: str) -> Trained | None:
    """The finished result that lies in a folder, if it is this job's."""
    try:
        result = json.loads((folder / RESULT).read_bytes())
        outcome = OUTCOME.validate_python(result["outcome"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if result.get("job") != job or not isinstance(outcome, Trained):
        return None
    return outcome.model_copy(update={"adopted": True})


def failed(error: Exception, curve: Curve = ()) -> Failed:
    """An exception as a typed failure, with the end of its traceback."""
    detail = "".join(traceback.format_exception(error))[-DETAIL_CHARACTERS:]
    evidence = error.evidence if isinstance(error, HopelessError) else None
    kind = kind_of(error)
    message = str(error).strip().split("\n\n")[0] or type(error).__name__
    if kind is FailureKind.PYTHON_ERROR and not message.endswith("."):
        message = f"{type(error).__name__}: {message}"
    expected = kind in (FailureKind.CANCELLED, FailureKind.HOPELESS, FailureKind.NAN)
    return Failed(
        kind=kind, message=message[:2000], detail="" if expected else detail, curve=curve, evidence=evidence
    )


def kind_of(error: BaseException) -> FailureKind:
    """Which kind of failure an exception is."""
    text = str(error)
    if (
        type(error).__name__ == "OutOfMemoryError" or "CUDA out of memory" in text
    ):  # torch's; not imported here
        return FailureKind.GPU_OOM
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "Cannot allocate memory" in text:
        return FailureKind.HOST_OOM
    kinds = {
        HopelessError: FailureKind.HOPELESS,
        NotFiniteError: FailureKind.NAN,
        StoppedError: FailureKind.CANCELLED,
        DiskFullError: FailureKind.DISK_FULL,
        DataMissingError: FailureKind.DATA_MISSING,
        DataChangedError: FailureKind.DATA_CHANGED,
    }
    for type_, kind in kinds.items():
        if isinstance(error, type_):
            return kind
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return FailureKind.DISK_FULL
    return FailureKind.PYTHON_ERROR
