"""What an answer says once it is read: one frozen value a kind of question."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """What an answer says, once read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Relevance(Answer):
    """Can the paper inspire the design of a block?"""

    reason: str = ""
    relevant: bool


class Inspirations(Answer):
    """Ideas found in a paper, or none."""

    reason: str = ""
    """Thoughts before the answer, where it came as JSON: a schema leaves no other place for them."""
    inspirations: tuple[Annotated[str, Field(min_length=1)], ...]


class Ranking(Answer):
    """Ids of inspirations, the most useful first, none twice."""

    reason: str = ""
    """Thoughts before the answer, where it came as JSON: a schema leaves no other place for them."""
    ids: tuple[str, ...] = Field(min_length=1)


class Proposals(Answer):
    """Modifications proposed without literature."""

    reason: str = ""
    """Thoughts before the answer, where it came as JSON: a schema leaves no other place for them."""
    proposals: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)


class BlockText(Answer):
    """The text of one block, not yet parsed."""

    text: str = Field(min_length=1)


class StemAndDownsample(Answer):
    """The texts of the two blocks that go with a cell."""

    stem: str = Field(min_length=1)
    downsample: str = Field(min_length=1)


class Tip(Answer):
    """One general piece of advice."""

    text: str = Field(min_length=1)


class Judgement(Answer):
    """Does the modified block follow its suggestion?"""

    reason: str = ""
    follows: bool


class Code(Answer):
    """Source text of a Python module."""

    text: str = Field(min_length=1)
