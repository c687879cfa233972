"""Edits that change a cell's layers in place: activation, normalisation, order, one layer more or less."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from nader.graph.edit.plan import ACTIVATIONS, Plan, times
from nader.graph.edit.registry import Draft, edit
from nader.graph.sketch import (
    BN,
    CHANNELS_FIRST,
    CHANNELS_LAST,
    GELU,
    INPUT,
    LN,
    MUL,
    OUTPUT,
    SIGMOID,
    Operation,
)


def _each_then_all(nodes: list[int]) -> list[list[int]]:
    """All nodes together first, then each by itself, the last first."""
    return [nodes, *([node] for node in reversed(nodes))] if len(nodes) > 1 else [nodes] if nodes else []


def _named(plan: Plan, nodes: list[int]) -> str:
    return "every one" if len(nodes) > 1 else plan.label[nodes[0]]


@edit(
    "gelu",
    "Use GELU in the place of ReLU",
    source="Hendrycks and Gimpel, Gaussian Error Linear Units, 2016 (arXiv 1606.08415)",
    absent="the cell has no ReLU",
)
def gelu(plan: Plan) -> Iterator[Draft]:
    for nodes in _each_then_all(_operations(plan, "ReLU")):
        draft = plan.copy()
        draft.operations.update(dict.fromkeys(nodes, GELU))
        yield draft, f"GELU for ReLU in {_named(plan, nodes)}"


@edit(
    "swish",
    "Use x times sigmoid(x) in the place of the activation",
    source="Ramachandran, Zoph and Le, Searching for Activation Functions, 2017 (arXiv 1710.05941)",
    absent="the cell has no ReLU or GELU",
)
def swish(plan: Plan) -> Iterator[Draft]:
    for nodes in _each_then_all(_operations(plan, *sorted(ACTIVATIONS))):
        draft = plan.copy()
        for node in nodes:
            draft = draft.swapped(node, _swish)
        yield draft, f"x*sigmoid(x) for the activation in {_named(plan, nodes)}"


def _swish(plan: Plan, source: int) -> int:
    return plan.add(MUL, source, plan.add(SIGMOID, source))


def _operations(plan: Plan, *names: str) -> list[int]:
    return [node for node in plan.original if plan.operations[node].name in names]


@edit(
    "layer-norm",
    "Normalise over the channels of each position in the place of over the batch",
    source="Ba, Kiros and Hinton, Layer Normalization, 2016 (arXiv 1607.06450)",
    absent="the cell has no batch normalisation of a feature map",
)
def layer_norm(plan: Plan) -> Iterator[Draft]:
    for nodes in _each_then_all([node for node in _operations(plan, "BN") if plan.is_map(node)]):
        draft = plan.copy()
        for node in nodes:
            draft = draft.swapped(node, Plan.chain, CHANNELS_LAST, LN, CHANNELS_FIRST)
        yield draft, f"layer for batch normalisation in {_named(plan, nodes)}"


@edit(
    "batch-norm",
    "Normalise every channel over the batch, for layer normalisation or where a layer has none",
    source="Ioffe and Szegedy, Batch Normalization, ICML 2015",
    absent="the cell has no layer normalisation, and every layer of it is normalised",
)
def batch_norm(plan: Plan) -> Iterator[Draft]:
    for node in _operations(plan, "LN"):
        # Channels-last in and out, as LN needs them; BN takes the same map channels-first.
        source = plan.inputs[node][0]
        if plan.operations[source] == CHANNELS_LAST and plan.is_map(plan.inputs[source][0]):
            draft = plan.swapped(node, Plan.chain, CHANNELS_FIRST, BN, CHANNELS_LAST)
            yield draft, f"batch for layer normalisation in {plan.label[node]}"
    for node in plan.convs() + plan.convs(spatial=False):
        if plan.layer_end(node) == node:
            yield plan.grown(node, Plan.chain, BN), f"batch normalisation after {plan.label[node]}"


def _layer(plan: Plan, node: int) -> tuple[list[int], int | None]:
    """The BN and the activation that follow the convolution `node`; None where no activation does."""
    norm = plan.layer_end(node)
    if norm == node:
        return [], None
    users = plan.users(norm)
    follows = len(users) == 1 and plan.operations[users[0]].name in ACTIVATIONS
    return [norm], users[0] if follows else None


@edit(
    "pre-activation",
    "Normalise and activate before each convolution, and leave the sum with the skip as it is",
    source="He et al., Identity Mappings in Deep Residual Networks, ECCV 2016",
    absent="no convolution of the cell is followed by batch normalisation",
)
def pre_activation(plan: Plan) -> Iterator[Draft]:
    nodes = [node for node in plan.convs() + plan.convs(spatial=False) if plan.layer_end(node) != node]
    for chosen in _each_then_all(nodes):
        draft = plan.copy()
        for node in chosen:
            norms, activation = _layer(plan, node)
            for gone in [*norms, *([] if activation is None else [activation])]:
                draft.drop(gone)
            before = draft.chain(draft.inputs[node][0], BN, plan.activation())
            draft.inputs[node] = [before]
        end = plan.tail()
        sums = plan.operations[end].name in ACTIVATIONS and plan.operations[plan.inputs[end][0]].name == "Add"
        if sums and end in draft.operations:
            draft.drop(end)
        yield draft, f"normalisation and activation before the convolution in {_named(plan, chosen)}"


@edit(
    "remove-layer",
    "Take a layer out that gives as many channels as it takes",
    source="Veit, Wilber and Belongie, Residual Networks Behave Like Ensembles, NeurIPS 2016",
    absent="no layer of the cell can be taken out",
)
def remove_layer(plan: Plan) -> Iterator[Draft]:
    layers = plan.convs() + plan.convs(spatial=False)
    for node in reversed(layers):
        if not plan.same(node, plan.inputs[node][0]):
            continue
        draft = plan.copy()
        norms, activation = _layer(plan, node)
        for gone in [node, *norms, *([] if activation is None else [activation])]:
            draft.drop(gone)
        draft.tidy()
        if draft.inputs[OUTPUT] != [INPUT] and draft.has_weights():
            yield draft, f"the layer of {plan.label[node]} removed"


@edit(
    "add-layer",
    "Put one more convolution layer in",
    source="Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015",
    absent="no operation of the cell gives a feature map to build on",
)
def add_layer(plan: Plan) -> Iterator[Draft]:
    inner = [
        node for node in plan.units() if plan.operations[node].name in ACTIVATIONS and node != plan.tail()
    ]
    for kernel, place in product((3, 1), [*inner, *plan.anchors()]):
        draft = plan.grown(place, Plan.chain, *plan.layer(plan.channels(place), kernel))
        yield draft, f"a {kernel}x{kernel} layer after {plan.label[place]}"


@edit(
    "wider-middle",
    "Give the layers inside a cell more channels than its ends",
    source="Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016",
    absent="the cell has no two layers in a row whose middle could be widened",
)
def wider_middle(plan: Plan) -> Iterator[Draft]:
    linear = [
        node for node in _operations(plan, "Linear") if "C" in plan.operations[node].get("out_channels")
    ]
    for factor, node in product((2, 3), plan.convs() + plan.convs(spatial=False) + linear):
        if _undivided(plan.operations[node]) and _feeds_layers(plan, node):
            draft = plan.copy()
            wide = times(plan.operations[node].get("out_channels"), factor)
            draft.operations[node] = draft.operations[node].having(out_channels=wide)
            yield draft, f"{factor} times the channels between {plan.label[node]} and the next layer"


def _undivided(operation: Operation) -> bool:
    return operation.name in ("Conv2d", "Linear") and operation.get("groups", "1") == "1"


def _feeds_layers(plan: Plan, node: int) -> bool:
    """Whether nothing but normalisation and activations lies between `node` and undivided layers."""
    return OUTPUT not in plan.users(node) and all(
        _undivided(plan.operations[user])
        or (plan.operations[user].name in ("BN", "LN", "ReLU", "GELU") and _feeds_layers(plan, user))
        for user in plan.users(node)
    )
