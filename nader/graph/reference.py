"""The definition of the block language for a reader who has never seen it, as prompts give it to a model."""

from __future__ import annotations

from functools import lru_cache

from nader.graph.library import base_design
from nader.graph.operators import OPERATORS, Operator
from nader.graph.printing import print_block
from nader.graph.sites import Role
from nader.graph.structure import MAX_EDGES, MAX_NODES

MEANINGS: dict[str, str] = {
    "input": "The input of the block, (B, C, H, W). Exactly one, with nothing before it.",
    "output": "The result of the block. Exactly one, with exactly one input and nothing after it.",
    "Conv2d": (
        "Convolution of a map (B, c, h, w) to (B, out_channels, ceil(h/stride), ceil(w/stride)); it is "
        "padded so that stride 1 keeps the size whatever the kernel and the dilation. groups must divide "
        "both c and out_channels; groups=C on C channels is a depthwise convolution. Kernel, stride and "
        "dilation may be pairs: kernel_size=(1,7)."
    ),
    "Linear": (
        "Fully connected layer on the LAST dimension, (…, c) to (…, out_channels): after permute(0,2,3,1) to "
        "(B, H, W, C), or on (B, C) or (B, length, C), never on (B, C, H, W)."
    ),
    "AvgPool2d": (
        "Average over windows of a map, padding not counted; to (B, c, ceil(h/stride), ceil(w/stride)). "
        "Write stride=1 to keep the size: without it the stride is the kernel size. Both may be pairs, "
        "AvgPool2d(kernel_size=(1,3),stride=1)."
    ),
    "MaxPool2d": "Maximum over windows of a map, with the same sizes as AvgPool2d.",
    "AdaptiveAvgPool2d": (
        "Average of a map to a given height and width, whatever it has: AdaptiveAvgPool2d(output_size=1) "
        "gives (B, c, 1, 1), AdaptiveAvgPool2d(output_size=(H,1)) gives (B, c, H, 1). The sides may also "
        "grow, by repeating values: AdaptiveAvgPool2d(output_size=(H,W)) brings any map to the height and "
        "width of the block's input, as after pooling or a stride."
    ),
    "AdaptiveMaxPool2d": (
        "Maximum of a map to a given height and width, with the same sizes as AdaptiveAvgPool2d."
    ),
    "Add": (
        "Sum of its inputs, element by element. Their shapes are equal, or broadcast: (B, c, 1, 1) with (B,"
        " c, h, w)."
    ),
    "Mul": "Product of its inputs, element by element, with the same rule for the shapes as Add.",
    "Multiply": (
        "Matrix product of the first input (…, n, k) and the second (…, k, m): (…, n, m). The order of the "
        "two edges into it is the order of the factors."
    ),
    "concat": (
        "Joins its inputs along dimension dim, in the order of their edges; all other sizes are equal. "
        "concat(dim=1) joins channels of maps."
    ),
    "mean": (
        "Mean over one dimension or several, which stay with size 1: mean(dim=1) of (B, c, h, w) is (B, 1, "
        "h, w), mean(dim=(2,3)) is (B, c, 1, 1)."
    ),
    "max": "Maximum over one dimension or several, which stay with size 1, as mean.",
    "sum": "Sum over one dimension or several, which stay with size 1, as mean.",
    "softmax": "Softmax along one dimension; the shape stays.",
    "ReLU": "Activation; any shape.",
    "GELU": "Activation; any shape.",
    "Sigmoid": "Activation; any shape. Mul with a Sigmoid is a gate.",
    "BN": "Batch normalisation over dimension 1, the channels of (B, c, h, w), (B, c, length) or (B, c).",
    "LN": (
        "Layer normalisation over the LAST dimension, which must not be the height or width of a map: "
        "permute(0,2,3,1), LN, permute(0,3,1,2) normalises the channels of a map."
    ),
    "DropPath": (
        "Stochastic depth: while training, its input is set to zero for a random part prob of the images; "
        "any shape. Use it only on a branch that is added to a skip."
    ),
    "permute": "Reorders the dimensions: permute(0,2,3,1) turns (B, C, H, W) into (B, H, W, C).",
    "repeat": (
        "Repeats the tensor so many times along each dimension: repeat(1,1,2,2) of (B, c, h, w) is (B, c, "
        "2*h, 2*w), repeat(1,1,H,W) of (B, c, 1, 1) is (B, c, H, W). After a stride of 2, which rounds up, "
        "repeat(1,1,2,2) gives H and W back only where they are even."
    ),
    "reshape": (
        "Gives the same elements another shape: reshape(B,C,H*W). One size may be -1 and is worked out."
    ),
}
"""What each operator does; `language_reference` adds how it is called and how many inputs it takes."""

