"""Which setting has to be raised for what a cap has paused to go on."""

import re

_CAP = re.compile(
    r"budget: the (?:(campaign|\w+)'s cap on (money|tokens|time)|cap of \S+ (hours) of running) is "
)
"""The reasons that `nader.llm.budget` and `nader.hours` give."""


def cap_reached(reason: str) -> str | None:
    """The dotted name of the setting whose cap is the reason of a pause; None where it is another."""
    found = _CAP.match(reason)
    if found is None:
        return None
    whose, what, hours = found.groups()
    kind = hours or {"time": "hours"}.get(what, what)
    return f"budget.{kind}" if whose in (None, "campaign") else f"budget.{kind}_per_agent.{whose}"


def resume_options(reason: str) -> str:
    """What `nader resume` needs beside the run's name after a pause for that reason, with a space before it;
    empty where it needs nothing.
    """
    key = cap_reached(reason)
    if key is None:
        return ""
    return " --budget …" if key == "budget.money" else f" --set {key}=…"
