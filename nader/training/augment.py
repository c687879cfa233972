"""Batched augmentation on the device: a whole part as padded uint8, crops and flips by one gather.

Bit-equal to torchvision's `hflip`, then `pad` and `crop`, given the same draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import pad as pad_images

from nader.training.recipes import Recipe


@dataclass(frozen=True)
class Draws:
    """One epoch's randomness: the order of n images; for each place in it the crop's corner and the flip."""

    order: torch.Tensor
    top: torch.Tensor
    left: torch.Tensor
    flip: torch.Tensor

    def to(self, device: torch.device) -> Draws:
        """The same draws on a device."""
        return Draws(*(t.to(device) for t in (self.order, self.top, self.left, self.flip)))


def draw_epoch(count: int, padding: int, flip: float, generator: torch.Generator) -> Draws:
    """Draw an epoch at once, on the CPU, so that every device sees the same order, crops and flips."""
    order = torch.randperm(count, generator=generator)
    top, left = torch.randint(0, 2 * padding + 1, (2, count), generator=generator)
    return Draws(order, top, left, torch.rand(count, generator=generator) < flip)


def padding_of(recipe: Recipe, side: int) -> int:
    """Pixels of zero padding on each side before the random crop."""
    return side // 8 if recipe.crop == "side/8" else 0


class Augmenter:
    """Images uint8 [n, C, H, W] of one part, padded once, from which augmented batches are gathered."""

    def __init__(self, images: torch.Tensor, padding: int) -> None:
        self.padding = padding
        height, width = images.shape[2:]
        padded = pad_images(images, (padding,) * 4)
        # A view [n, top, left, C, H, W] of every crop there is: no pixel is copied until a batch is gathered.
        self._crops = padded.unfold(2, height, 1).unfold(3, width, 1).permute(0, 2, 3, 1, 4, 5)

    def batch(self, draws: Draws, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Places start … stop of an epoch: augmented images uint8 [b, C, H, W], and which images they are."""
        index, flip = draws.order[start:stop], draws.flip[start:stop]
        left = draws.left[start:stop]
        # Cropping a flipped image at `left` is flipping the crop whose right margin is `left`.
        left = torch.where(flip, 2 * self.padding - left, left)
        images = self._crops[index, draws.top[start:stop], left]
        return torch.where(flip[:, None, None, None], images.flip(3), images), index


class Normaliser:
    """uint8 images to float32, as torchvision's ToTensor and Normalize do, bit for bit."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> None:
        self.mean = torch.tensor([m / 255 for m in mean], device=device).view(1, -1, 1, 1)
        self.std = torch.tensor([s / 255 for s in std], device=device).view(1, -1, 1, 1)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Images uint8 [b, C, H, W] → float32, mean 0 and deviation 1 over the data set."""
        return images.to(torch.float32).div_(255).sub_(self.mean).div_(self.std)
