"""Every message of a campaign as a typed, versioned fact; imports nothing of the rest of the product."""

from events.blobs import BLOB_FIELDS, digests, is_digest, named_blobs
from events.envelope import (
    GENESIS,
    Ack,
    Envelope,
    Pending,
    canonical_json,
    chain_hash,
    is_time,
    new_event_id,
    readable,
)
from events.registry import (
    Event,
    EventError,
    UnknownEventError,
    decode,
    encode,
    event_types,
    known_type,
    known_versions,
)

__all__ = [
    "BLOB_FIELDS",
    "GENESIS",
    "Ack",
    "Envelope",
    "Event",
    "EventError",
    "Pending",
    "UnknownEventError",
    "canonical_json",
    "chain_hash",
    "decode",
    "digests",
    "encode",
    "event_types",
    "is_digest",
    "is_time",
    "known_type",
    "known_versions",
    "named_blobs",
    "new_event_id",
    "readable",
]
