"""What the Reader found: papers, what it judged of them, and the inspirations it drew."""

from typing import Any, ClassVar

from pydantic import Field

from events.registry import Event


class ReadingStarted(Event):
    """A library is read from a source; the first event of each call of `nader read`."""

    library: str
    source: str
    settings: dict[str, Any]
    """The settings that the reading runs under: model, limits, embedder."""
    designer: str
    prompts: dict[str, str] = Field(default_factory=dict)
    """Blob digest of each prompt template of one's own."""
    maximum: int


class PaperFound(Event):
    """A paper that a source offers. Title and abstract are untrusted text."""

    paper: str
    """Digest that names the paper in this library."""
    title: str
    year: int | None
    ref: str
    """arXiv id, venue or file name."""
    abstract: str
    """Blob digest."""
    record: str
    """Blob digest: the source's own record as JSON, which says where the text is."""
    has_text: bool


class PaperTextRequested(Event):
    """The text of a paper is to be fetched and read; the work of the paper source."""

    paper: str
    terminal: ClassVar[tuple[str, ...]] = ("PaperTextRead", "PaperTextFailed")


class PaperTextRead(Event):
    """The method section of a paper, cut to the token budget."""

    paper: str
    section: str
    """Its heading."""
    first_page: int
    last_page: int
    pages: int
    text: str
    """Blob digest."""
    note: str = ""
    """What was left out, if anything: pages beyond the limit, a fallback in place of a method section."""


class PaperTextFailed(Event):
    """A paper whose text could not be had: broken, encrypted, scanned, too slow, not reachable."""

    paper: str
    kind: str
    message: str


class PaperJudged(Event):
    """Whether a paper bears on the design of network blocks, from its title and abstract."""

    paper: str
    relevant: bool
    reason: str


class InspirationsExtracted(Event):
    """What a model drew from a paper, before it is compared with what the library holds."""

    paper: str
    texts: tuple[str, ...]
    section: str
    page: int | None
    outcome: str
    """`read`, `not relevant`, or why nothing was drawn."""
    terminal: ClassVar[tuple[str, ...]] = ("PaperFinished",)


class PaperFinished(Event):
    """A paper is done with: how many inspirations it gave, or why none."""

    paper: str
    inspirations: int
    outcome: str
    """`read`, `not relevant`, or what failed."""


class InspirationRecorded(Event):
    """One idea for changing a block, with the place it comes from."""

    inspiration: str
    text: str
    title: str
    year: int | None
    ref: str
    section: str = ""
    page: int | None = None


class InspirationMerged(Event):
    """An inspiration that says what a recorded one says already; it is not entered again."""

    text: str
    into: str
    similarity: float
    paper: str


class InspirationRepeated(Event):
    """An inspiration that a campaign takes in, and that says what one of an earlier source says: it counts as
    that one. Recorded at the start, before the sources are attached.
    """

    source: str
    """Branch name of its library; empty: the shipped list."""
    inspiration: str
    """Its id there."""
    into_source: str
    into: str
    similarity: float


class KnowledgeIndexed(Event):
    """The vectors of inspirations, as they were computed once; never computed again."""

    inspirations: str
    """Blob digest: JSON list of inspiration ids."""
    vectors: str
    """Blob digest: float32, little endian, (n, dimension)."""
    embedder: str
    dimension: int
    count: int


class LibraryAttached(Event):
    """A library becomes part of a campaign's knowledge, as it stood at a position of its own stream."""

    library: str
    """Branch name of the library."""
    at: int
