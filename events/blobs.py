"""How events name blobs: what a log must hold besides its events to be whole, and what may not be dropped.

These are two questions. `named_blobs` tells which blobs an event needs: they are in certain fields, and the
other digests in events (of designs, jobs, prompts, inputs) name no blob. `digests` tells which blobs may be
needed by a text, whatever wrote it: a log also holds events of types and versions that this program does not
know, and blobs that name blobs. All that the first gives is in the second, for every version of every type.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

from events.envelope import Envelope

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")

BLOB_FIELDS: dict[str, tuple[str, ...]] = {
    "CampaignStarted": ("base", "ground.prompts.*"),
    "SettingsChanged": ("ground.prompts.*",),
    "BaseDesigned": ("design",),
    "ReadingStarted": ("prompts.*",),
    "PaperFound": ("abstract", "record"),
    "PaperTextRead": ("text",),
    "KnowledgeIndexed": ("inspirations", "vectors"),
    "DraftRejected": ("draft", "problems"),
    "DraftAccepted": ("block",),
    "DesignReady": ("design",),
    "TrainingRequested": ("design",),
    "ChatRequested": ("messages.*.digest",),
    "ChatCompleted": ("answer",),
    "EmbeddingRequested": ("texts",),
    "EmbeddingCompleted": ("vectors",),
    "ExperienceRecorded": ("vector",),
    "LessonRecorded": ("vector",),
}
"""Paths of those fields by event type, in its newest version; `*` stands for every item. An empty text names
none.
"""


def digests(payload: str) -> list[str]:
    """Every digest that stands in a stored payload or in a blob's text, each once: 64 hexadecimal digits,
    whatever the field is called. Most name no blob.
    """
    found = _DIGEST.findall(payload)
    if "\\u" in payload:  # no writer of ours spells a digest so, but what reads it makes no difference
        with contextlib.suppress(ValueError, RecursionError):
            found += _DIGEST.findall(json.dumps(json.loads(payload), ensure_ascii=False))
    return list(dict.fromkeys(found))


def is_digest(value: object) -> bool:
    """Whether a value is a digest and nothing else."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def named_blobs(envelope: Envelope) -> Iterator[tuple[str, str]]:
    """(JSON path, digest) of every blob that an event names; `EventError` for an event that does not read."""
    for path in BLOB_FIELDS.get(envelope.type, ()):
        yield from _follow(envelope.event, path.split("."), "$")


def _follow(value: Any, steps: list[str], path: str) -> Iterator[tuple[str, str]]:
    if not steps:
        if value:
            yield path, value
    elif steps[0] != "*":
        yield from _follow(getattr(value, steps[0]), steps[1:], f"{path}.{steps[0]}")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _follow(item, steps[1:], f"{path}.{name}")
    else:
        for index, item in enumerate(value):
            yield from _follow(item, steps[1:], f"{path}[{index}]")
