"""Measure training, in ratios of one run: `python benchmarks/training.py [PART …]`; all parts without one.

augment     images a second on one core: batched augmentation against a torchvision DataLoader
loop        epoch time against a bare loop over tensors that are ready
overhead    wall time of trainings in a warm worker against the seconds spent in them
slots       trainings a second on two slots against one
separation  accuracy of base blocks under the digits recipe against the noise of their seeds
gpu         images a second and the GPU's idle share, against the reference pipeline (needs a GPU)
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision import transforms

from nader.graph import base_design
from nader.network import build_network, get_skeleton, search_width
from nader.training import (
    DATASETS,
    Dataset,
    LocalBackend,
    Recipe,
    Trained,
    TrainingJob,
    get_recipe,
    load_dataset,
)
from nader.training.augment import Augmenter, Normaliser, draw_epoch
from nader.training.datasets import Part
from nader.training.loop import Training

SEEDS = (777, 888, 999, 111, 222)
CIFAR = DATASETS["cifar10"]


def made_up(count: int) -> Part:
    """Images of CIFAR's size: what is measured does not depend on what they show."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, *CIFAR.image), generator=generator, dtype=torch.uint8)
    return Part(images, torch.randint(0, 10, (count,), generator=generator))


class PillowImages(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """The reference pipeline's data set: one Pillow image at a time, through torchvision's transforms."""

    def __init__(self, part: Part) -> None:
        self.pictures = [transforms.functional.to_pil_image(image) for image in part.images]
        self.labels = part.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.RandomCrop(32, padding=4),
                transforms.ToTensor(),
                transforms.Normalize([m / 255 for m in CIFAR.mean], [s / 255 for s in CIFAR.std]),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pictures[index]), self.labels[index]


def best(action: Callable[[], object], times: int = 5) -> float:
    """The least CPU time of several runs, in seconds: what the machine's other work disturbs least."""
    spent = []
    for _ in range(times):
        began = time.process_time()
        action()
        spent.append(time.process_time() - began)
    return min(spent)


def augment() -> None:
    """One pass over 5,000 images each way."""
    part, batch = made_up(5000), 256
    augmenter, normalise = Augmenter(part.images, 4), Normaliser(CIFAR.mean, CIFAR.std, torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)

    def ours() -> None:
        draws = draw_epoch(5000, 4, 0.5, generator)
        for start in range(0, 5000, batch):
            normalise(augmenter.batch(draws, start, start + batch)[0])

    loader = DataLoader(PillowImages(part), batch_size=batch, shuffle=True)
    fast, slow = 5000 / best(ours), 5000 / best(lambda: [None for _ in loader], times=3)
    print(f"augment: {fast:,.0f} images/s on one core, DataLoader {slow:,.0f}: {fast / slow:.1f} times")


def _job(base: str, recipe: Recipe, skeleton: str, dataset: str, width: int, seed: int = 777) -> TrainingJob:
    return TrainingJob(
        design=base_design(base).to_text(),
        skeleton=skeleton,
        width=width,
        classes=10,
        dataset=dataset,
        recipe=recipe,
        seed=seed,
    )


