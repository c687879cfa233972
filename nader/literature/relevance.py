"""Whether a text speaks of what a block is made of: a filter by words, for long lists.

A language model judges papers better. This filter is for what comes in thousands: inspirations of all of
computer vision, most of which speak of losses, data and tasks that no block can express.
"""

import re
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from nader.literature.papers import Inspiration

# Each group counts once, however many of its words occur: 2 points for words of block design itself, 1 for
# words that occur there and elsewhere too.
_STRONG = (
    r"convolution\w*|conv\b|convs\b|conv2d|convnet\w*",
    r"\d+ ?[x×] ?\d+ (?:kernel|conv\w*|filter|depth-?wise)|\b1x\d+\b|asymmetric pairs?",
    r"depth-?wise|point-?wise|separable|grouped? conv\w*|channel shuffl\w*",
    r"kernel size\w*|large kernels?|larger kernels?|receptive fields?|dilat\w+|atrous",
    r"skip connections?|residual (?:connection|block|branch|learning|unit|structure|path|design)s?|"
    r"shortcuts?|extra skip|dense connections?|densely connected",
    r"bottlenecks?|inverted residuals?|expansion ratio",
    r"squeeze[- ]and[- ]excitation|channel attention|spatial attention|channel-?wise attention|recalibrat\w+",
    r"global (?:average |max )?pooling|(?:average|max|strip|pyramid) pooling|"
    r"pooling (?:layer|branch|operation)s?",
    r"batch[- ]?norm\w*|layer[- ]?norm\w*|group norm\w*|instance norm\w*|normali[sz]ation layers?",
    r"activation functions?|gelu|relu|swish|sigmoid|non-?linearit\w+",
    r"stochastic depth|drop ?path|drop-?connect",
    r"inception|resnet\w*|convnext|mobilenet\w*|densenet|resnext|efficientnet",
    r"multi-?branch|parallel branch\w*|branch(?:es)? .{0,40}(?:concat\w*|add\w*)|two-?branch|"
    r"dual-?branch|dual-?path",
    r"neural architecture (?:search|design)|architecture search|network design",
    r"down-?sampling (?:layer|block|module)s?|strided",
)
_WEAK = (
    r"backbone\w*",
    r"architectur\w+",
    r"(?:basic |building |network )?blocks?\b",
    r"layers?\b",
    r"attention|transformer\w*|self-attention",
    r"gat(?:e|es|ed|ing)\b",
    r"feature (?:fusion|aggregation|extraction|maps?|pyramid|reuse)|multi-?scale|hierarchical",
    r"channels?|spatial",
    r"mlp|feed-?forward|linear (?:layer|projection)s?",
    r"concat\w*",
    r"lightweight|efficien\w+",
    r"long-?range|global context|context\w*",
)
# What a block cannot express, whatever network words stand beside it.
_AGAINST = (
    r"loss(?:es)?\b|objective function|regulari[sz]ation term",
    r"data ?sets?|annotation\w*|label\w*|pseudo-?label\w*",
    r"training (?:strategy|framework|scheme|procedure|process|stage|paradigm)|pre-?train\w*|"
    r"fine-?tun\w*|curriculum",
    r"generative adversarial|gan\b|discriminator|diffusion model\w*|text-to-image|style transfer",
    r"language|text\w*|caption\w*|prompt\w*|clip\b|vision-language|audio|speech",
    r"point clouds?|3d|nerf|radiance fields?|mesh\w*|poses?\b(?! a)|camera\w*|depth estimation|voxel\w*",
    r"video\w*|temporal\w*|optical flow|tracking|trajector\w+",
    r"federated|adversarial|privacy|backdoor|domain adaptation|self-supervised|contrastive|"
    r"distill\w*|few-shot",
)


def _compile(groups: Iterable[str]) -> list[re.Pattern[str]]:
    return [re.compile(rf"\b(?:{group})", re.IGNORECASE) for group in groups]


_WEIGHTED = ((2.0, _compile(_STRONG)), (1.0, _compile(_WEAK)), (-1.0, _compile(_AGAINST)))
DEFAULT_SCORE = 2.0


class Relevance(BaseModel):
    """How much a text speaks of block design: `score` in points, `words` that counted for and against it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: float
    words: tuple[str, ...]

    @property
    def relevant(self) -> bool:
        """Whether the score reaches the default of 2 points: one word of block design, or two that may be."""
        return self.score >= DEFAULT_SCORE


def relevance(text: str) -> Relevance:
    """The relevance of a text of any length, by the words of block design in it; never fails."""
    score, words = 0.0, []
    for weight, patterns in _WEIGHTED:
        for pattern in patterns:
            if match := pattern.search(text):
                score += weight
                words.append(("+" if weight > 0 else "−") + match[0].casefold())
    return Relevance(score=score, words=tuple(words))


def split_relevant(inspirations: Iterable[Inspiration]) -> tuple[list[Inspiration], list[Inspiration]]:
    """Those that bear on block design by their words, and the others; each in the order given."""
    relevant: list[Inspiration] = []
    others: list[Inspiration] = []
    for one in inspirations:
        (relevant if relevance(one.text).relevant else others).append(one)
    return relevant, others
