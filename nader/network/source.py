"""A network printed as one readable Python file that needs torch alone."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nader.graph import Block, Design, Role, Site
from nader.network.lowering import Layer, Number, Step, lower
from nader.network.skeleton import Skeleton, require_classes, sites_of

_CLASS = {Role.STEM: "Stem", Role.CELL: "Cell", Role.DOWNSAMPLE: "Downsample"}
_POSITIONAL = (
    "in_channels",
    "out_channels",
    "in_features",
    "out_features",
    "num_features",
    "normalized_shape",
)
_POSITIONAL_TOO = ("output_size", "prob")


def to_source(design: Design, skeleton: Skeleton, width: int, classes: int) -> str:
    """The network as the text of a Python file with the classes Stem, Cell, Downsample and Network.

    Its state dict has the keys of `build_network`'s; with the same weights it gives the same logits. Raises
    DesignError, with the problems, where the width does not work.
    """
    require_classes(classes)
    blocks = {role: _BlockWriter(role, design.block(role), skeleton, width) for role in _CLASS}
    helpers = _helpers([step for writer in blocks.values() for steps in writer.steps for step in steps])
    image = skeleton.image
    doc = (
        f'"""An image classifier: [B, {image.channels}, {image.height}, {image.width}] in, logits '
        f'[B, {classes}] out.\n\nSkeleton {skeleton.name}, width {width}; needs torch and nothing else.\n"""'
    )
    imports = "import torch\nimport torch.nn.functional as F\nfrom torch import nn"
    parts = [f"{doc}\n\n{imports}", *helpers]
    for writer in blocks.values():
        parts += writer.classes()
    parts.append(_network(blocks, skeleton, width, classes))
    parts.append(_main(skeleton))
    return "\n\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class _Forms:
    """Writes a number that differs from site to site in terms of the site: C, C // 4, 2 * dim, H * W."""

    sites: tuple[Site, ...]

    def __call__(self, values: Sequence[int]) -> str:
        if len(set(values)) == 1:
            return str(values[0])
        for write in (_multiple, _part, _fraction, _sum):
            for name, of in _SIZES.items():
                text = write(name, values, [of(site) for site in self.sites])
                if text:
                    return text
        table = ", ".join(f"{site.dim}: {value}" for site, value in zip(self.sites, values, strict=True))
        return f"{{{table}}}[dim]"


def _multiple(name: str, values: Sequence[int], sizes: Sequence[int]) -> str:
    times = values[0] // sizes[0]
    if times < 1 or any(v != times * s for v, s in zip(values, sizes, strict=True)):
        return ""
    return name if times == 1 else f"{times} * {name}"


