"""Every message of a campaign as a typed, versioned fact; imports nothing of the rest of the product."""

from events.envelope import GENESIS, Ack, Envelope, Pending, canonical_json, chain_hash, new_event_id
from events.registry import Event, EventError, UnknownEventError, decode, encode, event_types, known_versions

__all__ = [
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
    "encode",
    "event_types",
    "known_versions",
    "new_event_id",
]
