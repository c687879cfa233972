"""Which edit a sentence names: the words by which papers and people call each kind."""

from __future__ import annotations

import re

_TABLE = """
squeeze-and-excitation: squeeze and excitation, squeeze excitation, squeeze, excitation, se block, se
    module, senet, channel attention, channel wise attention, channel recalibration, recalibrat, channel
    gate, channel gating, reweigh the channels, reweight channels, channel wise weight, feature attention
efficient-channel-attention: efficient channel attention, eca, local cross channel, cross channel
    interaction, 1d convolution over the channels, 1d convolution across channels, without dimensionality
    reduction
spatial-gate: spatial gate, spatial gating, spatial attention, cbam, attention map, attention mask,
    position wise gate, saliency, where to look, spatial mask, region of interest, channel mean and
    maximum
gated-unit: gated unit, gated linear unit, glu, gated convolution, gating, gate, gated, multiplicative,
    learned gate mix, element wise multiplication, elementwise product, simple gate, modulat, star operation
global-context: global context, context vector, gcnet, context block, global information, global feature,
    global pooling, long range context, scene context, context modeling, contextual information, global
    average pooling
pooled-attention: self attention, non local, transformer, attention to a pooled, pooled attention, multi
    head attention, long range dependenc, cross attention, linear attention, query, attention mechanism,
    token mix
channel-scale: layer scale, layerscale, channel scale, learned scale, per channel scal, learnable scal,
    scale of each channel, residual scal, rezero
depthwise-separable: depthwise separable, separable convolution, depthwise, depth wise, depthwise
    convolution, mobilenet, xception, pointwise convolution, lightweight convolution, factorized
    convolution
bottleneck: bottleneck, reduce the channels with 1x1, 1x1 convolutions to reduce, dimension reduction,
    dimensionality reduction, channel reduction, channel compression
inverted-bottleneck: inverted bottleneck, inverted residual, mobilenetv2, mbconv, expansion ratio, expand
    the channels, expansion layer, linear bottleneck, expand then project, feed forward network, mlp
    expansion
larger-kernel: larger kernel, large kernel, bigger kernel, kernel size, 7x7, 5x5, enlarge the kernel,
    increase the kernel, wide kernel, large receptive field, larger receptive field, 31x31
dilation: dilat, atrous, dilated convolution, dilation rate, expand the receptive field, enlarge the
    receptive field, increase the receptive field, receptive field
grouped-convolution: grouped convolution, group convolution, groups of channels, resnext, cardinality,
    split the channels into groups, channel groups, grouping
channel-shuffle: channel shuffle, shuffle the channels, shufflenet, shuffl, interleav, mix the groups
asymmetric-convolution: asymmetric, asymmetric pair, 1xk, kx1, 1x3, 3x1, 1x7, 7x1, factoriz, factoris,
    strip, horizontal and vertical, acnet, decompose the kernel, decomposed kernel, axial
multi-scale: multi scale, multiscale, mixed kernel, mixconv, several kernel sizes, different kernel sizes,
    multiple kernel sizes, pyramid, several scales, different scales, selective kernel, multi resolution,
    multiple scales
parallel-add: parallel branch, parallel branches, parallel 1x1, repvgg, reparameteri, re parameteri,
    structural reparameterization, branches and add, sum of branches, parallel path, dual branch, two
    branch, multi branch, multiple paths, summed branches, ensemble
parallel-concat: inception, googlenet, concatenate the branches, branches are concatenated, concatenating
    parallel, parallel branches with concat, parallel convolutions and concatenat, concatenate parallel,
    split transform merge, concatenat, feature fusion, fuse features, cross stage partial
pooling-branch: pooling branch, average pooling, max pooling, poolformer, metaformer, pool the input,
    parallel pooling, pooling operation, pooling layer, pooling as, local pooling, low pass, low
    frequency, blur
extra-skip: skip connection, skip, shortcut, residual connection, residual, identity mapping, identity
    path, extra skip, additional skip, gradient flow, highway
dense-connection: dense connection, densely connected, densenet, dense block, feature reuse, reuse
    features, reuse of features, reusing features, all preceding, earlier features are concatenated,
    hierarchical feature, aggregat
stochastic-depth: stochastic depth, drop path, droppath, dropping branches, drop the branch, randomly
    drop, dropout, regulariz, regularis, randomly skip, leave a branch out
remove-branch: remove a branch, remove the branch, prune a branch, fewer branches, single branch, plain
    network
remove-layer: remove a layer, remove layers, prun, fewer layers, simplif, remove redundant, shallower,
    redundan, fewer activation, fewer normalization, lightweight, reduce the number of layers
add-layer: add a layer, additional layer, extra layer, deeper, additional convolution, extra convolution,
    more layers, stack, increase the depth, increase depth, another convolution
wider-middle: wider, widen, wide residual, more channels, increase the width, increase width, width of the
    block, channel capacity, more filters, number of channels
gelu: gelu, gaussian error, smooth activation, smoother activation, replace relu, activation function
swish: swish, silu, self gated activation, x times sigmoid, sigmoid linear unit, hard swish, mish
layer-norm: layer norm, layernorm, layer normalization, layer normalisation, normalize each position
batch-norm: batch norm, batchnorm, batch normalization, normalization layer, normalisation layer,
    normalization
pre-activation: pre activation, preactivation, before the convolution, before each convolution, full pre
    activation, normalization before, clean identity, bn relu conv, pre norm
"""


def _read(table: str) -> dict[str, str]:
    """The table turned round: a kind and its phrases begin a line, an indented line goes on with them."""
    kinds: dict[str, str] = {}
    for entry in table.strip().replace("\n    ", " ").split("\n"):
        kind, phrases = entry.split(": ", 1)
        kinds.update((phrase.strip(), kind) for phrase in (kind.replace("-", " "), *phrases.split(",")))
    return kinds


KINDS_BY_PHRASE: dict[str, str] = _read(_TABLE)
"""Phrase → the kind of edit it names: lower case, hyphens as spaces; the end of a word may follow."""

_PATTERN = re.compile(
    r"\b(" + "|".join(re.escape(phrase) for phrase in sorted(KINDS_BY_PHRASE, key=len, reverse=True)) + r")"
)


def edits_named_in(text: str) -> tuple[str, ...]:
    """Every kind of edit that a sentence names, the longest phrase first, then the earliest."""
    plain = re.sub(r"[\s\-_‐‑–/,]+", " ", text.lower().replace("×", "x"))
    found = [(-len(match[1]), match.start(), KINDS_BY_PHRASE[match[1]]) for match in _PATTERN.finditer(plain)]
    kinds = list(dict.fromkeys(kind for _, _, kind in sorted(found)))
    if {"parallel-add", "parallel-concat"} <= set(kinds) and not re.search(r"\b(add|sum)", plain):
        # "Parallel branches" says nothing of how they are joined; what is concatenated is not added.
        kinds.remove("parallel-add")
    return tuple(kinds)


def edit_named_in(text: str) -> str | None:
    """The kind of edit that a sentence names, or None where it names none."""
    return next(iter(edits_named_in(text)), None)
