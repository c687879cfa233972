"""Near-duplicates are merged into the first of them; opposites and other numbers are not near."""

import random

import numpy as np
import pytest

from nader.literature import Inspiration, NearDuplicates, Paper, merge_near_duplicates, word_similarity

PAPER = Paper(title="A Paper", ref="x")


def inspirations(*texts: str) -> list[Inspiration]:
    return [Inspiration(id=f"i{n}", text=text, paper=PAPER) for n, text in enumerate(texts)]


ALIKE = [
    (
        "Use depthwise separable convolutions to save parameters.",
        "Using a depthwise separable convolution to save parameters",
    ),
    (
        "Add batch normalisation after each convolution.",
        "Adding batch normalization after each of the convolutions.",
    ),
    ("Replace ReLU by GELU in the block.", "replace the ReLU in the block by a GELU"),
]
UNLIKE = [
    ("Use a 3x3 depthwise convolution in the block.", "Use a 7x7 depthwise convolution in the block."),
    ("Put the layer norm before the convolution.", "Put the layer norm after the convolution."),
    (
        "Use a larger kernel in the depthwise convolution.",
        "Use a smaller kernel in the depthwise convolution.",
    ),
    ("Run both convolutions of the block in parallel.", "Run both convolutions of the block in sequence."),
    ("Weigh the features by channel attention.", "Weigh the features by spatial attention."),
    ("Add a skip connection around the block.", "Remove a skip connection around the block."),
    ("Use stochastic depth on the branch.", "Use global average pooling on the stem."),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_the_same_idea_in_nearly_the_same_words_is_merged(one, other):
    assert word_similarity(one, other) == word_similarity(other, one) >= 0.55
    merged = merge_near_duplicates(inspirations(one, other))
    assert [kept.id for kept in merged.kept] == ["i0"]
    [merge] = merged.merges
    assert (merge.duplicate.id, merge.into) == ("i1", "i0")


@pytest.mark.parametrize(("one", "other"), UNLIKE)
def test_another_number_or_the_opposite_is_another_idea(one, other):
    assert len(merge_near_duplicates(inspirations(one, other)).kept) == 2


def test_a_duplicate_is_merged_into_the_most_similar_and_the_earliest_of_equals():
    texts = ["wide skip path block norm extra", "wide skip path block norm", "wide skip path block norm"]
    merged = merge_near_duplicates(inspirations(*texts), threshold=0.9)
    assert [(m.duplicate.id, m.into, m.similarity) for m in merged.merges] == [("i2", "i1", 1.0)]


def test_known_inspirations_are_merged_into_but_not_returned():
    known = [Inspiration(id="k", text="Use a gate on the skip path.", paper=PAPER)]
    merged = merge_near_duplicates(
        inspirations("Use a gate on the skip path", "Quite another idea"), known=known
    )
    assert [one.id for one in merged.kept] == ["i1"]
    assert merged.merges[0].into == "k"


def test_the_index_finds_exactly_what_comparing_all_pairs_finds():
    rng = random.Random(5)
    words = [
        "gate",
        "skip",
        "norm",
        "conv",
        "pool",
        "path",
        "3x3",
        "7x7",
        "before",
        "after",
        "larger",
        "block",
    ]
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(80)]
    for threshold in (0.3, 0.55, 1.0):
        index = NearDuplicates(threshold)
        for number, text in enumerate(texts):
            best = max(
                ((word_similarity(text, earlier), -place) for place, earlier in enumerate(texts[:number])),
                default=(0.0, 0),
            )
            expected = (f"t{-best[1]}", best[0]) if best[0] >= threshold else None
            assert index.find(text) == expected
            index.add(f"t{number}", text)
        assert len(index) == 80


def test_texts_without_words_are_like_nothing():
    assert word_similarity("...", "...") == 0.0
    assert len(merge_near_duplicates(inspirations("...", "…", "the of a")).kept) == 3


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5])
def test_a_threshold_that_is_no_similarity_is_refused(threshold):
    with pytest.raises(ValueError, match="a similarity is above 0 and at most 1"):
        NearDuplicates(threshold)


def test_vectors_decide_where_they_are_given():
    vectors = np.array([[1, 0, 0], [0, 1, 0], [0.999, 0.01, 0], [0, 0, 0], [0, 0, 0], [0, 2, 0]])
    merged = merge_near_duplicates(inspirations(*"abcdef"), vectors=vectors)
    assert [one.id for one in merged.kept] == ["i0", "i1", "i3", "i4"]
    assert [(m.duplicate.id, m.into) for m in merged.merges] == [("i2", "i0"), ("i5", "i1")]
    assert merged.merges[1].similarity == pytest.approx(1.0)


def test_nothing_is_merged_into_what_was_merged_itself():
    angles = np.radians([0, 20, 40])  # neighbours are alike, the outer two are not
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    merged = merge_near_duplicates(inspirations(*"abc"), vectors=vectors, threshold=0.93)
    assert [one.id for one in merged.kept] == ["i0", "i2"]


def test_vectors_of_known_ones_are_compared_with():
    known = [Inspiration(id="k", text="z", paper=PAPER)]
    merged = merge_near_duplicates(
        inspirations("a", "b"), vectors=np.eye(2), known=known, known_vectors=np.array([[0.0, 3.0]])
    )
    assert [(m.duplicate.id, m.into) for m in merged.merges] == [("i1", "k")]


def test_blocks_of_vectors_give_what_one_pair_at_a_time_gives(monkeypatch):
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(60, 4))
    some = inspirations(*map(str, range(60)))
    whole = merge_near_duplicates(some, vectors=vectors, threshold=0.8)
    monkeypatch.setattr("nader.literature.merge._BLOCK", 7)
    assert merge_near_duplicates(some, vectors=vectors, threshold=0.8) == whole
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    kept: list[int] = []
    for i in range(60):
        if not kept or (unit[kept] @ unit[i]).max() < 0.8:
            kept.append(i)
    assert [one.id for one in whole.kept] == [f"i{i}" for i in kept]


BAD_VECTORS = [
    (np.eye(3), None, "2 inspirations need vectors"),
    (np.ones(2), None, "2 inspirations need vectors"),
    (np.eye(2), np.ones((1, 3)), "known: 1 inspirations with vectors"),
    (np.eye(2), None, "known: 1 inspirations with vectors"),
]


@pytest.mark.parametrize(("vectors", "known_vectors", "message"), BAD_VECTORS)
def test_vectors_that_do_not_fit_the_list_are_refused(vectors, known_vectors, message):
    known = [Inspiration(id="k", text="z", paper=PAPER)]
    with pytest.raises(ValueError, match=message):
        merge_near_duplicates(
            inspirations("a", "b"), vectors=vectors, known=known, known_vectors=known_vectors
        )


def test_an_empty_list_gives_an_empty_one():
    assert merge_near_duplicates([]).kept == ()
    assert merge_near_duplicates([], vectors=np.zeros((0, 3))).kept == ()
