"""The whole state of a training at one step, and its way into one safetensors file and back.

A file holds tensors and JSON only; nothing in it is executed when it is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from nader.training.files import CHECKPOINT, write_atomic
from nader.training.job import EpochPoint
from nader.training.optimiser import Sgd


@dataclass
class Position:
    """Where a training stands: `step` batches of `epoch` (from 0) are done."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    curve: list[EpochPoint] = field(default_factory=list)
    loss_sum: torch.Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    correct: torch.Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    epoch_rng: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))
    """State of the data generator before this epoch's order, crops and flips were drawn."""


def save_checkpoint(
    folder: Path, job: str, model: nn.Module, optimiser: Sgd, at: Position, device: torch.device
) -> None:
    """Write everything a training needs to go on bit by bit. Raises DiskFullError."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        if parameter in optimiser.momentum_buffers:
            tensors[f"momentum.{name}"] = optimiser.momentum_buffers[parameter]
    tensors |= {"rng.torch": torch.get_rng_state(), "rng.epoch": at.epoch_rng}
    if device.type == "cuda":
        tensors["rng.cuda"] = torch.cuda.get_rng_state(device)
    tensors |= {"sum.loss": at.loss_sum, "sum.correct": at.correct}
    position = {
        "job": job,
        "epoch": at.epoch,
        "step": at.step,
        "seconds": at.seconds,
        "curve": [p.model_dump() for p in at.curve],
    }
    plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    write_atomic(folder / CHECKPOINT, save(plain, metadata={"position": json.dumps(position)}))


def load_checkpoint(
    folder: Path, job: str, model: nn.Module, optimiser: Sgd, device: torch.device
) -> Position | None:
    """Put a checkpoint's state into model, optimiser and random generators.

    None where there is no checkpoint, or one that is torn or of another job: training then starts anew.
    """
    try:
        with safe_open(folder / CHECKPOINT, framework="pt") as file:
            position = json.loads((file.metadata() or {})["position"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, SafetensorError, KeyError, ValueError):
        return None
    if position.get("job") != job or not _fits(model, tensors):
        return None
    _restore(model, optimiser, tensors)
    torch.set_rng_state(tensors["rng.torch"])
    if device.type == "cuda" and "rng.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng.cuda"], device)
    return Position(
        epoch=position["epoch"],
        step=position["step"],
        seconds=position["seconds"],
        curve=[EpochPoint(**p) for p in position["curve"]],
        loss_sum=tensors["sum.loss"].to(device),
        correct=tensors["sum.correct"].to(device),
        epoch_rng=tensors["rng.epoch"],
    )


def _fits(model: nn.Module, tensors: dict[str, Any]) -> bool:
    return all(
        f"model.{k}" in tensors and tensors[f"model.{k}"].shape == v.shape
        for k, v in model.state_dict().items()
    )


def _restore(model: nn.Module, optimiser: Sgd, tensors: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(tensors[f"model.{name}"])
        for name, parameter in model.named_parameters():
            if f"momentum.{name}" in tensors:
                buffer = torch.empty_like(parameter).copy_(tensors[f"momentum.{name}"])
                optimiser.momentum_buffers[parameter] = buffer