ROLES: dict[Role, str] = {
    Role.CELL: (
        "A cell is stacked many times, so its output has the shape of its input, (B, C, H, W), and dim = C. "
        "A path may leave that height and width if it is brought back to them."
    ),
    Role.STEM: (
        "A stem takes the image, (B, C, H, W) with C image channels, to (B, dim, H, W), or to (B, dim, H/4, "
        "W/4), quarters rounded up, where a scale of 1/4 is asked for. Its last channels are dim, not C."
    ),
    Role.DOWNSAMPLE: (
        "A downsample block stands between two stages and takes (B, C, H, W) to (B, dim, H/2, W/2), halves "
        "of odd sizes rounded up, as a stride of 2 or AdaptiveAvgPool2d(output_size=((H+1)//2,(W+1)//2)) "
        "gives them. Its last channels are dim, not C. Branches agree in height and width where they meet, "
        "or have 1 there, as a gate pooled to (B, dim, 1, 1) has."
    ),
}
"""What a block of each role must do."""

HEAD = f"""\
# The block language

A block is a directed graph without cycles. Its text has three parts:

1. `##Name##`, one line with the block's name;
2. `index:operation`, one line for each node: a whole number that no other node has, a colon, the operation;
3. `source->target`, one line for each edge between two nodes.

Nothing else: no comments, no words. At most {MAX_NODES} nodes and {MAX_EDGES} edges. Every node leads to
the output and is reached from the input. An operation takes exactly as many inputs as its list says; one
node may feed many. Two nodes have at most one edge between them. Each Conv2d, Linear, BN and LN has weights
of its own.

## Sizes

A size is a whole number or an expression of `C` (channels of the block's input), `dim` (channels of its
output), `H` and `W` (height and width of its input) and, in reshape and repeat, `B` (images in the batch),
with `+ - * / //` and parentheses: `C//4`, `4*C`, `H*W`. `/` divides exactly and `//` rounds down. A size
that is not whole at the end is rounded down, but what has `B` in it is never rounded. A size is at least 1.
Sizes must fit for every C, H and W the network may have, not for one of them, so write `C`, never 64. H and
W may be odd. Dimensions are counted from 0, or from the end by -1, -2, …: (B, C, H, W) has the channels in
dimension 1.

## Operations
"""


@lru_cache(maxsize=8)
def language_reference(*roles: Role | str) -> str:
    """The whole language for blocks of these roles, with examples: Markdown, 6,000 to 7,000 characters
    (paper, Table A6).
    """
    operations = "\n".join(
        f"- `{operator.signature}` ({_inputs(operator)}): {MEANINGS[name]}"
        for name, operator in OPERATORS.items()
    )
    parts = "\n\n".join(_part(Role(role)) for role in roles)
    return f"{HEAD}\n{operations}\n\n{parts}\n"


def _part(role: Role) -> str:
    """What a block of the role is for, and examples."""
    shown = "\n\n".join(f"```\n{text}```" for text in _examples(role))
    named = f"{role.value} block" if role is Role.DOWNSAMPLE else role.value
    return f"## What a {named} is for\n\n{ROLES[role]}\n\nExamples:\n\n{shown}"


def _inputs(operator: Operator) -> str:
    if operator.most is None:
        return f"{operator.fewest} or more inputs"
    return {0: "no input", 1: "1 input"}.get(operator.most, f"{operator.most} inputs")


def _examples(role: Role) -> list[str]:
    """Printed blocks of the base designs that between them show most of the language."""
    names = {
        Role.CELL: ("se-resnet", "convnext"),
        Role.STEM: ("resnet-basic", "convnext"),
        Role.DOWNSAMPLE: ("resnet-basic", "googlenet"),
    }
    examples = [print_block(base_design(name).block(role)) for name in names[role]]
    if role is Role.STEM:
        examples.append(
            print_block(base_design("resnet-basic", stride=4).stem).replace("quarter", "of_scale_1_4")
        )
    return examples
