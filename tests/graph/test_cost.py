"""Closed-form cost: by hand, at many sites, and against published numbers."""

import math

import numpy as np
import pytest

from nader.graph import BlockError, Counting, Design, Role, Site, cost_at, cost_of, parse, verify
from tests.conftest import shared_data


def chain(*operations):
    nodes = ["0:input", "1:output", *(f"{i}:{op}" for i, op in enumerate(operations, start=2))]
    path = [0, *range(2, len(operations) + 2), 1]
    return parse("##b##\n" + "\n".join(nodes) + "\n" + "->".join(map(str, path)))


@pytest.mark.parametrize(
    ("operations", "parameters", "macs", "thop"),
    [
        (("Conv2d(10,3,groups=2)",), 10 * (3 * 9 + 1), 10 * 27 * 20, 10 * 27 * 20),
        (("Conv2d(10,(3,1),2)",), 10 * (6 * 3 + 1), 10 * 18 * 6, 10 * 18 * 6),
        (("BN", "ReLU"), 12, 0, 4 * 120),
        (("permute(0,2,3,1)", "LN", "Linear(7)"), 12 + 7 * 7, 20 * 7 * 6, 20 * 7 * 6 + 4 * 120),
        (("AvgPool2d(2)", "MaxPool2d(3,1)"), 0, 0, 6 * 6),
        (("AdaptiveAvgPool2d(1)",), 0, 0, 6 * 20 + 6),
        (("mean(dim=1)", "sum(dim=0)", "softmax(2)"), 0, 0, 0),
    ],
)
def test_the_cost_of_an_operation_is_what_one_counts_by_hand(operations, parameters, macs, thop):
    site = [Site(Role.CELL, 6, 6, 5, 4)]
    assert [column.tolist() for column in cost_at(chain(*operations), site, conv_bias=True)] == [
        [parameters],
        [macs],
    ]
    assert cost_at(chain(*operations), site, Counting.THOP)[1].tolist() == [thop]


def test_convolutions_may_be_counted_with_a_bias():
    block = chain("Conv2d(10,3)", "permute(0,2,3,1)", "Linear(7)")
    site = [Site(Role.CELL, 6, 6, 5, 4)]
    assert cost_at(block, site)[0].tolist() == [10 * 54 + 11 * 7]
    assert cost_at(block, site, conv_bias=True)[0].tolist() == [10 * 55 + 11 * 7]


def test_a_matrix_product_counts_once_for_each_matrix():
    block = parse("##b##\n0:input\n1:output\n2:permute(0,1,3,2)\n3:Multiply\n0->2\n0,2->3->1\n")
    parameters, macs = cost_at(block, [Site(Role.CELL, 6, 6, 5, 4)])
    assert (parameters.tolist(), macs.tolist()) == ([0], [6 * 5 * 5 * 4])


def test_many_sites_cost_what_each_costs_alone():
    block = chain("Conv2d(C*2,3,groups=2)", "BN", "Conv2d(C,1)")
    sites = [Site(Role.CELL, width, width, side, side + 1) for width in range(2, 40, 2) for side in (3, 8)]
    parameters, macs = cost_at(block, sites)
    assert parameters.dtype == macs.dtype == np.int64
    for index, site in enumerate(sites):
        assert [column[0] for column in cost_at(block, [site])] == [parameters[index], macs[index]]


def test_a_block_that_works_nowhere_has_no_cost():
    with pytest.raises(BlockError, match="channels-last"):
        cost_at(chain("LN"), [Site(Role.CELL, 6, 6, 5, 4)])


@pytest.mark.parametrize(
    ("name", "width", "parameters", "macs"),
    [
        ("nasbench201_cifar100_optimal", 16, "1.2973", "0.1878"),
        ("nasbench201_cifar100_acc76", 20, "1.4081", "0.1931"),
    ],
)
def test_published_designs_cost_what_is_published(name, width, parameters, macs):
    """Stem, three stages of five cells, two downsample blocks, global average pool, linear layer of 100."""
    path = shared_data("data/nader-official/blocks") / f"nas-bench-201-blocks-{name}.txt"
    design = Design.from_text(path.read_text())
    places = [(design.stem, Site(Role.STEM, 3, width, 32, 32), 1)]
    for stage in range(3):
        channels, side = width * 2**stage, 32 // 2**stage
        places.append((design.cell, Site(Role.CELL, channels, channels, side, side), 5))
        if stage < 2:
            places.append((design.downsample, Site(Role.DOWNSAMPLE, channels, 2 * channels, side, side), 1))
    totals = np.array([0, 0])
    for block, site, count in places:
        totals += count * np.array(
            [column[0] for column in cost_at(block, [site], Counting.THOP, conv_bias=True)]
        )
    features = 4 * width
    head = np.array([features * 100 + 100, features * 100 + features * 64 + features])
    found = totals + head
    assert f"{found[0] / 1e6:.4f}" == parameters
    assert f"{found[1] / 1e9:.4f}" == macs
    assert math.isclose(found[1] / 1e9, float(macs), abs_tol=5e-5)


def test_a_verdict_costs_what_its_block_costs():
    block = chain(
        "Conv2d(out_channels=2*C,kernel_size=3)", "BN", "ReLU", "Conv2d(out_channels=C,kernel_size=1)"
    )
    sites = [Site(Role.CELL, c, c, 8, 8) for c in (4, 6, 10)]
    for counting in Counting:
        mine = cost_of(verify(block, Role.CELL, sites), counting)
        assert [column.tolist() for column in mine] == [
            column.tolist() for column in cost_at(block, sites, counting)
        ]


def test_a_verdict_with_problems_has_no_cost():
    block = chain("Conv2d(out_channels=2*C,kernel_size=3)")
    with pytest.raises(BlockError, match="output"):
        cost_of(verify(block, Role.CELL, [Site(Role.CELL, 4, 4, 8, 8)]))
