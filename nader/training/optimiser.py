"""Stochastic gradient descent, with torch's arithmetic and without torch's compiler.

`torch.optim.SGD` imports `torch._dynamo` when it is built: more than a second and 150 MB in every worker,
before the first step. The function beneath it, `torch.optim.sgd.sgd`, does not.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.optim.sgd import sgd

from nader.training.recipes import Recipe


class Sgd:
    """SGD over all parameters alike, as a recipe says; bit-equal to `torch.optim.SGD` with these values."""

    dampening = 0.0

    def __init__(self, parameters: Iterable[torch.nn.Parameter], recipe: Recipe) -> None:
        """Take the recipe's momentum and weight decay, and its `lr` until another is set."""
        self.parameters = list(parameters)
        self.lr, self.momentum, self.nesterov = recipe.lr, recipe.momentum, recipe.nesterov
        self.weight_decay = recipe.weight_decay
        self.momentum_buffers: dict[torch.nn.Parameter, torch.Tensor] = {}
        """Of the parameters that have had a gradient: a tensor of the parameter's shape each."""

    def zero_grad(self) -> None:
        """Drop the gradients, rather than fill them with zeros."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One update, by the gradients the parameters hold; a parameter without one stays as it is."""
        moved = [p for p in self.parameters if p.grad is not None]
        gradients = [p.grad for p in moved if p.grad is not None]
        buffers = [self.momentum_buffers.get(p) for p in moved]
        sgd(
            moved,  # type: ignore[arg-type]
            gradients,
            buffers,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.lr,
            dampening=self.dampening,
            nesterov=self.nesterov,
            maximize=False,
        )
        self.momentum_buffers.update((p, b) for p, b in zip(moved, buffers, strict=True) if b is not None)
