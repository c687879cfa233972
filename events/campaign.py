"""How a campaign begins, goes on in rounds, is changed from outside, and ends."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from events.registry import Event, Upcaster


class Ground(BaseModel):
    """What the settings refer to outside the log, resolved when they were entered, so that no handler looks
    there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: int
    """Classes of the data set."""
    image: tuple[int, int, int]
    """Channels, height and width of an image."""
    data: str
    """Identity of the data set with its splits; part of every result's identity."""
    recipe: dict[str, Any]
    """The whole training recipe."""
    libraries: dict[str, int]
    """Position of each library's stream as it is used here."""
    prompts: dict[str, str] = {}
    """Blob digest of each prompt template of one's own; the others are the built-in ones."""
    library_heads: dict[str, str] = {}
    """Hash of the event at that position of each library: what the library was. Empty in runs of before it
    was kept.
    """


def _without_library_heads(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 told of a library's position alone."""
    return {**data, "ground": {**data["ground"], "library_heads": {}}}


class CampaignStarted(Event):
    """The first event of a run: everything that was chosen, so that nothing outside the log decides the
    run.
    """

    settings: dict[str, Any]
    """The whole of the campaign's settings, defaults included."""
    ground: Ground
    designer: str
    """`rule-based`, `inbox`, or the language models in use: printed in every report."""
    base: str
    """Blob digest of the base design's text."""
    base_source: str
    """The base block's name, or the file it came from."""
    nader_version: str
    version: ClassVar[int] = 2
    upcasters: ClassVar[dict[int, Upcaster]] = {1: _without_library_heads}


class BaseDesigned(Event):
    """The design that the campaign starts from: the root of the modification tree, candidate `base`."""

    candidate: str
    design: str
    """Blob digest of the three blocks' text."""
    digest: str
    """Canonical digest of the design."""
    width: int
    params: int
    macs: int
    source: str
    """The base block's name, or the file it came from."""


class RoundOpened(Event):
    """The Director asks the Proposer for a round of designs."""

    round: int
    visible: int
    """The newest round whose results this round may see (r − 1 − lookahead); −1 sees none, not even the
    base's.
    """
    terminal: ClassVar[tuple[str, ...]] = ("RoundDesigned",)


class RoundDesigned(Event):
    """All of a round's designs are decided; which of its proposals count as candidates of their own."""

    round: int
    parent: str
    accepted: tuple[str, ...]
    duplicates: tuple[str, ...]
    abandoned: tuple[str, ...]


class RoundClosed(Event):
    """Every candidate of a round is trained or given up, and reflected upon: later rounds may see it
    whole.
    """

    round: int


class CampaignFinished(Event):
    """The campaign has ended in order."""

    reason: Literal["completed", "base-failed", "exhausted"]
    best: str | None
    """The candidate with the best validation accuracy (or chosen objective)."""
    detail: str = ""


class CampaignPaused(Event):
    """A process left the campaign in order (Ctrl-C, or a cap was reached); it can be resumed."""

    reason: str


class CampaignResumed(Event):
    """A process took the campaign up again."""

    nader_version: str


def _reached_later_causes_alone(data: dict[str, Any]) -> dict[str, Any]:
    """Up to version 2 a handling worked under the settings of its cause, however late it began."""
    return {"pending": False, **data}


class SettingsChanged(Event):
    """The settings from here on: at a fork, or at a resume with a new budget."""

    changes: dict[str, Any]
    """Changed keys, dotted, with their new values."""
    settings: dict[str, Any]
    """The whole of the settings after the change."""
    ground: Ground
    designer: str
    pending: bool = True
    """Whether they hold too for the handling of an earlier event, where that had not begun; false in logs of
    before that was so.
    """
    version: ClassVar[int] = 3
    upcasters: ClassVar[dict[int, Upcaster]] = {1: _without_library_heads, 2: _reached_later_causes_alone}


class Forked(Event):
    """The first event of a branch: where it leaves its parent, and what is different from there on."""

    parent: str
    at: int
    """The last event shared with the parent."""
    open_requests: Literal["reissue", "cancel"]
    reuse: bool
    """Answers to byte-identical requests are taken from the parent's later history."""


class HandlerFailed(Event):
    """A handler raised; it is tried again with a pause, then given up."""

    actor: str
    attempt: int
    error: str
    traceback: str
    final: bool
    """Whether it was given up with this."""
