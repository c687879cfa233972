"""Designs to build networks from: base designs, published ones, and random ones that work somewhere."""

from __future__ import annotations

import random
from dataclasses import dataclass

from nader.graph import BASE_DESIGNS, Block, Design, Role, base_design, nas_bench_201_design, parse, parse_all
from nader.network import Skeleton, verify_block, verify_design
from tests.conftest import shared_data
from tests.graph import strategies

RESNET_CELL = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
OPTIMAL = "nas-bench-201-blocks-nasbench201_cifar100_optimal.txt"
ACC76 = "nas-bench-201-blocks-nasbench201_cifar100_acc76.txt"


def published(name: str) -> Design:
    """A published design by its file name."""
    return Design(*parse_all(shared_data(f"data/nader-official/blocks/{name}").read_text()))


def resnet_cell() -> Design:
    """The ResNet cell of NAS-Bench-201."""
    return nas_bench_201_design(RESNET_CELL)


def designs() -> dict[str, Design]:
    """Designs every test of a whole network runs over."""
    return {name: base_design(name) for name in BASE_DESIGNS} | {
        "nas-bench-201": resnet_cell(),
        "every operator": EVERY_OPERATOR,
    }


def random_design(seed: int, skeleton: Skeleton) -> Design:
    """A random design that works at some width of the skeleton."""
    rng = random.Random(seed)
    while True:
        design = Design(
            *(_random_block(rng, role, skeleton) for role in (Role.CELL, Role.STEM, Role.DOWNSAMPLE))
        )
        if verify_design(design, skeleton).ok:
            return design


def _random_block(rng: random.Random, role: Role, skeleton: Skeleton) -> Block:
    while True:
        block = strategies.random_draft(rng, role, 1 if role is Role.STEM else None)
        if verify_block(block, role, skeleton).ok:
            return block


_CELL = """##every operator##
0:input
1:output
2:Conv2d(out_channels=C,kernel_size=(3,2),stride=1,dilation=(1,2),groups=C/2)
3:BN
4:MaxPool2d(kernel_size=2,stride=1)
5:AvgPool2d(kernel_size=(2,4),stride=1)
6:Add
7:GELU
8:reshape(B,C,H*W)
9:permute(0,2,1)
10:Linear(out_channels=C/2)
11:LN
12:permute(0,2,1)
13:Linear(out_channels=H*W)
14:Multiply
15:softmax(dim=-1)
16:Linear(out_channels=C)
17:permute(0,2,1)
18:max(dim=2)
19:reshape(B,C,1,1)
20:Sigmoid
21:repeat(1,1,H,1)
22:Mul
23:mean(dim=(2,3))
24:sum(dim=1)
25:Mul
26:DropPath(prob=0.1)
27:AdaptiveMaxPool2d(output_size=(H,1))
28:AdaptiveAvgPool2d(output_size=1)
29:Add
30:concat(dim=1)
31:Conv2d(out_channels=C,kernel_size=4)
32:ReLU
0->2->3
3->4->6
3->5->6
6->7->8->9->10->11
11->12->13
11->14
13->14
14->15->16->17->18->19->20->21
7->22
21->22
22->23->24->25
22->25
25->26->30
26->27->29
26->28->29
29->25b
25b:Add
26->25b
25b->30
30->31->32->1
"""


def _every_operator() -> Design:
    base = base_design("resnet-basic")
    cell = parse(_CELL.replace("25b", "33"))
    return Design(cell, base.stem, base.downsample)


EVERY_OPERATOR = _every_operator()


@dataclass(frozen=True)
class Built:
    """A design with a width it works at in a skeleton."""

    design: Design
    skeleton: Skeleton
    width: int


def at_some_width(design: Design, skeleton: Skeleton) -> Built:
    """The design at the smallest width it works at that is not trivial."""
    widths = verify_design(design, skeleton).widths
    assert widths, verify_design(design, skeleton).report()
    return Built(design, skeleton, next((width for width in widths if width >= 8), widths[-1]))
