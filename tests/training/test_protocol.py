"""The protocol in the running loop: what reaches the network and the optimiser, batch by batch.

The images say who they are: channels 0 and 1 hold an image's number, channel 2 the place of each pixel.
So every input tells its image, its crop and its flip, and a plain loop over torch's own SGD can follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy
from torchvision.transforms import functional

from nader.training import Dataset, DatasetInfo, Recipe, Trained, get_recipe, loop, optimiser
from nader.training.datasets import Part
from nader.training.files import WEIGHTS
from tests.training.jobs import job

CPU = torch.device("cpu")
SIDE, PADDING, CLASSES, EPOCHS = 16, 2, 10, 3
TRAIN, VALIDATION, TEST = 600, 40, 20
MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
INFO = DatasetInfo(
    "told", "images that say who they are", CLASSES, 3, SIDE, SIDE, MEAN, STD, TRAIN, VALIDATION, TEST, "none"
)  # fmt: skip


def part(first: int, count: int) -> Part:
    """Images number `first` and on; the class of an image is its number's last digit."""
    numbers = torch.arange(first, first + count)
    images = torch.empty((count, 3, SIDE, SIDE), dtype=torch.uint8)
    images[:, 0] = (numbers // 250 + 1)[:, None, None].to(torch.uint8)
    images[:, 1] = (numbers % 250 + 1)[:, None, None].to(torch.uint8)
    images[:, 2] = torch.arange(SIDE * SIDE, dtype=torch.uint8).view(SIDE, SIDE)
    return Part(images, numbers % CLASSES)


DATA = Dataset(INFO, part(0, TRAIN), part(TRAIN, VALIDATION), part(TRAIN + VALIDATION, TEST))


def normalised(images: torch.Tensor) -> torch.Tensor:
    """As torchvision's ToTensor and Normalize do."""
    return functional.normalize(images.float() / 255, [m / 255 for m in MEAN], [s / 255 for s in STD])


def pixels(inputs: torch.Tensor) -> torch.Tensor:
    """The uint8 images that inputs were made from."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (inputs * std + mean).round().to(torch.uint8)


@dataclass
class Seen:
    """What the network and the optimiser were given, in order."""

    training: list[torch.Tensor] = field(default_factory=list)
    evaluation: list[torch.Tensor] = field(default_factory=list)
    steps: list[dict[str, float]] = field(default_factory=list)
    numerics: set[tuple[bool, ...]] = field(default_factory=set)
    """In the forward passes: deterministic algorithms; cuDNN deterministic, benchmark, TF32; matmul TF32."""

    def epoch(self, number: int) -> torch.Tensor:
        """Inputs of an epoch, from 0, in order."""
        steps = len(self.training) // EPOCHS
        return torch.cat(self.training[number * steps : (number + 1) * steps])


class Recorder(nn.Module):
    """One linear layer that keeps what it is given. Its answers in evaluation grow worse with every epoch."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * SIDE * SIDE, CLASSES)
        self._seen = seen

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
        self._seen.numerics.add(
            (
                torch.are_deterministic_algorithms_enabled(),
                cudnn.deterministic,
                cudnn.benchmark,
                cudnn.allow_tf32,
                cuda.matmul.allow_tf32,
            )
        )
        (self._seen.training if self.training else self._seen.evaluation).append(inputs.detach().clone())
        logits: torch.Tensor = self.linear(inputs.flatten(1))
        if self.training:
            return logits
        number = pixels(inputs)[:, 1, 0, 0].long() - 1
        epoch = len(self._seen.training) // 3
        right = torch.arange(len(inputs)) % 4 >= epoch  # 3/4, 2/4 and 1/4 of a part after epochs 1, 2 and 3
        return nn.functional.one_hot((number + ~right) % CLASSES, CLASSES).float()


@dataclass
class Run:
    seen: Seen
    result: Trained
    weights: dict[str, torch.Tensor]
    start: dict[str, torch.Tensor]


def trained(recipe: Recipe, folder: Path) -> Run:
    """Train the recorder by the real loop."""
    torch.set_num_threads(1)
    seen, start, torchs = Seen(), {}, optimiser.sgd

    def build(*_: object) -> nn.Module:
        model = Recorder(seen)
        start.update({k: v.clone() for k, v in model.state_dict().items()})
        return model

    def sgd(*tensors: object, **values: object) -> None:
        seen.steps.append({k: v for k, v in values.items() if isinstance(v, float | bool)})
        torchs(*tensors, **values)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "build_model", build)
        patch.setattr(optimiser, "sgd", sgd)
        work = job(classes=CLASSES).model_copy(update={"recipe": recipe})
        result = loop.Training(work, DATA, folder, CPU).run()
    return Run(seen, result, load_file(folder / WEIGHTS), start)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A few epochs of the benchmark's recipe."""
    recipe = get_recipe("nas-bench-201").model_copy(update={"epochs": EPOCHS})
    return trained(recipe, tmp_path_factory.mktemp("protocol"))


