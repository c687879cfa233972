"""Which fields of events name blobs: what a log must hold besides its events to be whole.

The other digests in events (of designs, jobs, prompts, inputs) name no blob.
"""

from collections.abc import Iterator
from typing import Any

from events.envelope import Envelope

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
