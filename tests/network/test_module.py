"""The built module computes what the graph says: against an interpreter of its own, weight for weight."""

import random

import pytest
import torch
from torch import nn

from nader.graph import Block, Role, Site, check, parse
from nader.network import DesignError, build, build_network, get_skeleton, sites_of
from tests.graph import strategies
from tests.network.designs import designs, resnet_cell
from tests.network.oracle import Interpreter
from tests.network.random_blocks import random_graph, to_text
from tests.network.reading import read

DIGITS = get_skeleton("digits")


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with every parameter and running statistic drawn anew: nothing cancels by being 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                low, high = (0.5, 1.5) if name.endswith("running_var") else (-0.5, 0.5)
                tensor.uniform_(low, high, generator=generator)
    return module


def _same_as_the_interpreter(block: Block, site: Site) -> None:
    module = shaken(build(block, site)).double()
    run = Interpreter(read(str(block)), site.C, site.dim, site.H, site.W)
    x = torch.randn(3, site.C, site.H, site.W)
    run(x, training=True)  # makes the layers
    for index, layer in run.layers.items():
        (name,) = (step.name for step in module.steps if step.node == index)
        layer.load_state_dict(getattr(module, name).state_dict())
        layer.double()
    has_drop_path = any(node.op == "DropPath" for node in block.nodes)
    for training in (False,) if has_drop_path else (False, True):
        torch.testing.assert_close(module.train(training)(x.double()), run(x.double(), training))


@pytest.mark.parametrize("name", designs())
def test_blocks_of_known_designs_compute_what_their_graphs_say(name):
    design = designs()[name]
    for role in Role:
        for site in sites_of(DIGITS, role, 16):
            _same_as_the_interpreter(design.block(role), site)


def test_random_blocks_compute_what_their_graphs_say():
    done = 0
    for seed in range(150):
        rng = random.Random(seed)
        text = str(strategies.random_block(rng)) if seed % 2 else to_text(random_graph(rng))
        site = Site(Role.CELL, 4, 4, rng.choice((4, 5)), rng.choice((4, 6)))
        if check(text, Role.CELL, [site]).ok:
            _same_as_the_interpreter(parse(text), site)
            done += 1
    assert done > 60


ONE = "##one##\n0:input\n1:output\n2:{}\n0->2->1\n"


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        # kernel 2: the odd pixel lies to the right, and padding enters neither the average nor the maximum
        ("AvgPool2d(kernel_size=(1,2),stride=1)", [1.5, 2.5, 3.5, 4.0]),
        ("MaxPool2d(kernel_size=(1,2),stride=1)", [2.0, 3.0, 4.0, 4.0]),
        # kernel 3: centred
        ("AvgPool2d(kernel_size=(1,3),stride=1)", [1.5, 2.0, 3.0, 3.5]),
        ("MaxPool2d(kernel_size=(1,3),stride=1)", [2.0, 3.0, 4.0, 4.0]),
        # kernel 4: one pixel before, two after
        ("AvgPool2d(kernel_size=(1,4),stride=1)", [2.0, 2.5, 3.0, 3.5]),
    ],
)
def test_padding_follows_the_documented_rule(operation, expected):
    module = build(parse(ONE.format(operation)), Site(Role.CELL, 1, 1, 1, 4))
    row = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    assert module(row).flatten().tolist() == expected


def test_a_strided_convolution_is_padded_as_resnets_are():
    text = ONE.format("Conv2d(out_channels=dim,kernel_size=3,stride=2)")
    module = build(parse(text), Site(Role.DOWNSAMPLE, 4, 8, 8, 8))
    reference = nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False)
    reference.load_state_dict(module.conv2.state_dict())
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(module(x), reference(x))


def test_convolutions_carry_a_bias_where_the_skeleton_says_so():
    for name, biased in (("nas-bench-201", False), ("nader", True)):
        network = build_network(resnet_cell(), get_skeleton(name).with_cells(1), 4, 10)
        layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        assert layers
        assert all((layer.bias is not None) == biased for layer in layers)


def test_the_head_is_the_skeletons():
    with_norm = build_network(resnet_cell(), DIGITS, 4, 10)
    bare = build_network(resnet_cell(), DIGITS.model_copy(update={"head": "gap-linear"}), 4, 10)
    assert set(with_norm.state_dict()) - set(bare.state_dict()) == {
        f"norm.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }


def test_drop_path_drops_whole_examples_in_training_and_nothing_in_evaluation():
    module = build(parse(ONE.format("DropPath(prob=0.5)")), Site(Role.CELL, 2, 2, 3, 3))
    x = torch.ones(400, 2, 3, 3)
    assert torch.equal(module.eval()(x), x)
    torch.manual_seed(0)
    kept = module.train()(x).flatten(1)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(kept.amin(1), kept.amax(1))
    assert 130 < (kept[:, 0] > 0).sum() < 270


def test_any_batch_goes_through_where_reshape_names_the_batch():
    cell = designs()["every operator"].cell
    module = build(cell, Site(Role.CELL, 8, 8, 8, 8)).eval()
    for batch in (1, 2, 5):
        assert module(torch.randn(batch, 8, 8, 8)).shape == (batch, 8, 8, 8)


def test_a_block_that_does_not_fit_is_refused_with_the_verifiers_words():
    block = parse(ONE.format("Conv2d(out_channels=C,kernel_size=3,groups=3)"))
    with pytest.raises(DesignError, match="groups=3 must divide") as caught:
        build(block, Site(Role.CELL, 8, 8, 8, 8))
    assert caught.value.problems


def test_the_imagenet_skeleton_builds_with_a_stem_of_a_quarter():
    from nader.graph import Design

    stem = parse(ONE.format("Conv2d(out_channels=dim,kernel_size=4,stride=4)"))
    design = Design(resnet_cell().cell, stem, resnet_cell().downsample)
    skeleton = get_skeleton("imagenet").for_image(3, 64, 64)
    network = build_network(design, skeleton, 16, 20).eval()
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 20)
    assert [len(getattr(network, f"stage{stage}")) for stage in (1, 2, 3, 4)] == [3, 3, 9, 3]
