"""Names for effects and seeds for chance that depend on what is done, never on when or in which branch.

A root event (one that no handler caused) is known by its type; every other by the effect that made it. So a
handler that runs again finds its record by key, and two runs of one campaign draw the same numbers.
"""

import hashlib
import random

from events import Envelope


def digest_of(*parts: object) -> str:
    """SHA-256 (hex) over the parts, joined by a character that none of them holds."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()


def cause_key(cause: Envelope) -> str:
    """The identity of a cause for the keys of its effects."""
    return cause.effect_key or cause.id


def effect_key(kind: str, actor: str, cause: Envelope, name: str) -> str:
    """The key of an effect: `kind` (emit, ask, terminal, give-up), who does it, upon what, and its name or
    ordinal.
    """
    return digest_of("effect", kind, actor, cause_key(cause), name)


def input_digest(type_name: str, version: int, payload: str) -> str:
    """Digest of all that goes into an effect: large inputs are in the payload by their own digests."""
    return digest_of("input", type_name, version, payload)


def keyed_rng(seed: int, actor: str, cause: Envelope, purpose: str) -> random.Random:
    """Chance for one purpose of one handling: a draw added elsewhere changes nothing here.

    The cause enters by what it is about (its correlation: a candidate, a round), because which of two events
    woke the Director first is a matter of timing.
    """
    subject = cause.correlation or cause_key(cause)
    return random.Random(int(digest_of("rng", seed, actor, cause.type, subject, purpose), 16))
