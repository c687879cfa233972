"""One training from first to last epoch: what a recipe says, step by step, resumable at any step."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn
from torch.nn.functional import cross_entropy

from nader.network import Skeleton
from nader.training.augment import Augmenter, Draws, Normaliser, draw_epoch, padding_of
from nader.training.datasets import Dataset, Part, balanced_subset
from nader.training.errors import NotFiniteError, StoppedError
from nader.training.files import CHECKPOINT, WEIGHTS, write_atomic
from nader.training.job import Curve, EpochPoint, Progress, Trained, TrainingJob
from nader.training.measure import PeakMemory, latency_ms
from nader.training.model import build_model, cost_of, skeleton_of
from nader.training.optimiser import Sgd
from nader.training.recipes import Recipe
from nader.training.state import Position, load_checkpoint, save_checkpoint

EVALUATION_BATCH = 500
CHECK_EVERY = 50
"""Steps between looks at the loss within an epoch: a look waits for the device."""


class Training:
    """A job, its data on the device, and its state; `run` takes it to the end."""

    def __init__(
        self,
        job: TrainingJob,
        dataset: Dataset,
        folder: Path,
        device: torch.device,
        *,
        skeleton: Skeleton | None = None,
    ) -> None:
        """Build the network, by a skeleton of one's own if given, and take up the checkpoint in `folder`."""
        self.job, self.recipe, self.dataset, self.folder, self.device = (
            job,
            job.recipe,
            dataset,
            folder,
            device,
        )
        self.digest = job.digest
        folder.mkdir(parents=True, exist_ok=True)
        self.memory = PeakMemory(device)
        torch.manual_seed(job.seed)
        self._skeleton = skeleton or skeleton_of(job, dataset.info)
        model = build_model(job, self._skeleton)
        self._layout = torch.channels_last if self.recipe.channels_last else torch.contiguous_format
        self.model: nn.Module = model.to(device).to(memory_format=self._layout)
        self._forward: Callable[[torch.Tensor], torch.Tensor] = self.model
        if self.recipe.compile:
            torch.compiler.reset()  # else a warm worker reaches the limit of recompilations
            self._forward = torch.compile(self.model)
        self.optimiser = Sgd(self.model.parameters(), self.recipe)
        self._generator = torch.Generator().manual_seed(job.seed)
        self._place_data()
        self.at = self._resume()
        self._say: Callable[[Progress], None] = lambda progress: None
        self._stopped: Callable[[], bool] = lambda: False
        self._step_done: Callable[[], None] = lambda: None

    def _place_data(self) -> None:
        info, recipe = self.dataset.info, self.recipe
        train, validation = self.dataset.train, self.dataset.validation
        if recipe.train_images is not None:
            train = balanced_subset(train, recipe.train_images, info.classes)
        if recipe.validation_images is not None and validation is not None:
            validation = balanced_subset(validation, recipe.validation_images, info.classes)
        self._padding = padding_of(recipe, info.height)
        self._augmenter = Augmenter(train.images.to(self.device), self._padding)
        self._labels = train.labels.to(self.device)
        self._validation = self._placed(validation)
        self._normalise = Normaliser(info.mean, info.std, self.device)
        self.steps = math.ceil(len(train) / recipe.batch)

    def _placed(self, part: Part | None) -> Part | None:
        return part and Part(part.images.to(self.device), part.labels.to(self.device))

    def _resume(self) -> Position:
        found = load_checkpoint(self.folder, self.digest, self.model, self.optimiser, self.device)
        self.resumed_from = found.epoch if found else None
        if found is not None:
            self._generator.set_state(found.epoch_rng)
            return found
        zero = torch.zeros((), dtype=torch.float64, device=self.device)
        return Position(loss_sum=zero, correct=zero.long(), epoch_rng=self._generator.get_state())

    def run(
        self,
        on_progress: Callable[[Progress], None] = lambda _: None,
        stopped: Callable[[], bool] = lambda: False,
        decide: Callable[[Curve], None] = lambda _: None,
        step_done: Callable[[], None] = lambda: None,
    ) -> Trained:
        """Train to the end and measure.

        `decide` sees the curve after each epoch and raises to stop. Raises NotFiniteError; StoppedError, once
        the checkpoint is written, where `stopped` says so; DiskFullError.
        """
        self._say, self._stopped, self._step_done = on_progress, stopped, step_done
        self._began = time.perf_counter() - self.at.seconds
        with _numerics(self.recipe) as deterministic:
            on_progress(self._progress("starting"))
            decide(tuple(self.at.curve))
            while self.at.epoch < self.recipe.epochs:
                point = self._epoch()
                on_progress(self._progress("training", point))
                decide(tuple(self.at.curve))
                last = self.at.epoch == self.recipe.epochs
                if self.at.epoch % self.recipe.checkpoint_every == 0 and not last:
                    self._checkpoint()
            return self._finish(deterministic)

    def run_epochs(self, count: int) -> None:
        """Only train for so many epochs: no checkpoint, no result (for benchmarks)."""
        with _numerics(self.recipe):
            for _ in range(count):
                self._epoch()

    def _epoch(self) -> EpochPoint:
        """The rest of the epoch the state stands in, and its evaluation."""
        at, recipe, began = self.at, self.recipe, time.perf_counter()
        lr = self.optimiser.lr = recipe.lr_at(at.epoch)
        draws = draw_epoch(len(self._labels), self._padding, recipe.flip, self._generator).to(self.device)
        self.model.train()
        for step in range(at.step, self.steps):
            if self._stopped():
                self._checkpoint()
                raise StoppedError(f"Stopped in epoch {at.epoch + 1} at step {step} of {self.steps}.")
            self._step(draws, step)
        train_loss = self._checked_loss()
        accuracy = at.correct.item() / len(self._labels)
        validation = self._evaluate_epoch()
        point = EpochPoint(
            epoch=at.epoch + 1,
            lr=lr,
            train_loss=train_loss,
            train_accuracy=accuracy,
            validation_loss=validation and validation[0],
            validation=validation and validation[1],
            seconds=time.perf_counter() - began,
        )
        at.epoch, at.step, at.epoch_rng = at.epoch + 1, 0, self._generator.get_state()
        at.loss_sum, at.correct = torch.zeros_like(at.loss_sum), torch.zeros_like(at.correct)
        at.curve.append(point)
        return point

    def _step(self, draws: Draws, step: int) -> None:
        start = step * self.recipe.batch
        images, index = self._augmenter.batch(draws, start, start + self.recipe.batch)
        labels = self._labels[index]
        inputs = self._normalise(images).contiguous(memory_format=self._layout)
        with self._precision():
            logits = self._forward(inputs)
            loss = cross_entropy(logits, labels)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.at.loss_sum += loss.detach().double() * len(labels)
        self.at.correct += (logits.detach().argmax(1) == labels).sum()
        self.at.step = step + 1
        self._step_done()
        if self.at.step % CHECK_EVERY == 0:
            self._checked_loss()
            self._say(self._progress("training"))

    def _checked_loss(self) -> float:
        """Mean training loss of the epoch so far. Raises NotFiniteError."""
        seen = min(self.at.step * self.recipe.batch, len(self._labels))
        loss = self.at.loss_sum.item() / max(seen, 1)
        if not math.isfinite(loss):
            raise NotFiniteError(self._not_finite("training loss"))
        return loss

    def _not_finite(self, what: str) -> str:
        at = self.at
        bad = [name for name, p in self.model.named_parameters() if not torch.isfinite(p).all()]
        where = (
            f" Weights that are no longer finite: {', '.join(bad[:5])}."
            if bad
            else " All weights are finite."
        )
        before = f" The last finite epoch had loss {at.curve[-1].train_loss:.4g}." if at.curve else ""
        return (
            f"The {what} became NaN or infinite in epoch {at.epoch + 1} of {self.recipe.epochs}, by step "
            f"{at.step} of {self.steps}, at learning rate {self.recipe.lr_at(at.epoch):.4g}.{before}{where}"
        )

    def _evaluate_epoch(self) -> tuple[float, float] | None:
        number = self.at.epoch + 1
        if self._validation is None or (number % self.recipe.evaluate_every and number != self.recipe.epochs):
            return None
        self._say(self._progress("evaluating"))
        loss, accuracy = self.evaluate(self._validation)
        if not math.isfinite(loss):
            raise NotFiniteError(self._not_finite("validation loss"))
        return loss, accuracy

    @torch.no_grad()
    def evaluate(self, part: Part) -> tuple[float, float]:
        """Mean cross-entropy and accuracy (a fraction) over a part, no augmentation."""
        self.model.eval()
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        for start in range(0, len(part), EVALUATION_BATCH):
            images = part.images[start : start + EVALUATION_BATCH]
            labels = part.labels[start : start + EVALUATION_BATCH]
            with self._precision():
                logits = self._forward(self._normalise(images).contiguous(memory_format=self._layout))
            loss += cross_entropy(logits.float(), labels, reduction="sum").double()
            correct += (logits.argmax(1) == labels).sum()
            self._step_done()
        return loss.item() / len(part), correct.item() / len(part)

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        if self.recipe.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _checkpoint(self) -> None:
        self.at.seconds = time.perf_counter() - self._began
        save_checkpoint(self.folder, self.digest, self.model, self.optimiser, self.at, self.device)

    def _progress(self, stage: str, point: EpochPoint | None = None) -> Progress:
        at, total = self.at, self.recipe.epochs * self.steps
        return Progress(
            stage=stage,  # type: ignore[arg-type]
            epoch=at.epoch,
            epochs=self.recipe.epochs,
            fraction=(at.epoch * self.steps + at.step) / total,
            resumed_from=self.resumed_from if stage == "starting" else None,
            point=point,
        )

    def _finish(self, deterministic: Callable[[], bool]) -> Trained:
        at = self.at
        test = self._placed(self.dataset.test)
        accuracy = self.evaluate(test)[1] if test is not None else None
        at.seconds = time.perf_counter() - self._began
        peak = self.memory.bytes()
        image = torch.zeros((1, *self.dataset.info.image), device=self.device)
        latency = latency_ms(self.model, image.contiguous(memory_format=self._layout))
        weights = save({k: v.detach().cpu().contiguous() for k, v in self.model.state_dict().items()})
        write_atomic(self.folder / WEIGHTS, weights)
        params, macs = cost_of(self.job, self._skeleton)
        return Trained(
            validation=at.curve[-1].validation,
            test=accuracy,
            train_loss=at.curve[-1].train_loss,
            epochs_run=at.epoch,
            seconds=at.seconds,
            params=params,
            macs=macs,
            latency_ms=latency,
            peak_memory_bytes=peak,
            curve=tuple(at.curve),
            device=_device_name(self.device),
            deterministic=deterministic(),
            seed=self.job.seed,
            weights_sha256=hashlib.sha256(weights).hexdigest(),
        )

    def forget_checkpoint(self) -> None:
        """Remove the checkpoint once the result is published."""
        (self.folder / CHECKPOINT).unlink(missing_ok=True)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'s' if threads > 1 else ''}"


@contextlib.contextmanager
def _numerics(recipe: Recipe) -> Iterator[Callable[[], bool]]:
    """Set precision and determinism as the recipe says; yields the question whether all was deterministic."""
    torch.backends.cuda.matmul.allow_tf32 = recipe.precision != "fp32"
    torch.backends.cudnn.allow_tf32 = recipe.precision != "fp32"
    torch.backends.cudnn.benchmark = not recipe.deterministic
    torch.backends.cudnn.deterministic = recipe.deterministic
    _use_deterministic(recipe.deterministic, recipe.compile)
    # Filling fresh memory guards against kernels that read it before they write; none here does.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield lambda: recipe.deterministic and not any("deterministic" in str(w.message) for w in caught)
    finally:
        _use_deterministic(False, recipe.compile)


def _use_deterministic(on: bool, compiled: bool) -> None:
    """Ask for deterministic kernels. The compiler is told too, but imported for it only where it is used."""
    if compiled:
        torch.use_deterministic_algorithms(on, warn_only=True)
    else:
        torch.set_deterministic_debug_mode("warn" if on else "default")
