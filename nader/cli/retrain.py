"""`nader retrain`: final figures of a candidate, apart from the search."""

import asyncio
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from events.training import RetrainingRecorded
from nader.cli.failures import INVALID
from nader.cli.options import DEFAULT_WORKSPACE, JsonOption, RunOption, WorkspaceOption
from nader.cli.output import (
    clean,
    count,
    duration,
    facts,
    mean_and_spread,
    percent,
    print_json,
    stderr,
    stdout,
    table,
)
from nader.cli.reading import open_run
from nader.errors import SettingsError
from nader.retraining import Order
from nader.retraining import retrain as train
from nader.training import Progress as Said
from nader.workspace import Workspace


def retrain(
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help="Its name, `best` or `base`.")],
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Data set.", show_default="the campaign's")
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds, joined by commas.")] = "777,888,999",
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", help="A recipe's name or TOML file.", show_default="the campaign's, epochs included"
        ),
    ] = None,
    skeleton: Annotated[
        str | None, typer.Option("--skeleton", "-s", help="Macro skeleton.", show_default="the campaign's")
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            "--width", min=1, help="Width of the network.", show_default="the widest within the limits"
        ),
    ] = None,
    run: RunOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Train a candidate anew, on other data, with more seeds or the full recipe, and record the figures in
    its log.

    The campaign's own figures and choices are not touched. An equal training that any run of the workspace
    finished is adopted; one that was stopped (Ctrl-C) goes on from its checkpoint. Figures that are recorded
    already are not recorded again. Device, memory and time limit of a training (`training.time_limit_s`)
    are the campaign's. `nader show CANDIDATE` lists what is recorded.
    """
    with open_run(workspace, run) as opened:
        chosen = opened.candidate(candidate).id
        name, training = opened.name, opened.views.status.settings()["training"]
    order = Order(
        dataset or training["dataset"], skeleton or training["skeleton"], recipe, _seeds(seeds), width
    )
    with _bars(stderr(), order.seeds) as progress:
        figures = asyncio.run(train(Workspace.at(workspace), name, chosen, order, progress))
    if as_json:
        print_json({"run": name, **figures.model_dump()})
    else:
        _print(stdout(), figures)
    if figures.failures:
        raise typer.Exit(INVALID)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise SettingsError(
            f"--seeds takes whole numbers joined by commas, such as 777,888,999; this is {text!r}"
        ) from None
    return tuple(dict.fromkeys(seeds))


class _bars:
    """A bar for each seed on a terminal; elsewhere nothing until the result."""

    def __init__(self, console: Console, seeds: tuple[int, ...]) -> None:
        columns = (
            TextColumn("seed {task.fields[seed]}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[said]}", markup=False),
        )
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._tasks = {
            seed: self._progress.add_task("", total=1.0, seed=seed, said="waiting") for seed in seeds
        }

    def __enter__(self) -> Callable[[int, Said], None]:
        self._progress.start()
        return self._update

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def _update(self, seed: int, said: Said) -> None:
        epoch = f"epoch {said.epoch}/{said.epochs}" if said.epochs else said.stage
        self._progress.update(self._tasks[seed], completed=said.fraction, said=epoch)


def _found(adopted: str) -> str:
    return "its folder" if adopted == "folder" else clean(adopted)


def _print(console: Console, figures: RetrainingRecorded) -> None:
    console.print(
        facts(
            [
                ("candidate", clean(figures.candidate)),
                ("data", clean(figures.dataset)),
                ("recipe", f"{clean(figures.recipe)} ({figures.recipe_digest[:12]})"),
                (
                    "network",
                    f"width {figures.width}, {count(figures.params)} parameters, {count(figures.macs)} MACs",
                ),
            ]
        )
    )
    shown = table("seed", ("validation", "right"), ("test", "right"), ("time", "right"), "result")
    rows = zip(figures.seeds, figures.validation, figures.test, figures.seconds, figures.adopted, strict=True)
    for seed, validation, test, seconds, adopted in rows:
        result = f"adopted from {_found(adopted)}" if adopted else "trained"
        shown.add_row(str(seed), percent(validation), percent(test), duration(seconds), result)
    asked = len(figures.seeds) + len(figures.failures)
    if asked > 1:
        name = f"mean of {len(figures.seeds)} of {asked} seeds" if figures.failures else "mean"
        shown.add_row(name, mean_and_spread(figures.validation), mean_and_spread(figures.test), "", "")
    console.print(shown)
    for failure in figures.failures:
        console.print(Text(clean(failure), style="red"))
