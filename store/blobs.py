"""Content-addressed bytes: what is too large for an event, kept once under its SHA-256, in the log's own
file.
"""

import hashlib
import sqlite3
import threading

import zstandard

from store.errors import CorruptedError, OperationalError

_WORTH_COMPRESSING = 256
"""Bytes below which a zstd frame saves nothing worth its header."""
_local = threading.local()


def sha256_hex(data: bytes) -> str:
    """The name under which `data` is kept."""
    return hashlib.sha256(data).hexdigest()


def encode_blob(data: bytes) -> tuple[str, bytes]:
    """(codec, bytes as stored): compressed where that saves an eighth."""
    if len(data) >= _WORTH_COMPRESSING:
        packed = _compressor().compress(data)
        if len(packed) < len(data) * 7 // 8:
            return "zstd", packed
    return "plain", data


def read_blob(connection: sqlite3.Connection, digest: str) -> bytes:
    """The bytes of that digest, checked against it.

    Raises:
        OperationalError: the log does not hold them.
        CorruptedError: what it holds are other bytes.
    """
    row = connection.execute("SELECT codec, size, data FROM blobs WHERE sha256 = ?", (digest,)).fetchone()
    if row is None:
        raise OperationalError(f"the log holds no blob {digest}")
    codec, size, data = row
    try:
        plain = _decompressor().decompress(data, max_output_size=size) if codec == "zstd" else bytes(data)
    except zstandard.ZstdError as error:
        raise CorruptedError(
            f"the blob {digest} does not decompress ({error}): the log has been damaged"
        ) from error
    if sha256_hex(plain) != digest:
        raise CorruptedError(
            f"the blob {digest} holds other bytes than its name says: the log has been changed"
        )
    return plain


def _decompressor() -> zstandard.ZstdDecompressor:
    """One per thread, as a compressor."""
    decompressor = getattr(_local, "decompressor", None)
    if decompressor is None:
        decompressor = _local.decompressor = zstandard.ZstdDecompressor()
    return decompressor


def _compressor() -> zstandard.ZstdCompressor:
    """One per thread: a compressor may not be shared between threads."""
    compressor = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = zstandard.ZstdCompressor(level=3)
    return compressor
