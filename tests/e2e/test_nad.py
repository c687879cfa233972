"""The NAD benchmark: its suggestions, and its modes with a designer that is known."""

import asyncio
import tomllib

import pytest

from benchmarks.nad import MODES, SUGGESTIONS, Result, Sample, by_code, by_modifier, row, samples
from nader.baseline import BaselineError
from nader.graph import BASE_DESIGNS, edits_named_in
from nader.ground import resolve_backend
from nader.settings import changed, load_settings
from tests.servers.openai_server import serve
from tests.servers.scenario import Scenario
from tests.test_baseline import GOOD

RULES = ("training.skeleton=nas-bench-201", "llm.backend=rule-based")


def settings(mode, *sets):
    """The benchmark's settings in a mode."""
    return changed(resolve_backend(load_settings(sets=(*RULES, *sets))), MODES.get(mode, ()))


def test_there_are_ten_different_suggestions_of_each_level_for_each_of_the_five_base_blocks():
    table = tomllib.loads(SUGGESTIONS.read_text())
    assert list(table) == list(BASE_DESIGNS)
    assert len(samples(list(BASE_DESIGNS), 10)) == 100
    for levels in table.values():
        texts = [text for level in ("micro", "macro") for text in levels[level]]
        assert set(levels) == {"micro", "macro"} and len(set(texts)) == 20
        assert sum(bool(edits_named_in(text)) for text in levels["micro"]) >= 8, "micro ones name an edit"


def test_a_row_tells_executability_quality_and_their_product():
    one = Sample("convnext", "micro", "Use GELU.")
    results = [
        Result(one, True, True, 100),
        Result(one, True, False, 300),
        Result(one, False, False, 200),
        Result(one, True, True, 0),
    ]
    assert row("lif", "micro", results).split() == ["lif", "micro", "4", "0.75", "0.67", "0.50", "150"]


def test_the_rule_based_designer_goes_through_the_modifier_and_pytorch_runs_its_designs():
    chosen = samples(["resnet-basic"], 1)
    results = asyncio.run(by_modifier(chosen, settings("lif"), learn=False))
    assert [r.sample for r in results] == chosen
    assert all(r.executable and r.tokens == 0 and r.note == "" for r in results)


@pytest.mark.slow
def test_with_experience_the_next_batch_is_shown_what_the_first_taught():
    broken = (
        "<block>\n##b##\n0:input\n1:output\n2:Conv2d(out_channels=C/3,kernel_size=3)\n0->2\n2->1\n</block>"
    )
    with serve(Scenario(task_answers={"modify_cell": (broken,) * 5})) as server:
        sets = ("llm.backend=openai", f"llm.base_url={server.url}", "llm.model=scripted")
        results = asyncio.run(by_modifier(samples(["convnext"], 3), settings("lde", *sets), learn=True))
        asked = [b["messages"][-1]["content"] for b in server.bodies if "The block to modify" in str(b)]
    assert len(results) == 6 and all(r.tokens > 0 for r in results)
    assert "None yet." in asked[0] and "- (cell, " in asked[-1]


def test_code_is_tried_and_judged_and_its_tokens_are_counted():
    answers = {
        "direct_code": (f"<code>\n{GOOD}\n</code>", "I cannot write code."),
        "judge_modification": ("<reason>It does.</reason><verdict>yes</verdict>",),
    }
    with serve(Scenario(task_answers=answers)) as server:
        sets = ("llm.backend=openai", f"llm.base_url={server.url}", "llm.model=scripted")
        try:
            first, second = asyncio.run(by_code(samples(["resnet-basic"], 1), settings("code", *sets)))
        except BaselineError as error:
            pytest.skip(str(error))
    assert (first.executable, first.follows) == (True, True) and first.tokens > 0
    assert (second.executable, second.follows) == (False, False) and "no Python code" in second.note
