"""Whose vectors a campaign compares texts by, as a person is told it, beside the paper's."""

from nader.settings import CampaignSettings

PAPER = "text-embedding-ada-002"
"""The embedder of the paper (appendix A1.2)."""
PAPER_DIMENSION = 1536
"""The one size that it has."""
PAPERS_SKELETON = "nas-bench-201"
"""Who trains in this skeleton repeats the paper's experiments, and is told of the difference at the start."""


def embedder_said(settings: CampaignSettings) -> str:
    """The embedder, and what would make it the paper's where it is another."""
    llm = settings.llm
    named = "local hashed n-grams" if llm.embedder == "hashed" else f"the endpoint's {llm.embedding_model}"
    said = f"{named}, {llm.embedding_dimension:,} numbers"
    if llm.embedder_name == PAPER:
        return f"{said}, as in the paper"
    return (
        f"{said}; the paper used {PAPER}: llm.embedder = openai, llm.embedding_model = {PAPER}, "
        f"llm.embedding_dimension = {PAPER_DIMENSION}"
    )


def to_tell_at_start(settings: CampaignSettings) -> str | None:
    """What a campaign in the paper's skeleton says of its embedder as it starts."""
    if settings.training.skeleton != PAPERS_SKELETON:
        return None
    return f"Texts are compared by {embedder_said(settings)}"
