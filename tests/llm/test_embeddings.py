"""Local embeddings: unit length, the same for ever, and near for sentences that say the same."""

from __future__ import annotations

import json

import anyio
import numpy as np
import pytest

from nader.llm import Embedder, HashedNgrams
from tests.conftest import shared_data

GOLDEN = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
"""Changed only together with the embedder's name: recorded vectors must not be mixed with others."""

PARAPHRASES = [
    ("Add a squeeze-and-excitation module last.", "Channel attention by squeeze and excitation at the end."),
    ("Replace ReLU by GELU.", "Use the GELU activation instead of ReLU."),
    ("Use dilated convolutions for a larger field.", "A dilated convolution sees a larger field."),
    ("Split channels into groups with grouped convolution.", "Group convolutions that split the channels."),
    ("Add a skip connection from the input to the output.", "A residual skip from input to output is added."),
    ("Concatenate parallel branches with several kernels.", "Parallel branches, with different kernels."),
]  # fmt: skip


def test_vectors_have_unit_length_and_the_dimension_asked_for() -> None:
    embedder = HashedNgrams(256)
    assert isinstance(embedder, Embedder) and embedder.name == "hashed-ngrams-256"
    vectors = anyio.run(embedder.embed, ["a skip connection", "", "…", "the of and", "x" * 10_000])
    assert vectors.shape == (5, 256) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert anyio.run(embedder.embed, []).shape == (0, 256)
    with pytest.raises(ValueError, match="at least 2 dimensions, not 1"):
        HashedNgrams(1)


def test_a_vector_is_the_same_on_every_machine() -> None:
    row = HashedNgrams(16).vectors(["Replace ReLU by GELU"])[0]
    assert [round(float(v), 4) for v in row] == GOLDEN


def test_order_of_reading_and_case_do_not_matter_and_words_do() -> None:
    embedder = HashedNgrams()
    a, b, c = embedder.vectors(["Add a skip.", "ADD a Skip", "remove the pooling"])
    assert np.array_equal(a, b) and a @ c < 0.1


def test_a_paraphrase_is_nearer_than_any_other_sentence() -> None:
    embedder = HashedNgrams()
    ours = embedder.vectors([a for a, _ in PARAPHRASES])
    theirs = embedder.vectors([b for _, b in PARAPHRASES])
    assert ((ours @ theirs.T).argmax(axis=1) == np.arange(len(PARAPHRASES))).all()


def test_the_real_inspirations_keep_apart() -> None:
    entries = json.loads(shared_data("data/nader-official/inspirations.json").read_text())
    vectors = HashedNgrams().vectors([entry["inspiration"] for entry in entries[:1000]])
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, 0.0)
    # Few near-duplicates: most sentences have no twin.
    assert (likeness.max(axis=1) > 0.9).mean() < 0.1 and likeness.mean() < 0.1
