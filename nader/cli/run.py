"""`nader run`: a new campaign."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from nader.campaign import Campaign
from nader.cli.options import (
    DEFAULT_WORKSPACE,
    JsonOption,
    ModelOption,
    SetOption,
    WorkspaceOption,
    quoted,
    with_model,
)
from nader.cli.output import clean, stderr, stdout
from nader.cli.running import run_campaign
from nader.effect import RUN, require_effect
from nader.embedder import to_tell_at_start
from nader.ground import resolve_backend
from nader.settings import PRESETS, CampaignSettings, load_settings, named_keys
from nader.workspace import Workspace


def run(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE.toml", help="Settings (`nader settings --toml` prints a file to start from)."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option("--preset", "-p", help=f"Named settings: {', '.join(PRESETS)}.", show_default="digits"),
    ] = None,
    sets: SetOption = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Name of the run.", show_default="run-N")
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option("--candidates", "-c", help="Designs to train: short for --set search.candidates=…"),
    ] = None,
    model: ModelOption = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", help="US dollars to spend at most: short for --set budget.money=…"),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend", help="Where trainings run, local or ray: short for --set training.backend=…"
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Address of the Ray cluster: short for --set training.address=…"),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Start a campaign: design, train and compare networks until enough are trained or a cap is reached.

    Without a key it designs by built-in rules (shown as `rule-based`); with OPENAI_API_KEY or
    OPENAI_BASE_URL set it asks a language model. Everything goes into one log, so that it can be stopped
    at any moment (Ctrl-C once: in order; twice: now) and taken up with `nader resume`. With `--json`,
    progress goes to standard error and the result to standard output.
    """
    short = {
        "search.candidates": candidates, "budget.money": budget,
        "training.backend": quoted(backend), "training.address": quoted(address),
    }  # fmt: skip
    changes = [
        *with_model(sets, model),
        *(f"{key}={value}" for key, value in short.items() if value is not None),
    ]
    settings = resolve_backend(load_settings(file, preset, changes))
    require_effect(named_keys(changes), settings, RUN)
    status = asyncio.run(_run(Workspace.at(workspace), settings, name, as_json))
    if status:
        raise typer.Exit(status)


async def _run(workspace: Workspace, settings: CampaignSettings, name: str | None, as_json: bool) -> int:
    async with await Campaign.start(workspace, settings, name) as campaign:
        if said := to_tell_at_start(settings):
            (stderr() if as_json else stdout()).print(Text(clean(said)))
        return await run_campaign(campaign, as_json)