def _part(name: str, values: Sequence[int], sizes: Sequence[int]) -> str:
    by = sizes[0] // values[0] if values[0] > 0 else 0
    return f"{name} // {by}" if by and all(v == s // by for v, s in zip(values, sizes, strict=True)) else ""


def _fraction(name: str, values: Sequence[int], sizes: Sequence[int]) -> str:
    """Such as 3 * C // 2, which a concat of C and C // 2 has."""
    for by in (2, 3, 4, 6, 8, 12, 16):
        times = values[0] * by // sizes[0]
        if times > 1 and all(v * by == times * s for v, s in zip(values, sizes, strict=True)):
            return f"{times} * {name} // {by}"
    return ""


def _sum(name: str, values: Sequence[int], sizes: Sequence[int]) -> str:
    plus = values[0] - sizes[0]
    if any(v != s + plus for v, s in zip(values, sizes, strict=True)):
        return ""
    return f"{name} + {plus}" if plus > 0 else f"{name} - {-plus}"


_SIZES: dict[str, Callable[[Site], int]] = {
    "C": lambda site: site.C,
    "dim": lambda site: site.dim,
    "H * W": lambda site: site.H * site.W,
    "H": lambda site: site.H,
    "W": lambda site: site.W,
}


class _BlockWriter:
    """The class or classes of one block: one for all its sites where the steps differ only in sizes."""

    def __init__(self, role: Role, block: Block, skeleton: Skeleton, width: int) -> None:
        self.name = _CLASS[role]
        self.sites = sites_of(skeleton, role, width)
        self.steps = [lower(block, site, conv_bias=skeleton.conv_bias) for site in self.sites]
        self.title = block.name
        alike = len({tuple(map(_outline, steps)) for steps in self.steps}) == 1
        indices = list(range(len(self.sites)))
        self.groups = [indices] if alike and indices else [[index] for index in indices]
        self._written = [self._class(number) for number in range(len(self.groups))]

    def classes(self) -> list[str]:
        """The text of each class."""
        return [text for text, _ in self._written]

    def call(self, place: int) -> str:
        """The expression that makes the block for its site number `place`."""
        number = next(number for number, group in enumerate(self.groups) if place in group)
        site = self.sites[place]
        sizes = {"C": site.C, "dim": site.dim, "H": site.H, "W": site.W}
        used = self._written[number][1]
        return f"{self._class_name(number)}({', '.join(f'{name}={sizes[name]}' for name in used)})"

    def _class_name(self, number: int) -> str:
        return self.name if len(self.groups) == 1 else f"{self.name}{number + 1}"

    def _class(self, number: int) -> tuple[str, tuple[str, ...]]:
        """The text of a class and the sizes its constructor takes."""
        group = self.groups[number]
        form = _Forms(tuple(self.sites[index] for index in group))
        columns = list(zip(*(self.steps[index] for index in group), strict=True))
        layers = [f"self.{steps[0].name} = {_layer(steps, form)}" for steps in columns if steps[0].layer]
        lines = [line for steps in columns for line in _forward(steps, form)]
        in_forward = _names("\n".join(lines))
        keep = [f"self.{name} = {name}" for name in ("dim",) if name in in_forward]
        lines = [line.replace("[dim]", "[self.dim]") for line in lines]
        if keep:
            lines = [_with_self(line) for line in lines]
        taken = in_forward - {"dim"}
        if taken or "B" in in_forward:
            unpack = ", ".join(name if name in taken else "_" for name in ("B", "C", "H", "W"))
            lines.insert(0, f"{unpack} = x.shape")
        used = tuple(n for n in ("C", "dim", "H", "W") if n in _names("\n".join([*layers, *keep])))
        shapes = _shapes([self.sites[index] for index in group])
        doc = f'    """{_docstring(self.title)}: {shapes}."""'
        body = [f"class {self._class_name(number)}(nn.Module):", doc, ""]
        if layers or keep:
            arguments = ", ".join(["self", *used])
            body += [f"    def __init__({arguments}):", "        super().__init__()"]
            body += [f"        {line}" for line in (*keep, *layers)] + [""]
        body += ["    def forward(self, x):", *(f"        {line}" for line in lines)]
        return "\n".join(body), used


def _names(text: str) -> set[str]:
    """The sizes a piece of source mentions."""
    return set(re.findall(r"(?<![\w.])(B|C|dim|H|W)(?![\w=])", text))


def _with_self(line: str) -> str:
    return re.sub(r"(?<![\w.])dim(?![\w=])", "self.dim", line)


def _shapes(sites: Sequence[Site]) -> str:
    """What goes in and what comes out, in numbers where there is but one place."""
    first = sites[0]
    sizes: tuple[object, ...]
    if len(sites) == 1:
        sizes = (first.C, first.H, first.W, *first.output_shape)
    else:
        sides = ("H", "W") if first.stride == 1 else (f"H / {first.stride}", f"W / {first.stride}")
        sizes = ("C", "H", "W", _Forms(tuple(sites))([site.dim for site in sites]), *sides)
    before, after = sizes[:3], sizes[3:]
    return f"[B, {', '.join(map(str, before))}] -> [B, {', '.join(map(str, after))}]"


def _docstring(title: str) -> str:
    plain = "".join(c if c.isalnum() or c in " _-." else " " for c in title).strip()
    return plain or "block"


def _outline(step: Step) -> Step:
    """A step without the sizes that may differ from site to site."""
    layer = step.layer and replace(
        step.layer,
        arguments=tuple((name, value if not _is_size(name) else 0) for name, value in step.layer.arguments),
    )
    return replace(
        step,
        layer=layer,
        extents=tuple(replace(e, times=bool(e.times), plus=0, written="") for e in step.extents),
    )


def _is_size(name: str) -> bool:
    return name in (*_POSITIONAL, "output_size", "groups", "kernel_size", "stride", "padding", "dilation")


def _layer(steps: Sequence[Step], form: _Forms) -> str:
    """The constructor of a layer, over the sites."""
    layers = [step.layer for step in steps]
    first = layers[0]
    assert first is not None
    written = []
    for name, value in first.arguments:
        if name == "stride" and first.kind == "Conv2d" and all(_get(layer, name) == 1 for layer in layers):
            continue
        if _is_size(name):
            text = _size([_get(layer, name) for layer in layers], form)
        else:
            text = repr(value)
        written.append(text if name in (*_POSITIONAL, *_POSITIONAL_TOO) else f"{name}={text}")
    prefix = "" if first.kind == "DropPath" else "nn."
    return f"{prefix}{first.kind}({', '.join(written)})"


def _get(layer: Layer | None, name: str) -> Number:
    assert layer is not None
    return dict(layer.arguments)[name]


def _size(values: Sequence[Number], form: _Forms) -> str:
    """A size or a pair of sizes."""
    if any(isinstance(value, tuple) for value in values):
        pairs = [value if isinstance(value, tuple) else (int(value), int(value)) for value in values]
        return f"({', '.join(form(part) for part in zip(*pairs, strict=True))})"
    return form([int(value) for value in values if not isinstance(value, tuple)])


def _forward(steps: Sequence[Step], form: _Forms) -> list[str]:
    """The lines that compute a node."""
    step = steps[0]
    xs = [f"x{index}" for index in step.inputs]
    out = f"x{step.node}"
    if step.op == "input":
        return [f"{out} = x"]
    if step.op == "output":
        return [f"return {xs[0]}"]
    if step.layer is None:
        return [f"{out} = {_function(steps, xs, form)}"]
    if step.pad is None:
        return [f"{out} = self.{step.name}({xs[0]})"]
    if step.op == "MaxPool2d":
        return [f'{out} = self.{step.name}(F.pad({xs[0]}, {step.pad}, value=float("-inf")))']
    lines = [f"{out} = self.{step.name}(F.pad({xs[0]}, {step.pad}))"]
    if step.op == "AvgPool2d":
        ones = f"torch.ones_like({xs[0]}[:1, :1])"
        lines.append(
            f"{out} = {out} / self.{step.name}(F.pad({ones}, {step.pad}))  # only pixels that exist count"
        )
    return lines


def _function(steps: Sequence[Step], xs: list[str], form: _Forms) -> str:
    """The expression of an operator that has no layer."""
    step = steps[0]
    dims = ", ".join(map(str, step.dims))
    several = f"({dims},)" if len(step.dims) == 1 else f"({dims})"
    match step.op:
        case "Add":
            return " + ".join(xs)
        case "Mul":
            return " * ".join(xs)
        case "Multiply":
            return f"torch.matmul({xs[0]}, {xs[1]})"
        case "concat":
            return f"torch.cat([{', '.join(xs)}], dim={dims})"
        case "mean" | "sum" | "max":
            method = {"max": "amax"}.get(step.op, step.op)
            return f"{xs[0]}.{method}(dim={dims if len(step.dims) == 1 else several}, keepdim=True)"
        case "softmax":
            return f"{xs[0]}.softmax(dim={dims})"
        case "ReLU" | "GELU":
            return f"F.{step.op.lower()}({xs[0]})"
        case "Sigmoid":
            return f"torch.sigmoid({xs[0]})"
        case "permute":
            return f"{xs[0]}.permute({dims})"
        case _:
            sizes = (_extent(steps, place, form) for place in range(len(step.extents)))
            return f"{xs[0]}.{step.op}({', '.join(sizes)})"


def _extent(steps: Sequence[Step], place: int, form: _Forms) -> str:
    """One size of a reshape or repeat."""
    extents = [step.extents[place] for step in steps]
    if all(extent.written for extent in extents):
        return re.sub(r"(?<=[\w)])(//|[-+*])", r" \1 ", extents[0].written)
    plus = form([extent.plus for extent in extents])
    if not extents[0].times:
        return plus
    times = form([extent.times for extent in extents])
    text = "B" if times == "1" else f"B * ({times})" if " " in times else f"B * {times}"
    return text if plus == "0" else f"{text} + {plus}"


def _helpers(steps: Sequence[Step]) -> list[str]:
    """The one class of our own, where a step uses it."""
    if not any(step.layer and step.layer.kind == "DropPath" for step in steps):
        return []
    from nader.network.module import DropPath

    return [inspect.getsource(DropPath).rstrip().replace("Tensor", "torch.Tensor")]


def _network(blocks: dict[Role, _BlockWriter], skeleton: Skeleton, width: int, classes: int) -> str:
    """The class that joins the blocks."""
    make = [f"self.stem = {blocks[Role.STEM].call(0)}"]
    run = ["x = self.stem(x)"]
    for stage, cells in enumerate(skeleton.cells):
        if stage:
            make.append(f"self.downsample{stage} = {blocks[Role.DOWNSAMPLE].call(stage - 1)}")
            run.append(f"x = self.downsample{stage}(x)")
        cell = blocks[Role.CELL].call(stage)
        make.append(f"self.stage{stage + 1} = nn.Sequential(*({cell} for _ in range({cells})))")
        run.append(f"x = self.stage{stage + 1}(x)")
    channels = skeleton.channels(width)[-1]
    if skeleton.head == "bn-relu-gap-linear":
        make.append(f"self.norm = nn.BatchNorm2d({channels})")
        run.append("x = F.relu(self.norm(x))")
    make.append(f"self.classifier = nn.Linear({channels}, classes)")
    run.append("return self.classifier(x.mean(dim=(2, 3)))")
    lines = [
        "class Network(nn.Module):",
        '    """Stem, stages of cells joined by downsample blocks, classifier."""',
    ]
    lines += ["", f"    def __init__(self, classes={classes}):", "        super().__init__()"]
    lines += [f"        {line}" for line in make]
    lines += ["", "    def forward(self, x):", *(f"        {line}" for line in run)]
    return "\n".join(lines)


def _main(skeleton: Skeleton) -> str:
    image = skeleton.image
    size = f"2, {image.channels}, {image.height}, {image.width}"
    return (
        'if __name__ == "__main__":\n'
        "    network = Network()\n"
        '    print(sum(parameter.numel() for parameter in network.parameters()), "parameters")\n'
        f"    print(tuple(network(torch.zeros({size})).shape))"
    )
