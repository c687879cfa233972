"""Final figures of a candidate: other data sets, more seeds, the full recipe (paper appendix A3.3)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from actors.network import limits_of
from actors.runtime import external
from events.training import RetrainingRecorded
from nader.assembly import training_backend
from nader.errors import NaderError
from nader.graph import Design
from nader.ground import data_dir_of
from nader.network import NetworkError, Skeleton, WidthChoice, cost, get_skeleton, search_width
from nader.settings import CampaignSettings, validated
from nader.training import (
    Progress,
    Recipe,
    Trained,
    TrainingError,
    TrainingJob,
    data_status,
    dataset_info,
    get_recipe,
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
    recipe: str
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

    A training that was finished before is adopted, one that was broken off goes on. Raises `RetrainingError`.
    """
    with workspace.reader() as reader:
        branch = find_run(reader, run).name
        views, _ = fold(reader, branch)
        found = views.tree.candidate(candidate)
        if found is None or found.design is None:
            raise RetrainingError(
                f"{branch} has no designed candidate {candidate!r}; `nader tree` lists them"
            )
        design = Design.from_text(reader.blob(found.design).decode("utf-8"))
    settings = validated(views.status.settings(), where="the log's settings")
    jobs, choice = _jobs(design, settings, order)
    workspace.create()
    log = await Log.open(workspace.log)
    try:
        event = await _train(workspace, settings, jobs, found, choice, order, on_progress)
        await log.append(branch, [external(event, about=candidate)])
        return event
    finally:
        await log.close()


def _jobs(design: Design, settings: CampaignSettings, order: Order) -> tuple[list[TrainingJob], WidthChoice]:
    try:
        status = data_status(order.dataset, data_dir_of(settings))
        if not status.ready:
            raise RetrainingError(status.message)
        info = dataset_info(order.dataset, data_dir_of(settings))
        skeleton = get_skeleton(order.skeleton).for_image(info.channels, info.height, info.width)
        recipe = (
            load_recipe(Path(order.recipe)) if order.recipe.endswith(".toml") else get_recipe(order.recipe)
        )
        choice = _width(design, settings, order, skeleton, info.classes)
    except (TrainingError, NetworkError) as error:
        raise RetrainingError(str(error)) from None
    return [
        _job(design, settings, order, recipe, choice.width, info.classes, seed) for seed in order.seeds
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


def _job(
    design: Design,
    settings: CampaignSettings,
    order: Order,
    recipe: Recipe,
    width: int,
    classes: int,
    seed: int,
) -> TrainingJob:
    return TrainingJob(
        design=design.to_text(),
        skeleton=order.skeleton,
        width=width,
        classes=classes,
        dataset=order.dataset,
        recipe=recipe,
        seed=seed,
        data_dir=data_dir_of(settings),
        device=settings.training.device,
    )


async def _train(
    workspace: Workspace,
    settings: CampaignSettings,
    jobs: list[TrainingJob],
    candidate: Candidate,
    choice: WidthChoice,
    order: Order,
    on_progress: Callable[[int, Progress], None],
) -> RetrainingRecorded:
    backend = training_backend(settings)
    try:
        outcomes = await asyncio.gather(
            *(
                backend.train(job, workspace.trainings / job.digest, partial(on_progress, job.seed))
                for job in jobs
            )
        )
    finally:
        await backend.close()
    done = [(job, o) for job, o in zip(jobs, outcomes, strict=True) if isinstance(o, Trained)]
    if not done:
        raise RetrainingError(
            f"no training of {candidate.id} gave a result: {getattr(outcomes[0], 'message', '')}"
        )
    return RetrainingRecorded(
        candidate=candidate.id,
        dataset=order.dataset,
        recipe=jobs[0].recipe.name,
        recipe_digest=jobs[0].recipe.digest,
        seeds=tuple(job.seed for job, _ in done),
        width=choice.width,
        params=choice.cost.params,
        macs=choice.cost.macs,
        validation=tuple(round(100 * (o.validation or 0.0), 4) for _, o in done),
        test=tuple(round(100 * (o.test or 0.0), 4) for _, o in done),
        seconds=tuple(o.seconds for _, o in done),
        jobs=tuple(job.digest for job in jobs),
        failures=tuple(
            f"seed {job.seed}: {o.message}"
            for job, o in zip(jobs, outcomes, strict=True)
            if not isinstance(o, Trained)
        ),
    )
