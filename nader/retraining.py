"""Final figures of a candidate: other data sets, more seeds, the full recipe (paper appendix A3.3)."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from actors.network import limits_of
from actors.runtime import external
from actors.trainer import Result
from events import Envelope
from events.training import RetrainingRecorded
from nader.assembly import known_results, training_backend
from nader.errors import NaderError
from nader.graph import Design
from nader.ground import data_dir_of
from nader.network import NetworkError, Skeleton, WidthChoice, cost, get_skeleton, search_width
from nader.settings import CampaignSettings, validated
from nader.training import (
    Failed,
    Progress,
    Recipe,
    Trained,
    TrainingError,
    TrainingJob,
    data_status,
    dataset_identity,
    dataset_info,
    load_recipe,
)
from nader.workspace import Workspace, find_run, fold
from store import Log
from store.projections.tree import Candidate


class RetrainingError(NaderError):
    """A candidate that cannot be retrained as asked."""


@dataclass(frozen=True)
class Order:
    """What is to be trained."""

    dataset: str
    skeleton: str
    recipe: str | None
    """A recipe's name or TOML file; None takes the campaign's own, with its number of epochs."""
    seeds: tuple[int, ...]
    width: int | None = None
    """None searches the widest within the limits of the skeleton (or of the campaign's settings)."""


async def retrain(
    workspace: Workspace,
    run: str | None,
    candidate: str,
    order: Order,
    on_progress: Callable[[int, Progress], None] = lambda seed, progress: None,
) -> RetrainingRecorded:
    """Train a candidate anew and record its figures in the run's log.

    An equal training that was finished before, by any run of the workspace, is adopted; one that was broken
    off goes on. Figures that the run's log holds already, all of them, are not recorded again. Raises
    `RetrainingError`.
    """
    with workspace.reader() as reader:
        branch = find_run(reader, run).name
        views, history = fold(reader, branch)
        found = views.tree.candidate(candidate)
        if found is None or found.design is None:
            raise RetrainingError(
                f"{branch} has no designed candidate {candidate!r}; `nader tree` lists them"
            )
        design = Design.from_text(reader.blob(found.design).decode("utf-8"))
    settings = validated(views.status.settings(), where="the log's settings")
    own = Recipe.model_validate(views.status.ground().recipe)
    jobs, choice = _jobs(design, settings, order, own)
    workspace.create()
    log = await Log.open(workspace.log)
    try:
        known = known_results(log)
        event = await _train(workspace, settings, jobs, known, found, choice, order, on_progress)
        if not any(_says_the_same(event, e) for e in history.events if e.correlation == candidate):
            await log.append(branch, [external(event, about=candidate)])
        return event
    finally:
        await log.close()


def _says_the_same(event: RetrainingRecorded, earlier: Envelope) -> bool:
    """Whether nothing was trained for an event, and an earlier one holds its figures already."""
    known = earlier.event if earlier.type == RetrainingRecorded.__name__ else None
    if not isinstance(known, RetrainingRecorded) or event.failures or "" in event.adopted:
        return False
    return event.model_copy(update={"adopted": known.adopted}) == known


def _jobs(
    design: Design, settings: CampaignSettings, order: Order, own: Recipe
) -> tuple[list[TrainingJob], WidthChoice]:
    try:
        status = data_status(order.dataset, data_dir_of(settings))
        if not status.ready:
            raise RetrainingError(status.message)
        info = dataset_info(order.dataset, data_dir_of(settings))
        skeleton = get_skeleton(order.skeleton).for_image(info.channels, info.height, info.width)
        data = dataset_identity(order.dataset, data_dir_of(settings))
        recipe = own if order.recipe is None else load_recipe(order.recipe)
        choice = _width(design, settings, order, skeleton, info.classes)
    except (TrainingError, NetworkError) as error:
        raise RetrainingError(str(error)) from None
    return [
        TrainingJob(
            design=design.to_text(),
            skeleton=order.skeleton,
            width=choice.width,
            classes=info.classes,
            dataset=order.dataset,
            recipe=recipe,
            seed=seed,
            data=data,
            data_dir=data_dir_of(settings),
            device=settings.training.device,
        )
        for seed in order.seeds
    ], choice


def _width(
    design: Design, settings: CampaignSettings, order: Order, skeleton: Skeleton, classes: int
) -> WidthChoice:
    if order.width is not None:
        return WidthChoice(order.width, cost(design, skeleton, order.width, classes))
    limits = (
        limits_of(settings, skeleton) if order.skeleton == settings.training.skeleton else skeleton.limits
    )
    return search_width(design, skeleton, classes, limits)


@dataclass(frozen=True)
class _Figures:
    """What a seed came to; accuracies in percent."""

    seed: int
    validation: float | None
    test: float | None
    seconds: float
    adopted: str


def _recorded(job: TrainingJob, source: str, result: Result) -> _Figures:
    return _Figures(job.seed, result.validation, result.test, result.seconds, source)


def _measured(job: TrainingJob, trained: Trained) -> _Figures:
    figures = [None if f is None else round(100 * f, 4) for f in (trained.validation, trained.test)]
    return _Figures(job.seed, figures[0], figures[1], trained.seconds, "folder" if trained.adopted else "")


async def _train(
    workspace: Workspace,
    settings: CampaignSettings,
    jobs: list[TrainingJob],
    known: Mapping[str, tuple[str, Result]],
    candidate: Candidate,
    choice: WidthChoice,
    order: Order,
    on_progress: Callable[[int, Progress], None],
) -> RetrainingRecorded:
    """Adopt what is known, train the rest, and put it together."""
    names = {job.seed: job.digest for job in jobs}
    done = {job.seed: _recorded(job, *known[names[job.seed]]) for job in jobs if names[job.seed] in known}
    failures = {}
    to_train = [job for job in jobs if job.seed not in done]
    for job, outcome in await _outcomes(workspace, settings, to_train, names, on_progress):
        if isinstance(outcome, Trained):
            done[job.seed] = _measured(job, outcome)
        else:
            failures[job.seed] = outcome.message
    if not done:
        raise RetrainingError(
            f"no training of {candidate.id} gave a result: {next(iter(failures.values()), '')}"
        )
    rows = [done[job.seed] for job in jobs if job.seed in done]
    return RetrainingRecorded(
        candidate=candidate.id,
        dataset=order.dataset,
        recipe=jobs[0].recipe.name,
        recipe_digest=jobs[0].recipe.digest,
        seeds=tuple(row.seed for row in rows),
        width=choice.width,
        params=choice.cost.params,
        macs=choice.cost.macs,
        validation=tuple(row.validation for row in rows),
        test=tuple(row.test for row in rows),
        seconds=tuple(row.seconds for row in rows),
        adopted=tuple(row.adopted for row in rows),
        jobs=tuple(names.values()),
        failures=tuple(f"seed {job.seed}: {failures[job.seed]}" for job in jobs if job.seed in failures),
    )


async def _outcomes(
    workspace: Workspace,
    settings: CampaignSettings,
    jobs: list[TrainingJob],
    names: Mapping[int, str],
    on_progress: Callable[[int, Progress], None],
) -> list[tuple[TrainingJob, Trained | Failed]]:
    if not jobs:
        return []
    backend = training_backend(settings)
    try:
        trainings = (
            backend.train(job, workspace.trainings / names[job.seed], partial(on_progress, job.seed))
            for job in jobs
        )
        return list(zip(jobs, await asyncio.gather(*trainings), strict=True))
    finally:
        await backend.close()