def augmentation(image: torch.Tensor) -> tuple[int, int, int, bool]:
    """Number, top, left and flip of one input, as its pixels tell them."""
    middle = SIDE // 2
    number = (int(image[0, middle, middle]) - 1) * 250 + int(image[1, middle, middle]) - 1
    row, column = divmod(int(image[2, middle, middle]), SIDE)
    flip = int(image[2, middle, middle + 1]) < int(image[2, middle, middle])
    if flip:
        column = SIDE - 1 - column
    return number, row - middle + PADDING, column - middle + PADDING, flip


def test_batches_are_of_256_and_the_last_holds_the_rest(run: Run) -> None:
    assert [len(batch) for batch in run.seen.training] == [256, 256, 88] * EPOCHS


def test_every_epoch_sees_each_image_once_in_an_order_of_its_own(run: Run) -> None:
    orders = [[augmentation(i)[0] for i in pixels(run.seen.epoch(n))] for n in range(EPOCHS)]
    assert all(sorted(order) == list(range(TRAIN)) for order in orders)
    assert len({tuple(order) for order in orders} | {tuple(range(TRAIN))}) == EPOCHS + 1


def test_half_of_the_images_are_flipped_and_every_corner_of_the_crop_is_drawn(run: Run) -> None:
    found = [augmentation(image) for image in pixels(torch.cat(run.seen.training))]
    assert 0.45 < sum(flip for *_, flip in found) / len(found) < 0.55
    assert {top for _, top, *_ in found} == {left for _, _, left, _ in found} == set(range(2 * PADDING + 1))
    twice = [(a, b) for a, b in zip(found[:TRAIN], found[TRAIN:], strict=False) if a[1:] != b[1:]]
    assert len(twice) > TRAIN / 2  # the draws of one epoch are not those of the next


def test_inputs_are_the_flipped_padded_cropped_and_normalised_images(run: Run) -> None:
    for given in run.seen.epoch(0):
        number, top, left, flip = augmentation(pixels(given[None])[0])
        image = DATA.train.images[number]
        image = functional.pad(functional.hflip(image) if flip else image, [PADDING], fill=0)
        assert torch.allclose(given, normalised(functional.crop(image, top, left, SIDE, SIDE)), atol=1e-6)


def test_the_learning_rate_falls_by_the_cosine_with_every_epoch(run: Run) -> None:
    expected = [0.1 * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2 for epoch in range(EPOCHS)]
    assert [step["lr"] for step in run.seen.steps] == pytest.approx([lr for lr in expected for _ in range(3)])
    assert [point.lr for point in run.result.curve] == pytest.approx(expected)
    others = {(s["momentum"], s["weight_decay"], s["nesterov"], s["dampening"]) for s in run.seen.steps}
    assert others == {(0.9, 5e-4, True, 0.0)}


def test_a_plain_loop_over_torchs_own_sgd_ends_with_the_same_weights_and_losses(run: Run) -> None:
    model = Recorder(Seen())
    model.load_state_dict(run.start)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=EPOCHS, eta_min=0)
    for epoch in range(EPOCHS):
        total, right = 0.0, 0
        for inputs in run.seen.training[3 * epoch : 3 * epoch + 3]:
            labels = torch.tensor([augmentation(i)[0] % CLASSES for i in pixels(inputs)])
            logits = model(inputs)
            loss = cross_entropy(logits, labels)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            total, right = total + loss.item() * len(labels), right + int((logits.argmax(1) == labels).sum())
        schedule.step()
        point = run.result.curve[epoch]
        assert (point.train_loss, point.train_accuracy) == (pytest.approx(total / TRAIN), right / TRAIN)
    for name, value in model.state_dict().items():
        assert torch.allclose(run.weights[name], value, atol=1e-7), name


def test_validation_images_are_normalised_and_nothing_else_and_test_images_come_once_at_the_end(
    run: Run,
) -> None:
    parts = [*[DATA.validation] * EPOCHS, DATA.test]
    for given, told in zip(run.seen.evaluation, parts, strict=False):
        assert told is not None and torch.allclose(given, normalised(told.images), atol=1e-6)
    after = run.seen.evaluation[len(parts) :]
    assert after and all(
        len(images) == 1 and not images.any() for images in after
    )  # the latency's blank image


def test_the_accuracy_that_counts_is_the_last_epochs_not_the_best(run: Run) -> None:
    assert [point.validation for point in run.result.curve] == [0.75, 0.5, 0.25]
    assert (run.result.validation, run.result.test) == (0.25, 0.25)


def test_the_benchmarks_recipe_asks_for_deterministic_kernels_and_full_precision(run: Run) -> None:
    assert run.seen.numerics == {(True, True, False, False, False)}
    assert run.result.deterministic and not torch.are_deterministic_algorithms_enabled()


def test_a_recipe_that_does_without_says_so(tmp_path: Path) -> None:
    changes = {"epochs": EPOCHS, "deterministic": False, "precision": "tf32"}
    other = trained(get_recipe("nas-bench-201").model_copy(update=changes), tmp_path)
    assert other.seen.numerics == {(False, False, True, True, True)} and other.result.deterministic is False
