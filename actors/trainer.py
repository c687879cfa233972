"""The Trainer: an agent that has every new design trained, and the effector that runs the trainings."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from actors.actor import Agent, Effector, handles
from actors.asking import settings_at
from actors.context import AgentContext, EffectorContext
from actors.director import BASE
from actors.gate import PriorityGate
from actors.runtime import MustPause
from events import Envelope, Event
from events.campaign import BaseDesigned
from events.development import DesignReady
from events.training import (
    CandidateFailed,
    CandidateTrained,
    EpochFinished,
    ResultReused,
    TrainingCompleted,
    TrainingFailed,
    TrainingRequested,
    TrainingStarted,
)
from nader.training import (
    Backend,
    Curve,
    EpochPoint,
    Failed,
    FailureKind,
    Progress,
    Recipe,
    Trained,
    TrainingJob,
    job_digest,
)

Result = TrainingCompleted | ResultReused

AWAY = {
    FailureKind.DISK_FULL.value: "free some space",
    FailureKind.DATA_MISSING.value: "put the data back",
    FailureKind.DATA_CHANGED.value: "put the files back as they were",
    FailureKind.NO_ROOM.value: "make room in the cluster",
}
"""Failures that are no fault of a network's, and what a person does about them."""


class Trainer(Agent):
    """Asks for the trainings of a design, one a seed, and records the candidate's figures."""

    name = "trainer"
    concurrency = 256

    @handles(BaseDesigned)
    async def on_base(self, ctx: AgentContext, base: BaseDesigned) -> None:
        """The base block is trained first: it is what all are compared with."""
        await self._train(ctx, base, (0, 0))

    @handles(DesignReady)
    async def on_design(self, ctx: AgentContext, design: DesignReady) -> None:
        """A design is trained as soon as it is ready, unless it is known as of now to be an earlier one
        again.
        """
        candidate = ctx.views.tree.candidate(design.candidate, ctx.view)
        assert candidate is not None
        place = (candidate.round, candidate.index)
        if ctx.views.tree.by_digest(design.digest, ctx.view, before=place) is None:
            await self._train(ctx, design, place)

    def give_up(self, cause: Event, error: str) -> list[Event]:
        """A candidate without a result."""
        assert isinstance(cause, BaseDesigned | DesignReady)
        return [
            CandidateFailed(candidate=cause.candidate, digest=cause.digest, kind="handler", message=error)
        ]

    async def _train(
        self, ctx: AgentContext, design: BaseDesigned | DesignReady, place: tuple[int, int]
    ) -> None:
        settings, ground = settings_at(ctx), ctx.views.status.ground(ctx.under)
        training = settings.training
        recipe = Recipe.model_validate(ground.recipe)
        requests = []
        for seed in training.seeds:
            requests.append(
                TrainingRequested(
                    candidate=design.candidate,
                    job=job_digest(
                        design=design.digest,
                        skeleton=training.skeleton,
                        width=design.width,
                        classes=ground.classes,
                        data=ground.data,
                        recipe=recipe.digest,
                        seed=seed,
                    ),
                    design=design.design,
                    digest=design.digest,
                    skeleton=training.skeleton,
                    width=design.width,
                    classes=ground.classes,
                    dataset=training.dataset,
                    recipe=recipe.model_dump(mode="json"),
                    seed=seed,
                    priority=place,
                )
            )
        answers = await asyncio.gather(*(ctx.ask(r, name=f"seed-{r.seed}") for r in requests))
        await ctx.emit(summarise(design, requests, [a.event for a in answers]))