def loop() -> None:
    """The ResNet cell on CIFAR-sized images: our epoch against forward, backward and step alone."""
    count, batch = 1024, 128
    info = replace(CIFAR, train=count, validation=0, test=0)
    recipe = get_recipe("nas-bench-201").model_copy(
        update={"batch": batch, "epochs": 1000, "evaluate_every": 1000}
    )
    job = _job("resnet-basic", recipe, "nas-bench-201", "cifar10", 8)
    with tempfile.TemporaryDirectory() as folder:
        training = Training(job, Dataset(info, made_up(count), None, None), Path(folder), torch.device("cpu"))
        training.run_epochs(1)
        ready = [
            (torch.randn(batch, *CIFAR.image), torch.randint(0, 10, (batch,))) for _ in range(count // batch)
        ]
        model = build_network(base_design("resnet-basic"), get_skeleton("nas-bench-201"), 8, 10)
        optimiser = plain_sgd(model, recipe)

        def bare() -> None:
            for images, labels in ready:
                loss = cross_entropy(model(images), labels)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()

        bare()
        pairs = [(best(lambda: training.run_epochs(1), 1), best(bare, 1)) for _ in range(4)]
    ours, theirs = (min(column) for column in zip(*pairs, strict=True))
    print(
        f"loop: {ours:.2f} s an epoch of {count} images against {theirs:.2f} bare: {ours / theirs:.3f} times"
    )


def _small_jobs(count: int, epochs: int) -> list[TrainingJob]:
    recipe = get_recipe("digits").model_copy(update={"epochs": epochs})
    return [_job("resnet-basic", recipe, "digits", "digits", 12, seed) for seed in range(count)]


async def _train_all(slots: int, jobs: list[TrainingJob]) -> tuple[float, float]:
    """Wall time of all jobs on warm workers, and the sum of the seconds spent training in them."""
    with tempfile.TemporaryDirectory() as folder:
        backend = LocalBackend(slots)
        warm = [job.model_copy(update={"seed": 10_000 + i}) for i, job in enumerate(jobs[:slots])]
        await asyncio.gather(*(backend.train(w, Path(folder) / w.digest) for w in warm))
        began = time.perf_counter()
        outcomes = await asyncio.gather(*(backend.train(j, Path(folder) / j.digest) for j in jobs))
        wall = time.perf_counter() - began
        await backend.close()
    return wall, sum(o.seconds for o in outcomes if isinstance(o, Trained))


def overhead() -> None:
    """What a warm worker adds to each training: set-up, measuring, files, messages."""
    wall, training = asyncio.run(_train_all(1, _small_jobs(8, 20)))
    print(
        f"overhead: 8 trainings took {wall:.2f} s, {training:.2f} of it training: {wall / training:.3f} times"
    )


def slots() -> None:
    """Eight trainings on one slot, then on two."""
    jobs = _small_jobs(8, 30)
    one, two = (asyncio.run(_train_all(n, jobs))[0] for n in (1, 2))
    print(f"slots: 8 trainings took {one:.2f} s on one slot, {two:.2f} s on two: {one / two:.2f} times")


def separation() -> None:
    """Mean and deviation of the validation accuracy over seeds, a line a base block."""
    torch.set_num_threads(1)
    data, skeleton = load_dataset("digits"), get_skeleton("digits")
    figures = {}
    for base in ("convnext", "resnet-basic"):
        width = search_width(base_design(base), skeleton, 10, skeleton.limits).width
        began, found = time.process_time(), []
        for seed in SEEDS:
            job = _job(base, get_recipe("digits"), "digits", "digits", width, seed)
            with tempfile.TemporaryDirectory() as folder:
                found.append(Training(job, data, Path(folder), torch.device("cpu")).run().validation or 0.0)
        seconds = (time.process_time() - began) / len(SEEDS)
        mean, noise = figures[base] = (100 * statistics.mean(found), 100 * statistics.stdev(found))
        print(f"separation: {base} {mean:.1f} ± {noise:.2f} %, {seconds:.1f} CPU seconds each")
    (a, x), (b, y) = figures.values()
    noise = ((x * x + y * y) / 2) ** 0.5
    print(f"separation: {abs(a - b):.1f} points apart, {abs(a - b) / noise:.0f} times the noise")


def gpu() -> None:
    """The benchmark's ResNet cell at width 16 on made-up CIFAR images, on the first GPU."""
    if not torch.cuda.is_available():
        print("gpu: no GPU here")
        return
    device, count = torch.device("cuda:0"), 25_600
    part = made_up(count)
    info = replace(CIFAR, train=count, validation=0, test=0)
    slow = _reference_rate(part, device)
    print(f"gpu: {torch.cuda.get_device_name(device)}; reference, 4 loader processes: {slow:,.0f} images/s")
    for name in ("nas-bench-201", "nas-bench-201-12-fast", "nas-bench-201-fast"):
        recipe = get_recipe(name).model_copy(update={"evaluate_every": 1000, "epochs": 1000})
        job = _job("resnet-basic", recipe, "nas-bench-201", "cifar10", 16)
        with tempfile.TemporaryDirectory() as folder:
            training = Training(job, Dataset(info, part, None, None), Path(folder), device)
            training.run_epochs(2)
            torch.cuda.synchronize()
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
                training.run_epochs(1)
                torch.cuda.synchronize()
            began = time.perf_counter()
            training.run_epochs(2)
            torch.cuda.synchronize()
            wall = (time.perf_counter() - began) / 2
        busy = sum(event.self_device_time_total for event in profile.key_averages()) / 1e6
        idle = max(0.0, 1 - busy / wall)
        print(
            f"gpu: {name}: {count / wall:,.0f} images/s, {count / wall / slow:.2f} times; GPU idle {idle:.0%}"
        )


def plain_sgd(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """The optimiser of a loop that one would write by hand."""
    return torch.optim.SGD(
        model.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )


def _reference_rate(part: Part, device: torch.device) -> float:
    """Images a second of Pillow, torchvision and a DataLoader of four processes, with the same network."""
    loader = DataLoader(PillowImages(part), batch_size=256, shuffle=True, num_workers=4, pin_memory=True)
    model: nn.Module = build_network(base_design("resnet-basic"), get_skeleton("nas-bench-201"), 16, 10).to(
        device
    )
    optimiser = plain_sgd(model, get_recipe("nas-bench-201"))
    seen, began = 0, 0.0
    for number, (images, labels) in enumerate(loader):
        if number == 10:
            torch.cuda.synchronize()
            began = time.perf_counter()
        loss = cross_entropy(
            model(images.to(device, non_blocking=True)), labels.to(device, non_blocking=True)
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        seen += len(labels) if number >= 10 else 0
    torch.cuda.synchronize()
    return seen / (time.perf_counter() - began)


PARTS = {f.__name__: f for f in (augment, loop, overhead, slots, separation, gpu)}


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="part")
    torch.set_num_threads(1)
    for part in parser.parse_args().parts or PARTS:
        PARTS[part]()


if __name__ == "__main__":
    main()
