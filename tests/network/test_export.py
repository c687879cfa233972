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


PLACE = Site(Role.CELL, 4, 4, 6, 8)
NASTY = {
    "windows of unlike sizes": ("AdaptiveMaxPool2d((3,5))", "AdaptiveMaxPool2d((H,W))"),
    "an average of unlike windows": ("AdaptiveMaxPool2d((4,3))", "AdaptiveAvgPool2d((H,W))"),
    "unlike, then spread": ("AdaptiveMaxPool2d((3,4))", "AdaptiveAvgPool2d((H,W))"),
    "more out than in": ("AdaptiveMaxPool2d((H*2,W*3))", "MaxPool2d((2,3))"),
    "windows over the batch": ("permute(2,1,0,3)", "AdaptiveAvgPool2d((2,W))", "mean(2)", "permute(2,1,0,3)",
                               "repeat(B,1,1,1)"),
    "a maximum over the batch": ("permute(2,1,0,3)", "AdaptiveMaxPool2d((3,W))", "max(2)", "permute(2,1,0,3)",
                                 "repeat(B,1,1,1)"),
    "batch and channels mixed": ("reshape(B*C,1,H,W)", "Conv2d(1,3)", "BN", "reshape(B,C,H,W)"),
    "the batch repeated": ("repeat(2*B-1,1,1,1)", "mean(dim=0)", "repeat(B,1,1,1)"),
    "softmax over the batch": ("permute(1,0,2,3)", "softmax(1)", "permute(1,0,2,3)"),
    "seven dimensions": ("reshape(B,2,2,2,3,2,4)", "permute(0,2,1,4,3,6,5)", "permute(0,2,1,4,3,6,5)",
                         "reshape(B,C,H,W)"),
    "even and dilated": ("Conv2d(C,(4,2),dilation=(2,3))", "AvgPool2d((2,4),1)", "MaxPool2d(51,1)"),
    "normalised in five dimensions": ("reshape(B,2,2,H,W)", "BN", "reshape(B,C,H,W)"),
}  # fmt: skip


def _nasty(name: str):
    nodes = [f"{index}:{operation}" for index, operation in enumerate(NASTY[name], start=2)]
    path = "->".join(map(str, (0, *range(2, 2 + len(nodes)), 1)))
    block = parse("\n".join(["##nasty##", "0:input", "1:output", *nodes, path]))
    return shaken(build(block, PLACE)).eval()


@pytest.mark.parametrize("name", NASTY)
def test_an_accepted_block_goes_through_every_export_however_odd_it_is(name, tmp_path):
    module = _nasty(name)
    layers = [type(layer) for layer in module.modules()]
    _exports(module, 4, 6, 8)
    _onnx_agrees(module, tmp_path / "block.onnx", 4, 6, 8)
    assert [type(layer) for layer in module.modules()] == layers  # the module itself is as it was
    torch.compiler.reset()  # every block's module has one forward, which is not compiled without end
    compiled = torch.compile(module.train(), backend="aot_eager", fullgraph=True)
    for size in (2, 3, 5):
        x = torch.randn(size, 4, 6, 8, requires_grad=True)
        compiled(x).sum().backward()
        assert x.grad.shape == x.shape


def test_random_accepted_blocks_go_through_onnx(tmp_path):
    site, done = Site(Role.CELL, 4, 4, 4, 6), 0
    for block in _accepted_blocks(range(500, 524), site):
        _onnx_agrees(shaken(build(block, site)).eval(), tmp_path / "block.onnx", 4, 4, 6)
        done += 1
        if done == 6:
            break
    assert done == 6


def test_what_torch_cannot_convert_is_an_export_error(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")

    def refuse(*args, **kwargs):
        raise torch.onnx.OnnxExporterError("Failed.\nA long report.") from ValueError("no decomposition")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    module = _nasty("more out than in")
    with pytest.raises(
        ExportError, match=r"block\.onnx was not written: .*no form in ONNX \(no decomposition\)"
    ):
        export_module_onnx(module, (4, 6, 8), tmp_path / "block.onnx")
    assert isinstance(module.maxpool2, torch.nn.AdaptiveMaxPool2d)


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
