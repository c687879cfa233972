"""The operators of the block language (paper, Table A6) and DropPath: names, parameters, number of inputs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a parameter takes."""

    SIZE = "a size"
    PAIR = "a size or a pair of sizes (height, width)"
    DIMS = "a dimension or several dimensions"
    DIM = "a dimension"
    LIST = "a list of sizes"
    PROBABILITY = "a number from 0 up to, not including, 1"


@dataclass(frozen=True)
class Parameter:
    """One parameter of an operator; without a default it must be given."""

    name: str
    kind: Kind
    default: str | None = None


@dataclass(frozen=True)
class Operator:
    """An operator: its canonical name, its parameters in positional order, how many inputs it takes.

    ``commutative``: the order of its inputs does not matter. ``weights``: a node of it has parameters of
    its own, so that two such nodes are never the same.
    """

    name: str
    parameters: tuple[Parameter, ...] = ()
    fewest: int = 1
    most: int | None = 1
    commutative: bool = False
    weights: bool = False

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that canonical name."""
        return next((p for p in self.parameters if p.name == name), None)

    @property
    def signature(self) -> str:
        """How it is called, for messages."""
        if not self.parameters:
            return self.name
        if self.parameters[0].kind is Kind.LIST:
            return f"{self.name}(*{self.parameters[0].name})"
        parts = (p.name if p.default is None else f"{p.name}={p.default}" for p in self.parameters)
        return f"{self.name}({', '.join(parts)})"


_KERNEL = Parameter("kernel_size", Kind.PAIR)
_OUTPUT_SIZE = (Parameter("output_size", Kind.PAIR),)
_OUT_CHANNELS = Parameter("out_channels", Kind.SIZE)
_DIMS = (Parameter("dim", Kind.DIMS),)
_DIM = (Parameter("dim", Kind.DIM),)
_POOL = (_KERNEL, Parameter("stride", Kind.PAIR, "kernel_size"))

OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        Operator("input", fewest=0, most=0),
        Operator("output"),
        Operator(
            "Conv2d",
            (
                _OUT_CHANNELS,
                _KERNEL,
                Parameter("stride", Kind.PAIR, "1"),
                Parameter("dilation", Kind.PAIR, "1"),
                Parameter("groups", Kind.SIZE, "1"),
            ),
            weights=True,
        ),
        Operator("Linear", (_OUT_CHANNELS,), weights=True),
        Operator("AvgPool2d", _POOL),
        Operator("MaxPool2d", _POOL),
        Operator("AdaptiveAvgPool2d", _OUTPUT_SIZE),
        Operator("AdaptiveMaxPool2d", _OUTPUT_SIZE),
        Operator("Add", fewest=2, most=None, commutative=True),
        Operator("Mul", fewest=2, most=None, commutative=True),
        Operator("Multiply", fewest=2, most=2),
        Operator("concat", _DIM, fewest=2, most=None),
        Operator("mean", _DIMS),
        Operator("max", _DIMS),
        Operator("sum", _DIMS),
        Operator("softmax", _DIM),
        Operator("ReLU"),
        Operator("GELU"),
        Operator("Sigmoid"),
        Operator("BN", weights=True),
        Operator("LN", weights=True),
        Operator("DropPath", (Parameter("prob", Kind.PROBABILITY, "0.2"),)),
        Operator("permute", (Parameter("dims", Kind.LIST),)),
        Operator("repeat", (Parameter("sizes", Kind.LIST),)),
        Operator("reshape", (Parameter("shape", Kind.LIST),)),
    )
}

ALIASES: dict[str, str] = {name.lower(): name for name in OPERATORS} | {
    "conv": "Conv2d",
    "convolution": "Conv2d",
    "fc": "Linear",
    "dense": "Linear",
    "avgpool": "AvgPool2d",
    "averagepool2d": "AvgPool2d",
    "maxpool": "MaxPool2d",
    "adaptiveavgpool": "AdaptiveAvgPool2d",
    "adaptivemaxpool": "AdaptiveMaxPool2d",
    "matmul": "Multiply",
    "bmm": "Multiply",
    "cat": "concat",
    "concatenate": "concat",
    "batchnorm": "BN",
    "batchnorm2d": "BN",
    "layernorm": "LN",
    "amax": "max",
    "view": "reshape",
}
"""Lower-case spellings that are read as an operator, with a note where the spelling differs."""

_ACTIVATION = "The activations are ReLU, GELU and Sigmoid."
_RESHAPE = "Write the new shape with reshape, such as reshape(B,C)."

INSTEAD: dict[str, str] = {
    "identity": "Leave the node out and connect its edges directly.",
    "skip": "Leave the node out and connect its edges directly.",
    "dropout": "Write DropPath(prob=0.2), or leave it out.",
    "groupnorm": "The normalisations are BN and LN.",
    "instancenorm": "The normalisations are BN and LN.",
    "globalavgpool": "Write AdaptiveAvgPool2d(output_size=1).",
    "gap": "Write AdaptiveAvgPool2d(output_size=1).",
    "upsample": "Write repeat, or AdaptiveAvgPool2d with a larger output_size.",
    "interpolate": "Write repeat, or AdaptiveAvgPool2d with a larger output_size.",
    "transpose": "Write permute with all dimensions, such as permute(0,2,1).",
    "sub": "There is no subtraction; Add, Mul, concat and Multiply join tensors.",
    "split": "There is no split; take channels by a 1x1 Conv2d.",
    "chunk": "There is no split; take channels by a 1x1 Conv2d.",
    **dict.fromkeys(
        ("tanh", "silu", "swish", "hardswish", "elu", "selu", "leakyrelu", "prelu", "relu6"), _ACTIVATION
    ),
    **dict.fromkeys(("flatten", "squeeze", "unsqueeze", "expand"), _RESHAPE),
}
"""What to write in the place of operations that models like and the language lacks, by lower-case name."""

PARAMETER_ALIASES: dict[str, str] = {
    "group": "groups",
    "kernel": "kernel_size",
    "strides": "stride",
    "dilations": "dilation",
    "out_channel": "out_channels",
    "out_features": "out_channels",
    "channels": "out_channels",
    "axis": "dim",
    "dims": "dim",
    "p": "prob",
    "drop_prob": "prob",
    "rate": "prob",
    "size": "shape",
    "repeats": "sizes",
}
"""Other spellings of parameters; each is tried only where the operator has no parameter so named."""
