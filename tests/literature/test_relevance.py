"""The filter by words keeps what speaks of a block and drops what no block can express."""

import pytest

from nader.literature import relevance, seed_inspirations, split_relevant

KEPT = [
    "Use depthwise separable convolutions in the bottleneck.",
    "Insert a squeeze-and-excitation step after the second layer.",
    "Replace the activation function by a smoother one in each block.",
    "Add a skip connection around both convolutions, with stochastic depth.",
    "We search for a network design, which poses a challenge to architecture search.",
    "A larger kernel enlarges the receptive field of the block.",
]
DROPPED = [
    "Use a contrastive loss between the two augmented views.",
    "Fine-tune the language model on captions of the data set.",
    "Estimate the camera pose from point clouds with a radiance field.",
    "Collect more annotations with the help of pseudo-labels.",
    "Track objects through a video by optical flow.",
    "",
]


@pytest.mark.parametrize("text", KEPT)
def test_what_speaks_of_blocks_is_relevant(text):
    assert relevance(text).relevant, relevance(text)


@pytest.mark.parametrize("text", DROPPED)
def test_what_speaks_of_losses_data_and_tasks_is_not(text):
    assert not relevance(text).relevant, relevance(text)


def test_the_words_that_counted_are_named():
    assert relevance("A gated convolution with a loss").words == ("+convolution", "+gated", "−loss")


def test_every_seed_is_relevant():
    relevant, others = split_relevant(seed_inspirations())
    assert others == [] and relevant == seed_inspirations()
