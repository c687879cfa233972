"""No text, however absurd, gets anything out of the language but its own error, and none hangs it."""

import gc
import time
from contextlib import suppress

import pytest

from nader.graph import (
    BlockError,
    Design,
    Role,
    SymmetryError,
    check,
    digest,
    parse,
    parse_all,
    print_block,
    to_svg,
    verify,
)
from tests.graph.hostile import (
    deep,
    dense,
    doubling,
    hostile_texts,
    long_edges,
    one_operation,
    reciprocals,
    regular,
    twins,
    wide,
)

LIMIT, SLACK = 0.1, 3
"""Seconds of CPU time that any one of these may take, and how much slower a machine may be than the one on
which `benchmarks/graph.py` printed the worst of them."""

TEXTS = hostile_texts()


@pytest.fixture(autouse=True, scope="module")
def _only_what_is_made_here_is_collected():
    """The collector's walks over all that other tests have left are no work of the language."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def read_every_way(text):
    """All that is done with a text from outside; what is not the language's own error passes through."""
    for role in Role:
        assert timed(check, text, role) is not None
    for read in (parse_all, Design.from_text):
        try:
            timed(read, text)
        except BlockError as error:
            assert error.problems
            assert len(str(error)) < 60_000
    try:
        block = timed(parse, text)
    except BlockError as error:
        assert error.problems
        return
    assert parse(timed(print_block, block)) == block
    for role in Role:
        timed(verify, block, role)
    with suppress(SymmetryError):
        timed(digest, block)
    assert timed(to_svg, block)


def timed(work, *arguments):
    """What it gives; AssertionError where it takes too long."""
    began = time.process_time()
    try:
        return work(*arguments)
    finally:
        took = time.process_time() - began
        assert took < LIMIT * SLACK, f"{work} took {took:.3f} s on {arguments[0]!r:.200}"


def test_the_corpus_has_a_thousand_different_texts():
    assert len(TEXTS) == 1_000
    assert len(set(TEXTS)) > 950
    assert max(map(len, TEXTS)) > 1_000_000


@pytest.mark.parametrize("part", range(10))
def test_a_hostile_text_gives_nothing_but_the_languages_own_error(part):
    for text in TEXTS[part::10]:
        read_every_way(text)


def test_the_largest_texts_of_their_kind_are_blocks():
    for text in (long_edges(250), reciprocals(250), regular(120), dense(250, 3)):
        assert len(parse(text).nodes) >= 243


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
