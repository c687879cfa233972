"""The printed source: self-contained, and equal to the built module weight for weight."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nader.graph import Design, parse
from nader.network import Skeleton, build_network, get_skeleton, to_source
from tests.network.designs import ACC76, at_some_width, designs, published, random_design
from tests.network.test_module import shaken

DIGITS = get_skeleton("digits")


def _imported(source: str, folder: Path):
    path = folder / "network_from_source.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("network_from_source", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _assert_equal(design, skeleton: Skeleton, width: int, folder: Path) -> str:
    source = to_source(design, skeleton, width, 7)
    built = shaken(build_network(design, skeleton, width, 7))
    printed = _imported(source, folder).Network()
    assert list(printed.state_dict()) == list(built.state_dict())
    printed.load_state_dict(built.state_dict())
    image = skeleton.image
    for batch, training in ((1, False), (3, False), (4, True)):
        x = torch.randn(batch, image.channels, image.height, image.width)
        torch.manual_seed(0)
        y = built.train(training)(x)
        torch.manual_seed(0)  # the same examples for DropPath
        assert torch.equal(printed.train(training)(x), y)
        assert y.isfinite().all()
        assert y.std() > 0
    return source


@pytest.mark.parametrize("name", designs())
def test_source_and_module_give_equal_outputs_given_equal_weights(name, tmp_path):
    built = at_some_width(designs()[name], DIGITS)
    source = _assert_equal(built.design, DIGITS, built.width, tmp_path)
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {getattr(node, "module", None) or node.names[0].name.split(".")[0] for node in imports} == {
        "torch"
    }


def test_source_and_module_are_equal_on_random_designs(tmp_path):
    for seed in range(12):
        design = random_design(seed, DIGITS)
        built = at_some_width(design, DIGITS)
        _assert_equal(design, DIGITS, built.width, tmp_path)


def test_source_and_module_are_equal_on_the_published_design_of_45_nodes(tmp_path):
    skeleton = get_skeleton("nader").with_cells(1)
    source = _assert_equal(published(ACC76), skeleton, 8, tmp_path)
    assert source.count("class ") == 4
    assert "nn.Conv2d(C, C, kernel_size=3, padding=1, bias=True)" in source


CHANNELS = """##channels##
0:input
1:output
2:Conv2d(out_channels=C+4,kernel_size=1)
3:Conv2d(out_channels=C/2,kernel_size=1)
4:concat(dim=1)
5:Conv2d(out_channels=C*C/4+1,kernel_size=1)
6:concat(dim=1)
7:Conv2d(out_channels=C,kernel_size=1)
0->2
0->3
0->4
3->4
4->5->6
2->6
6->7->1
"""
HALVES = """##halves##
0:input
1:output
2:MaxPool2d(kernel_size=2,stride=2)
3:AdaptiveAvgPool2d(output_size=(H,W))
0->2->3->1
"""


def _with_cell(text: str) -> Design:
    base = designs()["resnet-basic"]
    return Design(parse(text), base.stem, base.downsample)


def test_channels_are_written_in_terms_of_the_place_or_looked_up(tmp_path):
    source = _assert_equal(_with_cell(CHANNELS), DIGITS, 8, tmp_path)
    assert "self.conv2 = nn.Conv2d(C, C + 4, " in source
    assert "self.conv5 = nn.Conv2d(3 * C // 2, {8: 17, 16: 65, 32: 257}[dim], " in source


def test_places_where_the_padding_differs_get_a_class_each(tmp_path):
    source = _assert_equal(_with_cell(HALVES), DIGITS.for_image(2, 12, 20), 8, tmp_path)
    assert [f"class Cell{number}(" in source for number in (1, 2, 3, 4)] == [True, True, True, False]
    assert "F.pad(x0, (0, 1, 0, 1), value=float" in source


def test_the_file_runs_by_itself(tmp_path):
    path = tmp_path / "network.py"
    path.write_text(to_source(designs()["se-resnet"], DIGITS, 16, 10))
    done = subprocess.run(
        [sys.executable, "-I", str(path)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[1] == "(2, 10)"
    assert done.stdout.splitlines()[0].endswith(" parameters")


def test_a_block_name_cannot_break_out_of_its_docstring(tmp_path):
    design = designs()["resnet-basic"]
    cell = design.cell.replace(name='"""\nimport os\n"""')
    source = to_source(type(design)(cell, design.stem, design.downsample), DIGITS, 8, 10)
    assert not any("os" in getattr(node, "names", [""])[0].__dict__.get("name", "") for node in
                   ast.walk(ast.parse(source)) if isinstance(node, ast.Import))  # fmt: skip
