"""Adaptive pooling from operations that ONNX knows, also where the batch lies along a side of the map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WindowedPool2d(nn.Module):
    """As torch.nn.AdaptiveMaxPool2d, or AdaptiveAvgPool2d. x: [B, C, H, W] → [B, C, *output_size].

    torch converts the maximum only where all windows are alike, and with the batch along H or W it takes the
    windows of the batch that it was traced with for those of any.
    """

    def __init__(self, output_size: int | tuple[int, int], maximum: bool) -> None:
        super().__init__()
        self.output_size = (output_size, output_size) if isinstance(output_size, int) else output_size
        self.maximum = maximum

    def forward(self, x: Tensor) -> Tensor:
        if not self.maximum and all(isinstance(length, int) for length in x.shape[2:]):
            return F.adaptive_avg_pool2d(x, self.output_size)
        for axis, size in zip((2, 3), self.output_size, strict=True):
            x = self._pooled(x, axis, size)
        return x

    def _pooled(self, x: Tensor, axis: int, size: int) -> Tensor:
        """The maximum or the mean of each of the `size` windows along an axis."""
        length = x.shape[axis]
        pool = torch.amax if self.maximum else torch.mean
        if size == 1:
            return pool(x, dim=axis, keepdim=True)
        if self.maximum and isinstance(length, int):
            places = _windows(length, size).to(x.device)
            return x.index_select(axis, places.flatten()).unflatten(axis, (size, -1)).amax(dim=axis + 1)
        bounds = ((at * length // size, ((at + 1) * length + size - 1) // size) for at in range(size))
        parts = [pool(x.narrow(axis, start, end - start), dim=axis, keepdim=True) for start, end in bounds]
        return torch.cat(parts, dim=axis)


def _windows(length: int, size: int) -> Tensor:
    """int64 [size, widest window]: the places each window reads, the last one again where it is narrower."""
    starts = [at * length // size for at in range(size)]
    ends = [-(-(at + 1) * length // size) for at in range(size)]
    widest = max(end - start for start, end in zip(starts, ends, strict=True))
    return torch.tensor(
        [
            [min(start + step, end - 1) for step in range(widest)]
            for start, end in zip(starts, ends, strict=True)
        ]
    )
