"""The one-writer lock: a file beside the log, locked by the system for as long as its holder lives.

The lock keeps honest processes apart and dies with its holder, however it dies. It can be lost while the
holder lives (someone deletes the file; a network file system forgets it). Then the next writer raises the
epoch inside the log, and the former one finds, inside its next transaction, that its epoch is past
(`store.writer`).
"""

import json
import os
import shlex
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from store.errors import LockedError, translate

try:
    import fcntl
except ImportError:  # Windows: the epoch alone keeps two writers apart
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Holder:
    """Who holds the lock."""

    pid: int
    host: str
    since: float
    """Seconds since the Unix epoch."""
    command: str

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host}, since {since} ({self.command})"


def this_process() -> Holder:
    """This process, as others will see it named."""
    command = shlex.join([Path(sys.argv[0] or sys.executable).name, *sys.argv[1:]])[:200]
    return Holder(os.getpid(), socket.gethostname(), time.time(), command)


class WriterLock:
    """Held from construction until `release`. Raises LockedError, which names the holder."""

    def __init__(self, path: Path) -> None:
        self.log = path
        self.path = path.with_name(path.name + ".lock")
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            raise translate(error, path) from error
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps(asdict(this_process())).encode(), 0)
        except BlockingIOError as error:
            os.close(self._file)
            raise self._locked() from error
        except OSError as error:
            os.close(self._file)
            raise translate(error, path) from error

    def _locked(self) -> LockedError:
        holder = lock_holder(self.log)
        return LockedError(
            f"the log {self.log} is being written by {holder or 'another process'}; "
            "wait for it or stop it: one log has one writer"
        )

    def release(self) -> None:
        """Let the next writer in. The file stays: removing it could break a lock that another has just
        taken.
        """
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1


def lock_holder(log: Path) -> Holder | None:
    """Who wrote their name into the log's lock file last, and has not left; None if nobody."""
    try:
        text = log.with_name(log.name + ".lock").read_text(encoding="utf-8")
        return Holder(**json.loads(text))
    except (OSError, ValueError, TypeError):
        return None
