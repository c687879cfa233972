"""A network as an ONNX file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nader.network.errors import ExportError

if TYPE_CHECKING:
    from torch import nn

    from nader.graph import Design
    from nader.network.skeleton import Skeleton


def export_onnx(
    design: Design, skeleton: Skeleton, width: int, classes: int, path: str | PathLike[str]
) -> None:
    """Writes the network, freshly initialised, as ONNX: `image` [B, channels, H, W] in, `logits` out.

    Needs the extra `onnx`. Raises ExportError where it is missing, DesignError where the width does not work.
    """
    from nader.network.module import build_network

    image = skeleton.image
    shape = (image.channels, image.height, image.width)
    export_module_onnx(build_network(design, skeleton, width, classes), shape, path)


def export_module_onnx(module: nn.Module, image: tuple[int, ...], path: str | PathLike[str]) -> None:
    """Writes a trained module as ONNX, in evaluation mode, for any batch of inputs shaped `image`."""
    if not Path(path).parent.is_dir():
        raise ExportError(f"{path} could not be written: there is no folder {Path(path).parent}")
    import torch

    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise ExportError("ONNX export needs onnx and onnxscript: pip install 'nader[onnx]'") from None
    training = module.training
    module.eval()
    taken_out = _convertible(module)
    example = torch.zeros(2, *image, device=next((p.device for p in module.parameters()), None))
    try:
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
        assert program is not None
        program.save(str(path))
    except OSError as error:
        raise ExportError(f"{path} could not be written: {error}") from None
    except RuntimeError as error:  # torch.onnx.OnnxExporterError is one
        why = str(error.__cause__ or error).strip().splitlines()[0]
        raise ExportError(f"{path} was not written: this network has no form in ONNX ({why})") from error
    finally:
        for owner, name, layer in taken_out:
            setattr(owner, name, layer)
        module.train(training)


def _convertible(module: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    """Puts layers that have a form in ONNX in the place of those that have none; returns what was there.

    They are the adaptive poolings: see `WindowedPool2d`.
    """
    from torch import nn

    from nader.network.windows import WindowedPool2d

    found: list[tuple[nn.Module, str, nn.Module]] = [
        (owner, name, layer)
        for owner in module.modules()
        for name, layer in owner.named_children()
        if isinstance(layer, nn.AdaptiveMaxPool2d | nn.AdaptiveAvgPool2d)
    ]
    for owner, name, layer in found:
        size: Any = layer.output_size
        setattr(owner, name, WindowedPool2d(size, maximum=isinstance(layer, nn.AdaptiveMaxPool2d)))
    return found
