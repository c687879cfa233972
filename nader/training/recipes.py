"""Training recipes as data: TOML files beside this module, or a user's own."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from nader.training.errors import RecipeError

NOT_IDENTITY = frozenset({"name", "about", "deviates_from", "checkpoint_every", "evaluate_every"})
"""Fields that cannot change a result, and so are not part of a recipe's digest."""


class Recipe(BaseModel):
    """How a network is trained. Two recipes with the same digest give the same result."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    about: str = ""
    deviates_from: str | None = None
    """The recipe this one is a named deviation from; `deviations()` lists the differences."""
    epochs: int = Field(ge=1)
    batch: int = Field(ge=2)
    lr: float = Field(gt=0)
    momentum: float = Field(ge=0, lt=1)
    nesterov: bool
    weight_decay: float = Field(ge=0)
    """On all parameters, biases and normalisation included."""
    schedule: Literal["cosine"] = "cosine"
    """lr · (1 + cos(π · epoch / epochs)) / 2, set once an epoch, no warm-up."""
    flip: float = Field(default=0.0, ge=0, le=1)
    """Probability of a horizontal flip."""
    crop: Literal["none", "side/8"] = "none"
    """Random crop after zero padding of an eighth of the side: 4 at 32×32, 2 at 16×16."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    channels_last: bool = False
    compile: bool = False
    deterministic: bool = True
    train_images: int | None = Field(default=None, ge=2)
    """Train on this many images, an equal share of each class, of the training part; None: all."""
    validation_images: int | None = Field(default=None, ge=1)
    evaluate_every: int = Field(default=1, ge=1)
    """Epochs between evaluations on the validation part; the last epoch is always evaluated."""
    checkpoint_every: int = Field(default=1, ge=1)

    @field_validator("nesterov")
    @classmethod
    def _needs_momentum(cls, value: bool, others: ValidationInfo) -> bool:
        """As `torch.optim.SGD` has it; the function beneath, which we call, would leave it out silently."""
        if value and others.data.get("momentum") == 0:
            raise PydanticCustomError("nesterov", "Nesterov's step needs a momentum above 0")
        return value

    @property
    def digest(self) -> str:
        """SHA-256 over every value that can change a result."""
        values = self.model_dump(mode="json", exclude=set(NOT_IDENTITY))
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def deviations(self) -> dict[str, tuple[Any, Any]]:
        """Field → (value in the recipe deviated from, value here); empty where it deviates from none."""
        if self.deviates_from is None:
            return {}
        other = get_recipe(self.deviates_from)
        names = [n for n in type(self).model_fields if n not in NOT_IDENTITY]
        return {
            n: (getattr(other, n), getattr(self, n)) for n in names if getattr(other, n) != getattr(self, n)
        }

    def lr_at(self, epoch: int) -> float:
        """The learning rate during `epoch`, counted from 0."""
        import math

        return self.lr * (1 + math.cos(math.pi * epoch / self.epochs)) / 2


def _shipped() -> dict[str, str]:
    folder = resources.files("nader.training") / "recipes_data"
    return {
        f.name.removesuffix(".toml"): f.read_text(encoding="utf-8")
        for f in folder.iterdir()
        if f.name.endswith(".toml")
    }


RECIPES: tuple[str, ...] = tuple(sorted(_shipped()))
"""Names of the recipes that come with NADER."""


@cache
def get_recipe(name: str) -> Recipe:
    """A shipped recipe by name. Raises RecipeError naming the nearest one."""
    texts = _shipped()
    if name not in texts:
        near = difflib.get_close_matches(name, texts, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(RECIPES)}."
        raise RecipeError(f"There is no recipe {name!r}; {hint}")
    return _from_toml(texts[name], name)


def load_recipe(source: str | Path) -> Recipe:
    """A recipe by shipped name or from a TOML file. Raises RecipeError with the key that is wrong."""
    path = Path(source)
    if path.suffix != ".toml":
        return get_recipe(str(source))
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"The recipe file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"Recipe {path.stem!r} is not TOML: it is not UTF-8 text.") from error
    return _from_toml(text, path.stem)


def _from_toml(text: str, name: str) -> Recipe:
    """Values of the file over those of the recipe it deviates from."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"Recipe {name!r} is not TOML: {error}.") from error
    unknown = [key for key in values if key not in Recipe.model_fields]
    if unknown:
        near = difflib.get_close_matches(unknown[0], Recipe.model_fields, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise RecipeError(f"Recipe {name!r} has an unknown key {unknown[0]!r}{hint}")
    inherited: dict[str, Any] = {}
    other = values.get("deviates_from")
    if other is not None:
        if not isinstance(other, str):
            raise RecipeError(f"Recipe {name!r}, key 'deviates_from': it takes the name of a recipe.")
        inherited = get_recipe(other).model_dump(exclude={"name", "about", "deviates_from"})
    try:
        return Recipe(**{**inherited, "name": name, **values})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise RecipeError(f"Recipe {name!r}, key {key!r}: {first['msg']}.") from error
