"""No text, however absurd, gets anything out of the language but its own error, and none hangs it."""

import time

import pytest

from nader.graph import (
    BlockError,
    Design,
    GraphError,
    Role,
    check,
    digest,
    parse,
    parse_all,
    print_block,
    to_svg,
    verify,
)
from tests.graph.hostile import deep, doubling, hostile_texts, one_operation, twins, wide

GENEROUS = 20.0
"""Seconds: nothing here takes one, but a busy machine may be slow; benchmarks measure the real bound."""

TEXTS = hostile_texts()


def read_every_way(text):
    """All that is done with a text from outside; what is not the language's own error passes through."""
    for role in Role:
        assert check(text, role) is not None
    for read in (parse_all, Design.from_text):
        try:
            read(text)
        except BlockError as error:
            assert error.problems
            assert len(str(error)) < 60_000
    try:
        block = parse(text)
    except BlockError as error:
        assert error.problems
        return
    assert parse(print_block(block)) == block
    for role in Role:
        verify(block, role)
    try:
        digest(block)
    except GraphError as error:
        assert str(error)


def test_the_corpus_has_a_thousand_different_texts():
    assert len(TEXTS) == 1_000
    assert len(set(TEXTS)) > 950
    assert max(map(len, TEXTS)) > 1_000_000


@pytest.mark.parametrize("part", range(10))
def test_a_hostile_text_gives_nothing_but_the_languages_own_error(part):
    for text in TEXTS[part::10]:
        began = time.monotonic()
        read_every_way(text)
        assert time.monotonic() - began < GENEROUS, text[:200]


@pytest.mark.parametrize("make", [deep, wide, doubling, twins])
@pytest.mark.parametrize("count", [100, 250])
def test_a_block_of_the_largest_size_is_drawn(make, count):
    block = parse(make(count))
    assert to_svg(block).count("<g>") == len(block.nodes)


def test_nothing_that_is_written_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in (
        "__import__('pathlib').Path('proof').touch()",
        "open('proof','w')",
        "C.__class__.__mro__[1].__subclasses__()",
    ):
        for operation in (f"Conv2d(out_channels={text},kernel_size=3)", f"reshape({text})", text):
            with pytest.raises(BlockError):
                parse(one_operation(operation))
    assert not list(tmp_path.iterdir())
