"""What tokens cost: a dated list of prices, to which settings add their own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, Field

_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})$")


class Price(BaseModel):
    """US dollars for a million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0)
    output: float = Field(default=0.0, ge=0)


class Prices(BaseModel):
    """Prices by model name, and the date they were true."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: str
    models: Mapping[str, Price]

    @classmethod
    def with_own(cls, own: Mapping[str, Price] | None = None) -> Prices:
        """The built-in list, with own prices in front."""
        listed = _listed()
        return cls(as_of=listed.as_of, models={**listed.models, **(own or {})})

    def of(self, model: str) -> Price | None:
        """The model's price; a dated release (`gpt-4o-2024-08-06`) costs what the undated name costs."""
        name = model.rsplit("/", 1)[-1]
        for known in (model, name, _DATED.sub("", name)):
            if known in self.models:
                return self.models[known]
        return None

    def cost(self, model: str, input_tokens: int, output_tokens: int) -> float | None:
        """US dollars, or None where the model's price is unknown."""
        price = self.of(model)
        if price is None:
            return None
        return (input_tokens * price.input + output_tokens * price.output) / 1e6


@cache
def _listed() -> Prices:
    data = json.loads(resources.files("nader.llm").joinpath("prices.json").read_text(encoding="utf-8"))
    return Prices(as_of=data["as_of"], models={k: Price(**v) for k, v in data["models"].items()})


def cost(model: str, input_tokens: int, output_tokens: int) -> float | None:
    """US dollars by the built-in list, or None where it does not know the model."""
    return _listed().cost(model, input_tokens, output_tokens)
