"""What the agents ask of the network."""

from actors.network import check
from nader.graph import Role, canonical, digest, print_block
from nader.network import get_skeleton
from tests.graph.test_canonical import ROOK, grid


def test_a_draft_that_cannot_be_compared_is_refused_as_too_large(monkeypatch):
    text = print_block(grid(ROOK))
    skeleton = get_skeleton("digits")
    assert check(text, Role.CELL, skeleton).block is not None
    monkeypatch.setattr(canonical, "MAX_WORK", 500)
    digest.cache_clear()
    check.cache_clear()
    refused = check(text, Role.CELL, skeleton)
    check.cache_clear()
    assert refused.block is None
    assert refused.codes == ("size limit",)
    assert "too symmetric to be compared" in refused.report
