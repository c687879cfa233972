"""The inspirations that every new campaign starts with, shipped as package data."""

import tomllib
from functools import cache
from importlib.resources import files

from nader.literature.papers import Inspiration, Paper


@cache
def _load() -> tuple[Inspiration, ...]:
    data = tomllib.loads(
        files("nader.literature").joinpath("seed_inspirations.toml").read_text(encoding="utf-8")
    )
    papers = {key: Paper(**fields) for key, fields in data["papers"].items()}
    return tuple(
        Inspiration(id=f"seed-{entry['id']}", text=entry["text"], paper=papers[entry["paper"]])
        for entry in data["inspirations"]
    )


def seed_inspirations() -> list[Inspiration]:
    """The built-in knowledge base, in a fixed order; ids begin with `seed-`."""
    return list(_load())
