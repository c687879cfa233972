"""Adaptive pooling by windows is torch's own."""

import pytest
import torch
from torch import nn

from nader.network.windows import WindowedPool2d


@pytest.mark.parametrize("size", [1, (3, 5), (4, 3), (12, 9), (6, 8), (7, 1)])
def test_windows_give_what_adaptive_pooling_gives(size):
    x = torch.randn(2, 3, 6, 8)
    for maximum, layer in ((True, nn.AdaptiveMaxPool2d(size)), (False, nn.AdaptiveAvgPool2d(size))):
        torch.testing.assert_close(WindowedPool2d(size, maximum)(x), layer(x))
