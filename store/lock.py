"""The one-writer lock: a file beside the log, locked by the system for as long as its holder lives.

The lock keeps honest processes apart and dies with its holder, however it dies. It can be lost while the
holder lives (someone deletes the file; a network file system forgets it). Then the next writer raises the
epoch inside the log, and the former one finds, inside its next transaction, that its epoch is past
(`store.writer`).
"""

import errno
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


_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What a file system says that keeps no locks; there the name in the file has to do."""


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
        self._file = -1
        try:
            while not self._take():
                os.close(self._file)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps(asdict(this_process())).encode(), 0)
        except BaseException as error:
            if self._file >= 0:
                os.close(self._file)
            if isinstance(error, BlockingIOError):
                raise self._locked() from error
            if isinstance(error, OSError):
                raise translate(error, path) from error
            raise

    def _take(self) -> bool:
        """Lock the file; False if it was removed under our hands, so that others would not see the lock."""
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            if fcntl is None:
                raise OSError(errno.ENOTSUP, "no locks on this system")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            if lock_holder(self.log) is not None:
                raise self._locked() from error
        try:
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        except FileNotFoundError:
            return False

    def _locked(self) -> LockedError:
        holder = lock_holder(self.log)
        return LockedError(
            f"the log {self.log} is being written by {holder or 'another process'}; "
            f"wait for it or stop it: one log has one writer (if it is gone for good, remove "
            f"{self.path.name})"
        )

    def release(self) -> None:
        """Let the next writer in. The file stays: removing it could break a lock that another has just
        taken.
        """
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1


def _may_live(holder: Holder) -> bool:
    """Whether a holder may still be there; one on another machine always may."""
    if holder.host != socket.gethostname():
        return True
    if holder.pid == os.getpid():
        return True
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError, TypeError):
        return True
    return not _is_zombie(holder.pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process has died and only waits for its parent to look (Linux; elsewhere unknown: no)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def lock_holder(log: Path) -> Holder | None:
    """Who wrote their name into the log's lock file last, and has neither left nor died; None if nobody."""
    try:
        text = log.with_name(log.name + ".lock").read_text(encoding="utf-8")
        holder = Holder(**json.loads(text))
    except (OSError, ValueError, TypeError):
        return None
    return holder if _may_live(holder) else None
