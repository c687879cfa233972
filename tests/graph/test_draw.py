"""Pictures of blocks are well-formed, complete and tidy."""

import re
import xml.etree.ElementTree as ET

import pytest

from nader.graph import BASE_DESIGNS, BlockError, Role, Site, apply_edit, base_design, parse, to_svg
from nader.graph.draw import COLOURS
from nader.graph.layout import layered
from nader.graph.operators import OPERATORS

SVG = "{http://www.w3.org/2000/svg}"
SITE = Site(Role.CELL, 64, 64, 32, 32)


def boxes(svg):
    """Title of each operation → (left, top, right, bottom)."""
    found = {}
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        x, y, width, height = (float(rect.get(key)) for key in ("x", "y", "width", "height"))
        found[group.find(f"{SVG}title").text] = (x, y, x + width, y + height)
    return found


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def assert_tidy(block, svg):
    root, found = ET.fromstring(svg), boxes(svg)
    assert set(found) == {str(node) for node in block.nodes}
    width, height = float(root.get("width")), float(root.get("height"))
    for box in found.values():
        assert 0 <= box[0] < box[2] <= width
        assert 0 <= box[1] < box[3] <= height
    places = list(found.values())
    assert not any(overlap(one, other) for n, one in enumerate(places) for other in places[n + 1 :])
    lines = [path for path in root.iter(f"{SVG}path") if path.get("fill") == "none"]
    assert len(lines) == len(block.edges)


def crowded():
    block = base_design("googlenet").cell
    for kind in ("pooled-attention", "multi-scale", "spatial-gate", "parallel-add", "dense-connection"):
        block = apply_edit(block, kind).block
    return block


@pytest.mark.parametrize("name", BASE_DESIGNS)
def test_every_operation_and_edge_is_drawn_once_and_nothing_overlaps(name):
    for _, block in base_design(name):
        assert_tidy(block, to_svg(block))


def test_a_crowded_block_stays_tidy():
    block = crowded()
    assert len(block.nodes) > 50
    assert_tidy(block, to_svg(block, site=SITE))


@pytest.mark.parametrize("name", BASE_DESIGNS)
def test_edges_lead_downwards(name):
    block = base_design(name).cell
    found = boxes(to_svg(block))
    for source, target in block.edges:
        assert found[str(block.node(source))][3] < found[str(block.node(target))][1]


def test_a_chain_stands_straight():
    block = parse(
        "##Chain##\n0:input\n1:output\n2:Conv2d(out_channels=C,kernel_size=3)\n3:BN\n4:ReLU\n0->2->3->4->1"
    )
    centres = {round(left + right, 1) for left, _, right, _ in boxes(to_svg(block)).values()}
    assert len(centres) == 1


def test_the_shapes_at_a_site_are_written_in():
    plain, shown = (texts(to_svg(base_design("resnet-bottleneck").cell, site=site)) for site in (None, SITE))
    assert "16×32×32" in shown
    assert "64×32×32" in shown
    assert not any("×32" in text for text in plain)


def test_a_block_that_does_not_fit_the_site_is_refused():
    block = parse("##Wide##\n0:input\n1:output\n2:Conv2d(out_channels=C+1,kernel_size=3)\n0->2->1")
    assert_tidy(block, to_svg(block))
    with pytest.raises(BlockError):
        to_svg(block, site=SITE)


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        ("Conv2d(out_channels=C//4,kernel_size=3)", "3×3 → C//4"),
        ("Conv2d(out_channels=C,kernel_size=(1,7),dilation=2,groups=C)", "1×7 → C, d=2, g=C"),
        ("Conv2d(out_channels=C,kernel_size=3,stride=1,groups=1)", "3×3 → C"),
        ("Linear(out_channels=4*C)", "→ 4*C"),
        ("AvgPool2d(kernel_size=3,stride=1)", "3×3"),
        ("MaxPool2d(kernel_size=2)", "2×2, s=2"),
        ("AdaptiveAvgPool2d(output_size=1)", "1×1"),
        ("permute(0,2,3,1)", "0, 2, 3, 1"),
        ("reshape(B,C,H*W)", "B, C, H*W"),
        ("softmax(dim=1)", "dim=1"),
        ("DropPath(prob=0.1)", "prob=0.1"),
    ],
)
def test_arguments_are_shown_in_short(operation, text):
    assert text in texts(to_svg(parse(f"##One##\n0:input\n1:output\n2:{operation}\n0->2->1")))


def test_every_operator_has_a_colour():
    assert set(COLOURS) == set(OPERATORS)


def test_inputs_whose_order_matters_are_numbered():
    assert {"1", "2", "3", "4"} <= set(texts(to_svg(base_design("googlenet").cell)))
    assert "1" not in texts(to_svg(base_design("resnet-basic").cell))


@pytest.mark.parametrize(
    "text",
    [
        "##Loop##\n0:input\n1:output\n2:Add\n3:ReLU\n0->2\n2->3\n3->2\n3->1",
        "##Self##\n0:input\n1:output\n2:ReLU\n2->2\n0->2\n2->1",
        "##Alone##\n0:input\n1:output\n2:ReLU\n0->1",
        "##Two##\n0:input\n1:output\n2:ReLU\n3:ReLU\n2->3\n3->2\n0->1",
    ],
)
def test_a_wrong_block_can_still_be_looked_at(text):
    block = parse(text)
    assert set(boxes(to_svg(block))) == {str(node) for node in block.nodes}


def test_a_name_cannot_break_the_picture():
    block = base_design("resnet-basic").cell.replace(name="<script>\"&'</script>")
    root = ET.fromstring(to_svg(block))
    assert root.find(f"{SVG}title").text == "<script>\"&'</script>"
    assert not list(root.iter(f"{SVG}script"))


def test_notebooks_show_the_picture():
    block = base_design("convnext").cell
    assert block._repr_svg_() == to_svg(block)


def test_a_block_is_drawn_the_same_every_time():
    assert to_svg(crowded()) == to_svg(crowded())


def test_the_empty_layout_and_a_single_node_have_a_place():
    assert layered([], [], {}, 10).x == {}
    assert layered([7], [], {7: 40.0}, 10).x == {7: 20.0}


def test_a_layout_keeps_its_distances_and_sends_long_edges_round():
    edges = [(0, 1), (1, 2), (2, 3), (0, 3), (0, 4), (4, 3)]
    layout = layered(range(5), edges, dict.fromkeys(range(5), 50.0), 10.0)
    assert [layout.layers[n] for n in range(5)] == [0, 1, 2, 3, 1]
    assert abs(layout.x[1] - layout.x[4]) >= 60
    (first, _), (second, _) = layout.bends[(0, 3)]
    assert (first, second) == (1, 2)
    assert layout.bends[(0, 1)] == ()


def test_numbers_in_a_picture_are_finite():
    assert not re.search(r"nan|inf\b", to_svg(crowded(), site=SITE))
