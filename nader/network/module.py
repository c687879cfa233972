"""Blocks and networks as torch modules, assembled step by step from the graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nader.graph import Block, Design, Role, Site
from nader.network.lowering import Extent, Layer, Step, lower
from nader.network.skeleton import Skeleton, require_classes, sites_of


class DropPath(nn.Module):
    """Stochastic depth: in training each example is zeroed with probability `prob`, the others scaled up."""

    def __init__(self, prob: float) -> None:
        super().__init__()
        self.prob = prob

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.prob == 0:
            return x
        keep = x.new_empty(x.shape[:1] + (1,) * (x.dim() - 1)).bernoulli_(1 - self.prob)
        return x * keep / (1 - self.prob)

    def extra_repr(self) -> str:
        return f"prob={self.prob}"


class GraphModule(nn.Module):
    """A block that runs its steps in order. x: [B, C, H, W] of its site → [B, dim, H*scale, W*scale]."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__()
        self.steps = tuple(steps)
        for step in self.steps:
            if step.layer is not None:
                self.add_module(step.name, _make(step.layer))

    def forward(self, x: Tensor) -> Tensor:
        values: dict[int, Tensor] = {}
        batch = x.shape[0]
        for step in self.steps:
            inputs = [values[index] for index in step.inputs]
            if step.op == "input":
                values[step.node] = x
            elif step.layer is not None:
                values[step.node] = _padded(getattr(self, step.name), step, inputs[0])
            else:
                values[step.node] = _function(step, inputs, batch)
        return values[self.steps[-1].node]


def _make(layer: Layer) -> nn.Module:
    kind: type[nn.Module] = DropPath if layer.kind == "DropPath" else getattr(nn, layer.kind)
    return kind(**dict(layer.arguments))


def _padded(layer: nn.Module, step: Step, x: Tensor) -> Tensor:
    """The layer on x, padded before where the layer cannot do it (see `nader.network.lowering`)."""
    if step.pad is None:
        return layer(x)
    if step.op == "MaxPool2d":
        return layer(F.pad(x, step.pad, value=float("-inf")))
    y = layer(F.pad(x, step.pad))
    if step.op == "AvgPool2d":
        y = y / layer(F.pad(torch.ones_like(x[:1, :1]), step.pad))  # the share of pixels that exist
    return y


def _function(step: Step, xs: list[Tensor], batch: int) -> Tensor:
    """An operator that has no layer."""
    x, dims = xs[0], step.dims
    match step.op:
        case "output":
            return x
        case "Add":
            for other in xs[1:]:
                x = x + other
            return x
        case "Mul":
            for other in xs[1:]:
                x = x * other
            return x
        case "Multiply":
            return torch.matmul(x, xs[1])
        case "concat":
            return torch.cat(xs, dim=dims[0])
        case "mean":
            return x.mean(dim=dims, keepdim=True)
        case "max":
            return x.amax(dim=dims, keepdim=True)
        case "sum":
            return x.sum(dim=dims, keepdim=True)
        case "softmax":
            return x.softmax(dim=dims[0])
        case "ReLU":
            return F.relu(x)
        case "GELU":
            return F.gelu(x)
        case "Sigmoid":
            return torch.sigmoid(x)
        case "permute":
            return x.permute(dims)
        case "repeat":
            return x.repeat(_sizes(step.extents, batch))
        case "reshape":
            return x.reshape(_sizes(step.extents, batch))
    raise AssertionError(f"no meaning in torch for {step.op}")


def _sizes(extents: Sequence[Extent], batch: int) -> tuple[int, ...]:
    return tuple(extent.times * batch + extent.plus if extent.times else extent.plus for extent in extents)


class Network(nn.Module):
    """A whole classifier. x: [B, channels, height, width] → logits [B, classes]."""

    def __init__(self, design: Design, skeleton: Skeleton, width: int, classes: int) -> None:
        super().__init__()
        require_classes(classes)
        blocks = {Role.CELL: design.cell, Role.STEM: design.stem, Role.DOWNSAMPLE: design.downsample}
        steps = {
            role: [
                lower(block, site, conv_bias=skeleton.conv_bias) for site in sites_of(skeleton, role, width)
            ]
            for role, block in blocks.items()
        }
        self.stages = len(skeleton.cells)
        self.stem = GraphModule(steps[Role.STEM][0])
        for stage, cells in enumerate(skeleton.cells):
            if stage:
                self.add_module(f"downsample{stage}", GraphModule(steps[Role.DOWNSAMPLE][stage - 1]))
            stack = (GraphModule(steps[Role.CELL][stage]) for _ in range(cells))
            self.add_module(f"stage{stage + 1}", nn.Sequential(*stack))
        channels = skeleton.channels(width)[-1]
        self.norm = nn.BatchNorm2d(channels) if skeleton.head == "bn-relu-gap-linear" else None
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in range(self.stages):
            if stage:
                x = getattr(self, f"downsample{stage}")(x)
            x = getattr(self, f"stage{stage + 1}")(x)
        if self.norm is not None:
            x = F.relu(self.norm(x))
        return self.classifier(x.mean(dim=(2, 3)))


def build(block: Block, site: Site, *, conv_bias: bool = False) -> GraphModule:
    """The torch module of one block at one site; raises DesignError where it is not valid there."""
    return GraphModule(lower(block, site, conv_bias=conv_bias))


def build_network(design: Design, skeleton: Skeleton, width: int, classes: int) -> Network:
    """The torch module of a whole network; raises DesignError where the width does not work."""
    return Network(design, skeleton, width, classes)
