"""One message of a conversation with a model."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """A message: who speaks, and what is said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str
