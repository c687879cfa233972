"""Networks go through torch.export, torch.compile and ONNX, for any batch."""

import random

import pytest
import torch

from nader.graph import Role, Site, check, parse
from nader.network import ExportError, build, build_network, export_module_onnx, export_onnx, get_skeleton
from tests.graph import strategies
from tests.network.designs import at_some_width, designs
from tests.network.random_blocks import random_graph, to_text
from tests.network.test_module import shaken

DIGITS = get_skeleton("digits")
SHORT = DIGITS.model_copy(update={"cells": (1, 1), "multipliers": (1, 2)})
TOLERANCE = 1e-4


def _network(name: str):
    built = at_some_width(designs()[name], SHORT)
    return shaken(build_network(built.design, SHORT, built.width, 10)).eval()


def _accepted_blocks(seeds: range, site: Site):
    for seed in seeds:
        rng = random.Random(seed)
        text = str(strategies.random_block(rng)) if seed % 2 else to_text(random_graph(rng))
        if check(text, site.role, [site]).ok:
            yield parse(text)


def _close(found, expected) -> None:
    torch.testing.assert_close(torch.as_tensor(found), expected, atol=TOLERANCE, rtol=TOLERANCE)


def _exports(module: torch.nn.Module, *image: int) -> None:
    batch = torch.export.Dim("batch", min=1, max=512)
    program = torch.export.export(module, (torch.zeros(2, *image),), dynamic_shapes=({0: batch},))
    for size in (1, 2, 5):
        x = torch.randn(size, *image)
        _close(program.module()(x), module(x))


def _onnx_agrees(module: torch.nn.Module, path, *image: int) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    export_module_onnx(module, image, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for size in (1, 3):
        x = torch.randn(size, *image)
        (found,) = session.run(["logits"], {"image": x.numpy()})
        _close(found, module(x).detach())


@pytest.mark.parametrize("name", ["every operator"])
def test_a_network_goes_through_torch_export_with_a_free_batch(name):
    _exports(_network(name), 1, 8, 8)


@pytest.mark.parametrize("name", ["every operator"])
def test_a_network_compiles_as_one_graph_and_trains_alike(name):
    network = _network(name)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    x = torch.randn(3, 1, 8, 8)
    _close(compiled(x), network(x))
    compiled(x).sum().backward()
    found = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    network(x).sum().backward()
    for gradient, parameter in zip(found, network.parameters(), strict=True):
        _close(gradient, parameter.grad)


@pytest.mark.parametrize("name", ["every operator"])
def test_a_network_goes_through_onnx(name, tmp_path):
    _onnx_agrees(_network(name), tmp_path / "network.onnx", 1, 8, 8)


def test_a_design_is_exported_by_its_width(tmp_path):
    pytest.importorskip("onnxscript")
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "network.onnx"
    export_onnx(designs()["nas-bench-201"], SHORT, 4, 10, path)
    graph = onnx.load(str(path)).graph
    assert [value.name for value in graph.input] == ["image"]
    assert [value.name for value in graph.output] == ["logits"]


def test_an_export_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(ExportError, match=r"network\.onnx could not be written: there is no folder"):
        export_onnx(designs()["nas-bench-201"], SHORT, 4, 10, tmp_path / "absent" / "network.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", designs())
def test_every_design_goes_through_every_export(name, tmp_path):
    network = _network(name)
    _exports(network, 1, 8, 8)
    _onnx_agrees(network, tmp_path / "network.onnx", 1, 8, 8)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(10))
def test_random_accepted_blocks_go_through_every_export(chunk, tmp_path):
    site = Site(Role.CELL, 4, 4, 4, 6)
    for block in _accepted_blocks(range(chunk * 20, chunk * 20 + 20), site):
        module = shaken(build(block, site)).eval()
        try:
            _exports(module, 4, 4, 6)
            _onnx_agrees(module, tmp_path / "block.onnx", 4, 4, 6)
        except Exception as error:
            raise AssertionError(f"{block}\n{error}") from error


@pytest.mark.slow
def test_a_network_compiles_with_the_default_backend():
    network = _network("every operator")
    x = torch.randn(3, 1, 8, 8)
    _close(torch.compile(network)(x), network(x))
