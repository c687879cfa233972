"""Augmentation: bit-equal to torchvision, image by image, for the same draws."""

import pytest
import torch
from torchvision import transforms
from torchvision.transforms import functional

from nader.training.augment import Augmenter, Normaliser, draw_epoch


@pytest.mark.parametrize(("channels", "side", "padding"), [(3, 32, 4), (3, 16, 2), (1, 8, 1), (1, 32, 0)])
def test_a_thousand_images_are_cropped_and_flipped_as_torchvision_does(
    channels: int, side: int, padding: int
) -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (1000, channels, side, side), generator=generator, dtype=torch.uint8)
    draws = draw_epoch(1000, padding, 0.5, generator)
    augmenter = Augmenter(images, padding)
    batches = [augmenter.batch(draws, start, start + 256) for start in range(0, 1000, 256)]
    ours = torch.cat([batch for batch, _ in batches])
    assert torch.equal(torch.cat([index for _, index in batches]), draws.order)
    for place in range(1000):
        image = images[draws.order[place]]
        if draws.flip[place]:
            image = functional.hflip(image)
        image = functional.pad(image, [padding], fill=0)
        image = functional.crop(image, int(draws.top[place]), int(draws.left[place]), side, side)
        assert torch.equal(ours[place], image), f"image {place} differs"


def test_images_are_normalised_as_torchvision_does() -> None:
    mean, std = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
    images = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8)
    ours = Normaliser(mean, std, torch.device("cpu"))(images)
    theirs = transforms.Compose(
        [
            transforms.ToPILImage(),
            transforms.ToTensor(),
            transforms.Normalize([m / 255 for m in mean], [s / 255 for s in std]),
        ]
    )
    assert torch.equal(ours, torch.stack([theirs(image) for image in images]))


def test_draws_reach_every_corner_and_flip_half() -> None:
    draws = draw_epoch(20_000, 4, 0.5, torch.Generator().manual_seed(0))
    assert draws.top.unique().tolist() == draws.left.unique().tolist() == list(range(9))
    assert 0.48 < draws.flip.float().mean() < 0.52
    assert torch.equal(draws.order.sort().values, torch.arange(20_000))


def test_the_same_generator_state_gives_the_same_draws() -> None:
    generator = torch.Generator().manual_seed(5)
    state = generator.get_state()
    first = draw_epoch(100, 4, 0.5, generator)
    generator.set_state(state)
    second = draw_epoch(100, 4, 0.5, generator)
    assert all(torch.equal(getattr(first, n), getattr(second, n)) for n in ("order", "top", "left", "flip"))
