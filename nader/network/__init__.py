"""Networks made of blocks: skeletons, width search, cost, torch modules, printed source, export."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nader.network.cost import Cost, cost, costs
from nader.network.errors import DesignError, ExportError, NetworkError, NoWidthError, SkeletonError
from nader.network.search import (
    DesignVerdict,
    RoleVerdict,
    WidthChoice,
    search_width,
    verify_block,
    verify_design,
)
from nader.network.skeleton import SKELETONS, Image, Limits, Skeleton, Widths, get_skeleton, sites_of

if TYPE_CHECKING:
    from nader.network.export import export_module_onnx, export_onnx
    from nader.network.module import Network, build, build_network
    from nader.network.source import to_source

__all__ = [
    "SKELETONS",
    "Cost",
    "DesignError",
    "DesignVerdict",
    "ExportError",
    "Image",
    "Limits",
    "Network",
    "NetworkError",
    "NoWidthError",
    "RoleVerdict",
    "Skeleton",
    "SkeletonError",
    "WidthChoice",
    "Widths",
    "build",
    "build_network",
    "cost",
    "costs",
    "export_module_onnx",
    "export_onnx",
    "get_skeleton",
    "search_width",
    "sites_of",
    "to_source",
    "verify_block",
    "verify_design",
]

_LATER = {
    "Network": "module",
    "build": "module",
    "build_network": "module",
    "export_module_onnx": "export",
    "export_onnx": "export",
    "to_source": "source",
}


def __getattr__(name: str) -> Any:
    """What needs torch is imported at its first use, so that `import nader.network` stays quick."""
    if name in _LATER:
        return getattr(import_module(f"nader.network.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