def summarise(
    design: BaseDesigned | DesignReady, requests: list[TrainingRequested], answers: list[Event]
) -> CandidateTrained | CandidateFailed:
    """A candidate's figures: means over all seeds; a failure where one of them gave no result.

    A mean over the seeds that happened to succeed would not compare with one over all of them.
    """
    results: list[tuple[int, Result]] = []
    failures: list[tuple[str, str]] = []
    for request, answer in zip(requests, answers, strict=True):
        if isinstance(answer, TrainingCompleted | ResultReused):
            results.append((request.seed, answer))
        elif isinstance(answer, TrainingFailed):
            failures.append((answer.kind, answer.message))
        else:
            failures.append(("cancelled", "the training was cancelled at a fork"))
    if failures:
        kind, message = failures[0]
        if len(requests) > 1:
            message = f"{len(failures)} of {len(requests)} seeds gave no result: {message}"
        return CandidateFailed(candidate=design.candidate, digest=design.digest, kind=kind, message=message)
    first_result = results[0][1]
    return CandidateTrained(
        candidate=design.candidate,
        digest=design.digest,
        validation=_mean([r.validation for _, r in results]),
        test=_mean([r.test for _, r in results if r.test is not None])
        if first_result.test is not None
        else None,
        seeds=tuple(seed for seed, _ in results),
        validations=tuple(r.validation for _, r in results),
        loss=_mean([r.loss for _, r in results]),
        losses=first_result.losses,
        seconds=sum(r.seconds for _, r in results),
        params=first_result.params,
        macs=first_result.macs,
        latency_ms=first_result.latency_ms,
        peak_memory=first_result.peak_memory,
    )


class Training(Effector):
    """Runs trainings on the slots of a backend, and never one twice.

    A finished training is found by its folder (named by the job) or in the log of any run in the workspace;
    of two open requests for one job the first trains and the other adopts its result.
    """

    name = "training"
    concurrency = 256
    ends_softly = True

    def __init__(
        self,
        backend: Backend,
        folder: Path,
        known: Mapping[str, tuple[str, Result]],
        *,
        data_dir: str | None,
        device: str,
        hopeless: bool,
        on_progress: Callable[[str, Progress], None] = lambda job, progress: None,
    ) -> None:
        self._backend = backend
        self._folder = folder
        self._known = dict(known)
        """Results in the workspace's log by job: where each stands, and the event."""
        self._data_dir = data_dir
        self._device = device
        self._hopeless = hopeless
        self._on_progress = on_progress
        self._running: dict[str, asyncio.Future[Event]] = {}
        self._away: int | None = None
        """Trainings in a row that ended for want of disk, data or room; None before the log was asked."""
        self._pausing = ""
        """Why the campaign pauses: trainings that wait for a slot are then not begun."""
        self._slots = PriorityGate(backend.slots)

    @handles(TrainingRequested)
    async def perform(self, ctx: EffectorContext, request: Envelope) -> Event:
        """Train, adopt or share; returns the terminal event."""
        asked = request.event
        assert isinstance(asked, TrainingRequested)
        while asked.job not in self._known and asked.job in self._running:
            await asyncio.wait([self._running[asked.job]])
        if asked.job in self._known:
            source, result = self._known[asked.job]
            return ResultReused(source=source, **result.model_dump(include=_SHARED))
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._running[asked.job] = future
        try:
            baseline = await self._baseline(ctx, asked)
            async with self._slots.turn(asked.priority):
                if self._pausing:
                    raise MustPause(self._pausing)
                terminal = await self._train(ctx, asked, baseline)
                self._pause_if_away(ctx, asked, terminal)
            if isinstance(terminal, TrainingCompleted):
                self._known[asked.job] = (f"{request.branch}:{request.position}", terminal)
            return terminal
        finally:
            del self._running[asked.job]
            future.cancel()

    def failure(self, request: Event, error: str) -> Event:
        """A training that could not even be started."""
        assert isinstance(request, TrainingRequested)
        return TrainingFailed(job=request.job, kind=FailureKind.PYTHON_ERROR.value, message=error)

    async def end(self) -> None:
        """Running trainings checkpoint and stop; the workers end."""
        await self._backend.close()

    def _pause_if_away(self, ctx: EffectorContext, asked: TrainingRequested, ended: Event) -> None:
        """Raise `MustPause` where disk, data or room stay away, so that they do not cost every candidate.

        Once is put down to the one candidate; the second time in a row, no training finished between, or
        the base's own training, without which there is nothing to compare with, leaves the request open.
        """
        away = isinstance(ended, TrainingFailed) and ended.kind in AWAY
        if self._away is None:
            self._away = ctx.history.failures_in_a_row(
                TrainingCompleted.__name__, TrainingFailed.__name__, AWAY
            )
        if isinstance(ended, TrainingCompleted):
            self._away = 0
        self._away += away
        if away and (self._away > 1 or asked.candidate == BASE):
            assert isinstance(ended, TrainingFailed)
            who = "the base" if asked.candidate == BASE else asked.candidate
            self._pausing = (
                f"the training of {who} cannot be done: {ended.message.rstrip('.')}; "
                f"{AWAY[ended.kind]}, and `nader resume` trains it again"
            )
            raise MustPause(self._pausing)

    async def _train(self, ctx: EffectorContext, asked: TrainingRequested, baseline: Curve | None) -> Event:
        job = TrainingJob(
            design=ctx.text(asked.design),
            skeleton=asked.skeleton,
            width=asked.width,
            classes=asked.classes,
            dataset=asked.dataset,
            recipe=Recipe.model_validate(asked.recipe),
            seed=asked.seed,
            data=ctx.views.status.ground().data,
            data_dir=self._data_dir,
            device=self._device,
        )
        queue: asyncio.Queue[Progress | None] = asyncio.Queue()
        reporter = asyncio.create_task(self._report(ctx, asked.job, queue))
        try:
            outcome = await self._backend.train(
                job, self._folder / asked.job, queue.put_nowait, baseline=baseline
            )
        except BaseException:
            reporter.cancel()
            raise
        queue.put_nowait(None)
        await reporter
        return terminal_event(asked.job, outcome)

    async def _report(self, ctx: EffectorContext, job: str, queue: "asyncio.Queue[Progress | None]") -> None:
        """Record each epoch; what lies between epochs goes to the display alone."""
        while (progress := await queue.get()) is not None:
            self._on_progress(job, progress)
            if progress.stage == "starting":
                await ctx.progress(
                    TrainingStarted(job=job, slot=progress.slot, first_epoch=(progress.resumed_from or 0) + 1)
                )
            if progress.point is not None:
                await ctx.progress(_epoch(job, progress.point, progress.epochs))

    async def _baseline(self, ctx: EffectorContext, asked: TrainingRequested) -> Curve | None:
        """The base's own curve, with the rule for hopeless candidates on; waits until the base is trained."""
        if not self._hopeless or asked.priority == (0, 0):
            return None
        while True:
            base = ctx.views.tree.candidate(BASE)
            if base is not None and (base.trained or base.failed):
                break
            await asyncio.sleep(0.05)
        losses = base.losses or ()
        return (
            tuple(
                EpochPoint(epoch=n, lr=0.0, train_loss=loss, train_accuracy=0.0)
                for n, loss in enumerate(losses, 1)
            )
            or None
        )


