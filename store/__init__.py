"""The log: an append-only, hash-chained SQLite file with branches, its readers, and the folds over it."""

from store.blobs import sha256_hex
from store.chain import Break, ChainReport
from store.errors import (
    CorruptedError,
    IntegrityError,
    LockedError,
    NewerFormatError,
    NoSuchBranchError,
    OperationalError,
    StoreError,
)
from store.faults import FaultPoint, fault
from store.lineage import BranchInfo, Head
from store.lock import Holder, lock_holder
from store.log import Log
from store.reader import Reader
from store.vacuum import VacuumReport

__all__ = [
    "BranchInfo",
    "Break",
    "ChainReport",
    "CorruptedError",
    "FaultPoint",
    "Head",
    "Holder",
    "IntegrityError",
    "LockedError",
    "Log",
    "NewerFormatError",
    "NoSuchBranchError",
    "OperationalError",
    "Reader",
    "StoreError",
    "VacuumReport",
    "fault",
    "lock_holder",
    "sha256_hex",
]