_SHARED = set(ResultReused.model_fields) - {"source"}


def terminal_event(job: str, outcome: Trained | Failed) -> Event:
    """A backend's outcome as the event that ends the request; accuracies in percent."""
    if isinstance(outcome, Trained):
        if outcome.validation is None:
            return TrainingFailed(
                job=job,
                kind=FailureKind.DATA_MISSING.value,
                message="The data set has no validation part, and the search chooses by validation accuracy.",
                epochs=outcome.epochs_run,
                seconds=outcome.seconds,
            )
        return TrainingCompleted(
            job=job,
            validation=round(100 * outcome.validation, 4),
            test=_percent(outcome.test),
            loss=outcome.train_loss,
            epochs=outcome.epochs_run,
            seconds=outcome.seconds,
            params=outcome.params,
            macs=outcome.macs,
            latency_ms=outcome.latency_ms,
            peak_memory=outcome.peak_memory_bytes,
            device=outcome.device,
            deterministic=outcome.deterministic,
            losses=tuple(point.train_loss for point in outcome.curve),
        )
    if outcome.kind is FailureKind.CANCELLED:
        raise asyncio.CancelledError
    return TrainingFailed(
        job=job,
        kind=outcome.kind.value,
        message=outcome.message,
        detail=outcome.evidence.model_dump_json() if outcome.evidence else outcome.detail[-4000:],
        epochs=outcome.evidence.epoch if outcome.evidence else len(outcome.curve),
        seconds=outcome.seconds,
    )


def _epoch(job: str, point: EpochPoint, epochs: int) -> EpochFinished:
    return EpochFinished(
        job=job,
        epoch=point.epoch,
        epochs=epochs,
        loss=point.train_loss,
        accuracy=100 * point.train_accuracy,
        rate=point.lr,
        seconds=point.seconds,
    )


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 4)


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 6)
