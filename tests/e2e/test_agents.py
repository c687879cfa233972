"""What the agents do in a whole campaign: strategies, ablations, retrieval, repair, experience."""

import asyncio
import json
import re
from collections import Counter

import pytest

from actors.proposer import OWN, SIMPLE_EDITS
from nader.errors import SettingsError, WorkspaceError
from nader.graph import base_design, digest, parse, print_block
from nader.reflection import go_on, rederive
from nader.workspace import Workspace
from prompts.tags import section
from tests.conftest import shared_data
from tests.e2e.campaigns import (
    SMALL,
    check_log,
    events,
    folded,
    resume_campaign,
    run_campaign,
    verified,
)
from tests.e2e.reading import read_library
from tests.e2e.simulation import SimulatedBackend
from tests.servers.openai_server import serve
from tests.servers.scenario import Fault, FaultKind, Scenario

LONG = (
    "search.base=resnet-basic",
    "search.candidates=9",
    "search.width=3",
    "search.lookahead=1",
    "synchronous=NORMAL",
)
RUN = "run-1"
BASE = base_design("resnet-basic")


def prompts_of(folder, name, run=None):
    """(candidate or None, user message) of every question asked with a template, in order."""
    found = []
    with Workspace(folder).reader() as reader:
        for envelope in events(folder, run):
            if envelope.type == "ChatRequested" and envelope.event.prompt == name:
                text = reader.blob(envelope.event.messages[-1].digest).decode()
                found.append((envelope, text))
    return found


def of_type(log, name):
    """The events of one type."""
    return [envelope.event for envelope in log if envelope.type == name]


FEW = ("search.candidates=1", "search.width=1", "search.retrieved=1")


def scripted(folder, answers, sets=FEW):
    """A campaign whose model gives these answers, by template, and the rule-based designer's after them."""
    with serve(Scenario(task_answers=answers)) as server:
        chosen = ("llm.backend=openai", f"llm.base_url={server.url}", "llm.model=scripted")
        common = ("search.base=resnet-basic", "synchronous=NORMAL", "llm.backoff_s=0.01")
        ending = run_campaign(folder, (*common, *chosen, *sets))
    check_log(folder)
    return ending, events(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A campaign of three rounds with the rule-based designer."""
    folder = tmp_path_factory.mktemp("whole")
    run_campaign(folder, LONG)
    check_log(folder)
    return folder


# ---- choosing and proposing


@pytest.mark.parametrize("strategy", ["dfs", "bfs", "mixed", "greedy", "random"])
def test_a_campaign_runs_to_its_end_with_every_strategy(tmp_path, strategy):
    sets = ("search.candidates=4", "search.width=1", "search.lookahead=0", "synchronous=NORMAL")
    ending = run_campaign(tmp_path, (*sets, f"search.strategy={strategy}"))
    check_log(tmp_path)
    log = events(tmp_path)
    assert (ending.kind, of_type(log, "CampaignFinished")[0].reason) == ("finished", "completed")
    chosen = of_type(log, "ParentChosen")
    assert {c.strategy for c in chosen} == {strategy} and all(c.reason for c in chosen)
    assert chosen[0].parent == "base"


def test_an_inspiration_is_never_proposed_twice_for_a_parent(whole):
    made = Counter((p.parent, p.inspiration) for p in of_type(events(whole, RUN), "ProposalMade"))
    assert len(made) >= 9 and set(made.values()) == {1}
    rounds = of_type(events(whole, RUN), "InspirationsRanked")
    proposed = {}
    for ranked, chosen in zip(rounds, of_type(events(whole, RUN), "ParentChosen"), strict=True):
        assert not proposed.get(chosen.parent, set()) & set(ranked.retrieved)
        used = {p.inspiration for p in of_type(events(whole, RUN), "ProposalMade") if p.round == ranked.round}
        proposed.setdefault(chosen.parent, set()).update(used)


def test_ten_inspirations_are_retrieved_at_levels_and_ranked_by_the_model(whole):
    first, *later = of_type(events(whole, RUN), "InspirationsRanked")
    assert (len(first.retrieved), first.by, set(first.levels)) == (10, "model", {"unexplored"})
    assert all(set(r.ranking) == set(r.retrieved) and len(r.retrieved) == 10 for r in [first, *later])
    assert {"unexplored", "drawn"} <= set(later[-1].levels)


def test_without_literature_the_models_own_ideas_are_tried(tmp_path):
    run_campaign(tmp_path, (*SMALL, "search.reader=own-ideas"))
    check_log(tmp_path)
    log = events(tmp_path)
    assert prompts_of(tmp_path, "propose_freely") and not prompts_of(tmp_path, "rank_inspirations")
    assert not of_type(log, "InspirationRecorded")
    proposals = of_type(log, "ProposalMade")
    assert proposals and all(p.inspiration.startswith(f"{OWN}-") and p.paper == "" for p in proposals)
    assert {r.by for r in of_type(log, "InspirationsRanked")} == {"model"}


def test_the_fixed_list_of_ten_simple_edits_stands_in_for_reading(tmp_path):
    run_campaign(tmp_path, (*SMALL, "search.reader=fixed-list", "search.proposer=off"))
    check_log(tmp_path)
    log = events(tmp_path)
    proposals = of_type(log, "ProposalMade")
    assert proposals and all(p.suggestion in SIMPLE_EDITS for p in proposals)
    assert not of_type(log, "InspirationRecorded")
    assert not prompts_of(tmp_path, "rank_inspirations") and not prompts_of(tmp_path, "propose_freely")
    by_parent = {}
    for proposal in proposals:
        by_parent.setdefault(proposal.parent, []).append(proposal.suggestion)
    assert all(len(tried) > 10 or len(set(tried)) == len(tried) for tried in by_parent.values())


def test_without_the_proposer_parent_and_inspirations_are_drawn(tmp_path):
    run_campaign(tmp_path, (*SMALL, "search.proposer=off"))
    check_log(tmp_path)
    log = events(tmp_path)
    assert {c.strategy for c in of_type(log, "ParentChosen")} == {"random"}
    assert {r.by for r in of_type(log, "InspirationsRanked")} == {"drawn at random"}
    assert {level for r in of_type(log, "InspirationsRanked") for level in r.levels} == {"drawn"}
    assert not prompts_of(tmp_path, "rank_inspirations")


# ---- the Modifier's prompts


def test_at_most_five_experiences_are_shown_and_only_those_of_visible_rounds(whole):
    log = events(whole, RUN)
    proposals = {p.candidate: p for p in of_type(log, "ProposalMade")}
    rows = of_type(log, "ExperienceRecorded")
    shown = 0
    for envelope, text in prompts_of(whole, "modify_cell", RUN):
        proposal = proposals[envelope.correlation]
        told = section(text, "experience")
        lines = [line for line in told.splitlines() if line.startswith("- (")]
        allowed = {
            f"- ({r.role}, {r.category}) {r.tip}"
            for r in rows
            if r.round <= proposal.visible and r.role == "cell"
        }
        assert set(lines) <= allowed and len(lines) == min(5, len(allowed))
        assert lines or told == "None yet."
        shown += len(lines)
    assert shown > 0, "a later round is shown what the first one taught"


def test_no_experiences_are_shown_where_the_setting_is_zero(tmp_path):
    run_campaign(tmp_path, (*SMALL, "search.lookahead=0", "modifier.experiences=0"))
    told = {section(text, "experience") for _, text in prompts_of(tmp_path, "modify_cell")}
    assert told == {"None yet."}


def test_the_stem_and_downsample_prompt_contains_the_new_cell_and_matching_examples(whole):
    with Workspace(whole).reader() as reader:
        cells = {
            e.correlation: reader.blob(e.event.block).decode()
            for e in events(whole, RUN)
            if e.type == "DraftAccepted" and e.event.role == "cell"
        }
    asked = prompts_of(whole, "design_stem_and_downsample", RUN)
    assert len(asked) >= 9
    for envelope, text in asked:
        assert parse(section(text, "cell")) == parse(cells[envelope.correlation])
        assert section(text, "examples").count("##") >= 12, "two designs of three blocks"


# ---- drafts, repair, duplicates


INVALID = (
    "<block>\n##broken##\n0:input\n1:output\n2:Conv2d(out_channels=C/3,kernel_size=3)\n0->2\n2->1\n</block>"
)


def test_a_cell_that_is_never_right_is_abandoned_after_five_starts_of_five_drafts(tmp_path):
    answers = {"modify_cell": (INVALID,) * 500, "repair": (INVALID,) * 2000}
    ending, log = scripted(tmp_path, answers)
    abandoned = of_type(log, "DesignAbandoned")
    assert {a.attempts for a in abandoned} == {25}
    drafts = of_type(log, "DraftRejected")
    first = [(d.round, d.attempt) for d in drafts if d.candidate == abandoned[0].candidate]
    assert first == [(start, attempt) for start in range(1, 6) for attempt in range(1, 6)]
    assert {a.category for a in abandoned} == {drafts[0].codes[0]}
    assert of_type(log, "CampaignFinished")[0].reason == "exhausted" and ending.kind == "finished"
    failures = [r for r in of_type(log, "ExperienceRecorded") if r.kind == "failure"]
    assert {(f.category, f.role) for f in failures} == {(drafts[0].codes[0], "cell")}
    lessons = of_type(log, "LessonRecorded")
    assert {x.candidate for x in lessons} == {a.candidate for a in abandoned}
    assert {(x.outcome, x.gain) for x in lessons} == {("abandoned", None)}
    told = [section(text, "experience") for _, text in prompts_of(tmp_path, "rank_inspirations")]
    assert f"- no valid design came of it: {lessons[0].suggestion} Lesson: " in told[-1]
    assert {c.outcome for c in of_type(log, "CandidateClosed")} == {"abandoned"}


def test_an_exhausted_campaign_goes_on_with_changed_settings(tmp_path):
    scripted(tmp_path, {"modify_cell": (INVALID,) * 500, "repair": (INVALID,) * 2000})
    ending = resume_campaign(tmp_path, sets=("llm.backend=rule-based",))
    assert (ending.kind, ending.reason) == ("finished", "completed")
    assert len([e for e in of_type(events(tmp_path), "CandidateTrained") if e.candidate != "base"]) == 1
    check_log(tmp_path)


def test_a_stem_that_is_never_right_is_abandoned_and_the_cell_is_kept(tmp_path):
    stem = INVALID.replace("block>", "stem>")
    down = INVALID.replace("block>", "downsample>")
    answers = {"design_stem_and_downsample": (stem + down,) * 500, "repair": (INVALID,) * 2000}
    _, log = scripted(tmp_path, answers, (*FEW, "modifier.rounds=2", "modifier.tries=2"))
    abandoned = of_type(log, "DesignAbandoned")
    assert abandoned and all("stem and downsample" in a.reason for a in abandoned)
    assert {a.attempts for a in abandoned} == {1 + 2 * 2 * 2}


def test_a_model_that_answers_nothing_of_use_abandons_the_proposal_as_such(tmp_path):
    answers = {"modify_cell": ("I would rather talk about the weather.",) * 500}
    _, log = scripted(tmp_path, answers)
    assert {a.category for a in of_type(log, "DesignAbandoned")} == {"llm"}
    assert "malformed" in of_type(log, "DesignAbandoned")[0].reason


def test_an_answer_of_no_use_ends_a_start_and_not_the_proposal(tmp_path):
    _, log = scripted(tmp_path, {"modify_cell": ("I would rather talk about the weather.",) * 3})
    first = of_type(log, "DraftAccepted")[0]
    assert (first.role, first.round, first.attempt) == ("cell", 2, 1)
    assert not of_type(log, "DesignAbandoned")
    assert of_type(log, "CampaignFinished")[0].reason == "completed"


def test_an_unchanged_cell_is_recognised_and_sent_back(tmp_path):
    renamed = print_block(BASE.cell).replace(BASE.cell.name, "NewName")
    _, log = scripted(tmp_path, {"modify_cell": (f"<block>\n{renamed}\n</block>",)})
    rejected = of_type(log, "DraftRejected")
    assert next(d.codes for d in rejected if d.role == "cell") == ("no-op",)
    [(_, text), *_] = prompts_of(tmp_path, "repair")
    suggestion = of_type(log, "ProposalMade")[0].suggestion
    assert suggestion in section(text, "problems") and suggestion == section(text, "suggestion")
    assert of_type(log, "CampaignFinished")[0].reason == "completed"


def test_a_repair_is_told_the_suggestion_the_block_it_begins_from_and_what_was_tried_before(tmp_path):
    again = INVALID.replace("broken", "again").replace("C/3", "C/2")
    answers = {"modify_cell": (INVALID,), "repair": (again, INVALID)}
    _, log = scripted(tmp_path, answers)
    asked = [text for _, text in prompts_of(tmp_path, "repair")][:3]
    rejected = of_type(log, "DraftRejected")
    with Workspace(tmp_path).reader() as reader:
        found = [reader.blob(d.problems).decode() for d in rejected[:3]]
    for number, text in enumerate(asked):
        assert section(text, "suggestion") == of_type(log, "ProposalMade")[0].suggestion
        assert section(text, "block") == print_block(BASE.cell).strip()
        assert (section(text, "scale"), section(text, "cell")) == ("1", "(none)")
        assert section(text, "problems") == found[number]
        tried = section(text, "tried")
        assert [f"What the verifier found in draft {n}:" in tried for n in (1, 2, 3)] == [
            n <= number for n in (1, 2, 3)
        ]
        assert all(report in tried for report in found[:number])
    assert section(asked[0], "tried") == "(none)"
    assert "##broken##" in section(asked[1], "tried") and "##again##" in section(asked[2], "tried")


def test_no_two_questions_of_repair_are_the_same_in_a_start_or_for_two_candidates(tmp_path):
    answers = {"modify_cell": (INVALID,) * 500, "repair": (INVALID,) * 2000}
    sets = ("search.candidates=2", "search.width=2", "search.lookahead=0", "modifier.rounds=1")
    scripted(tmp_path, answers, sets)
    asked = [(envelope.correlation, text) for envelope, text in prompts_of(tmp_path, "repair")]
    assert len({candidate for candidate, _ in asked}) >= 2 and len(asked) >= 8
    assert max(Counter(text for _, text in asked).values()) == 1


@pytest.mark.parametrize("role", ["stem", "downsample"])
def test_a_repair_of_a_stem_or_downsample_block_is_told_the_new_cell_and_the_scale(tmp_path, role):
    pair = {r: f"<{r}>\n{print_block(getattr(BASE, r))}\n</{r}>" for r in ("stem", "downsample")}
    pair[role] = INVALID.replace("block>", f"{role}>")
    answers = {"modify_cell": (SMALLER,), "design_stem_and_downsample": (pair["stem"] + pair["downsample"],)}
    _, log = scripted(tmp_path, answers)
    text = prompts_of(tmp_path, "repair")[0][1]
    assert section(text, "role") == role
    assert section(text, "scale") == {"stem": "1", "downsample": "1/2"}[role]
    assert section(text, "suggestion") == of_type(log, "ProposalMade")[0].suggestion
    assert section(text, "block") == print_block(getattr(BASE, role)).strip()
    assert digest(parse(section(text, "cell"))) == digest(parse(SMALLER[8:-9]))


WIDE = (
    "<block>\n##wide##\n0:input\n1:output\n2:Conv2d(out_channels=64*C,kernel_size=7)\n"
    "3:Conv2d(out_channels=C,kernel_size=7)\n4:Add\n0->2\n2->3\n3->4\n0->4\n4->1\n</block>"
)
"""A block that meets the definition and fits no limits."""
SMALLER = "<block>\n" + print_block(BASE.cell).replace("ReLU", "GELU") + "\n</block>"
LIMITED = (*FEW, "training.max_params=200000")


def test_a_cell_that_fits_no_width_is_sent_back_with_its_cost_and_the_limits(tmp_path):
    _, log = scripted(tmp_path, {"modify_cell": (WIDE,), "repair": (SMALLER,)}, LIMITED)
    [rejected] = of_type(log, "DraftRejected")
    assert (rejected.role, rejected.codes) == ("cell", ("width",))
    [(_, text)] = prompts_of(tmp_path, "repair")
    told = section(text, "problems")
    assert "the smallest width at which it works, the design already costs" in told
    assert "the limits are 0.2 M parameters" in told and "depthwise" in told
    [repair] = [r for r in of_type(log, "ExperienceRecorded") if r.kind == "repair"]
    assert (repair.category, repair.role) == ("width", "cell")
    assert of_type(log, "CampaignFinished")[0].reason == "completed"


def test_a_cell_that_never_fits_is_abandoned_as_width_and_becomes_experience(tmp_path):
    answers = {"modify_cell": (WIDE,) * 50, "repair": (WIDE,) * 50}
    _, log = scripted(tmp_path, answers, (*LIMITED, "modifier.rounds=2", "modifier.tries=2"))
    assert {(a.category, a.attempts) for a in of_type(log, "DesignAbandoned")} == {("width", 4)}
    failures = [r for r in of_type(log, "ExperienceRecorded") if r.kind == "failure"]
    assert failures and {(f.category, f.role) for f in failures} == {("width", "cell")}
    assert all("cost too much" in f.tip for f in failures)
    assert not prompts_of(tmp_path, "reflect_invalid"), "the draft is not called invalid"


def test_a_stem_that_fits_no_width_is_sent_back_too_and_the_cell_is_kept(tmp_path):
    wide = WIDE.replace("out_channels=C,", "out_channels=dim,").replace("4:Add\n", "4:ReLU\n")
    wide = wide.replace("0->4\n", "").replace("out_channels=64*C", "out_channels=4096")
    pair = wide.replace("block>", "stem>") + f"<downsample>\n{print_block(BASE.downsample)}\n</downsample>"
    answers = {
        "design_stem_and_downsample": (pair,),
        "repair": (f"<block>\n{print_block(BASE.stem)}\n</block>",),
    }
    _, log = scripted(tmp_path, answers, LIMITED)
    [rejected] = of_type(log, "DraftRejected")
    assert (rejected.role, rejected.codes) == ("stem", ("width",))
    assert of_type(log, "CampaignFinished")[0].reason == "completed"


def test_equal_designs_are_trained_once(tmp_path):
    edited = "<block>\n" + print_block(BASE.cell).replace("ReLU", "GELU") + "\n</block>"
    _, log = scripted(tmp_path, {"modify_cell": (edited,) * 3}, ("search.candidates=3", "search.width=3"))
    duplicates = of_type(log, "DuplicateRecognised")
    assert [(d.candidate, d.original) for d in duplicates[:2]] == [("r1-2", "r1-1"), ("r1-3", "r1-1")]
    started = Counter(t.job for t in of_type(log, "TrainingStarted"))
    assert set(started.values()) == {1}
    views, _ = folded(tmp_path)
    figures = {views.tree.candidate(c).validation for c in ("r1-1", "r1-2", "r1-3")}
    assert len(figures) == 1 and None not in figures


# ---- experience


def test_a_block_right_at_a_fresh_start_is_no_repair_of_the_start_before_it(tmp_path):
    answers = {"modify_cell": (INVALID, SMALLER), "repair": (INVALID,)}
    _, log = scripted(tmp_path, answers, (*FEW, "modifier.tries=2"))
    accepted = next(d for d in of_type(log, "DraftAccepted") if d.role == "cell")
    assert (accepted.round, accepted.attempt) == (2, 1)
    learned = [(r.kind, r.role) for r in of_type(log, "ExperienceRecorded") if r.category not in RESULTS]
    assert learned == [("failure", "cell")]
    assert not prompts_of(tmp_path, "reflect_repair") and prompts_of(tmp_path, "reflect_invalid")


def test_a_block_left_as_it_was_teaches_a_plain_fact_and_is_not_called_invalid(tmp_path):
    same = f"<block>\n{print_block(BASE.cell)}\n</block>"
    answers = {"modify_cell": (same,) * 50, "repair": (same,) * 50}
    _, log = scripted(tmp_path, answers, (*FEW, "modifier.rounds=1", "modifier.tries=2"))
    failures = of_type(log, "ExperienceRecorded")
    assert failures and {(f.kind, f.category) for f in failures} == {("failure", "no-op")}
    assert all("left the block as it was" in f.tip for f in failures)
    assert not prompts_of(tmp_path, "reflect_invalid")


def test_an_accuracy_that_stayed_the_same_is_not_called_lower(tmp_path):
    class Level(SimulatedBackend):
        async def train(self, *job, **more):
            return (await super().train(*job, **more)).model_copy(update={"validation": 0.8})

    run_campaign(tmp_path, SMALL, Level())
    log = events(tmp_path)
    learned = [r for r in of_type(log, "ExperienceRecorded") if r.category in RESULTS]
    assert learned and {(r.kind, r.category) for r in learned} == {("failure", "no-gain")}
    assert {lesson.gain for lesson in of_type(log, "LessonRecorded")} == {0.0}


def test_how_many_lessons_are_told_is_a_setting(tmp_path):
    sets = ("search.candidates=4", "search.width=1", "search.lookahead=0", "search.lessons=2")
    run_campaign(tmp_path, (*sets, "synchronous=NORMAL"))
    told = [section(text, "experience") for _, text in prompts_of(tmp_path, "rank_inspirations")]
    assert [text.count(" points: ") for text in told] == [0, 1, 2, 2]
    run_campaign(tmp_path, (*sets, "synchronous=NORMAL", "search.lessons=0"), name="silent")
    told = [section(text, "experience") for _, text in prompts_of(tmp_path, "rank_inspirations", "silent")]
    assert set(told) == {"Nothing has been tried yet."}


def test_after_how_many_empty_rounds_a_campaign_is_exhausted_is_a_setting(tmp_path):
    answers = {"modify_cell": (INVALID,) * 500, "repair": (INVALID,) * 500}
    sets = ("modifier.rounds=1", "modifier.tries=1", "search.empty_rounds=2", "search.lookahead=0")
    _, log = scripted(tmp_path, answers, (*FEW, *sets))
    assert len(of_type(log, "RoundOpened")) == 2
    assert of_type(log, "CampaignFinished")[0].reason == "exhausted"


def test_how_often_an_answer_is_sent_back_is_a_setting(tmp_path):
    answers = {"modify_cell": ("I would rather talk about the weather.",) * 500}
    sets = ("modifier.rounds=1", "llm.answer_repairs=0", "search.empty_rounds=1", "search.lookahead=0")
    _, log = scripted(tmp_path, answers, (*FEW, *sets))
    asked = [r for r in of_type(log, "ChatRequested") if r.prompt == "modify_cell"]
    assert len(asked) == len(of_type(log, "ProposalMade"))


def test_how_often_vectors_are_asked_for_is_a_setting(tmp_path):
    fault = Fault(kind=FaultKind.WRONG_DIMENSION, every=1, endpoint="embeddings")
    with serve(Scenario(faults=(fault,))) as server:
        model = ("llm.backend=openai", f"llm.base_url={server.url}", "llm.model=scripted")
        embedder = ("llm.embedder=openai", "llm.embedding_model=scripted", "llm.embedding_dimension=64")
        more = ("llm.embedding_tries=2", "llm.retries=0", "llm.outage_after=0", "search.empty_rounds=1")
        run_campaign(tmp_path, (*SMALL, *model, *embedder, *more))
    asked = [e for e in events(tmp_path) if e.type == "EmbeddingRequested" and e.event.agent == "reader"]
    assert len(asked) == 2


RESULTS = {"improvement", "degradation", "no-gain"}


SAID_OTHERWISE = {
    "resnet_bottle_macro8": "Open one more parallel path with a 5x5 convolution, so that larger spatial "
    "dependencies are captured.",
    "mobilenet_micro2": "Stabilise the training by a Layer Normalization (LN) after the second ReLU: "
    "normalise across features and not by the statistics of a mini-batch.",
    "googlenet_macro6": "Activate parts of the network by the input: conditional computation in the block "
    "makes the model more efficient.",
    "mobilenet_macro2": "Mix kernel sizes in depthwise separable convolutions, so that the depthwise layers "
    "capture features at various scales.",
}
"""The suggestions under which a model's drafts had to be repaired, in other words."""
UNRELATED = {
    "resnet_bottle_macro8": "mobilenet_micro2",
    "mobilenet_micro2": "googlenet_macro6",
    "googlenet_macro6": "mobilenet_macro2",
    "mobilenet_macro2": "googlenet_macro6",
}


def real_repairs():
    """By sample: a cell that a model wrote, the one it wrote after being told, and their suggestion; and
    all other suggestions.

    The suggestion stands with another draft of the same sample, but for one sample, of which it is known only
    that it asked for one more path.
    """
    drafts = json.loads(shared_data("data/nader-official/llm_drafts.json").read_text())
    suggestions = {d["sample"]: d["suggestion"] for d in drafts if d["suggestion"]}
    repaired = {d["sample"]: d for d in drafts if d["kind"] == "repaired"}
    suggestions["resnet_bottle_macro8"] = next(
        text for text in suggestions.values() if "additional parallel path with a 5x5" in text
    )
    found = {
        sample: (draft["blocks"]["base_block"], draft["repaired_blocks"]["base_block"], suggestions[sample])
        for sample, draft in repaired.items()
    }
    return found, sorted(set(suggestions.values()) - {suggestion for *_, suggestion in found.values()})


def library_of(folder, name, texts):
    """A library that holds these inspirations and no others."""
    listed = [{"id": n, "paper_id": 1, "inspiration": text} for n, text in enumerate(texts, 1)]
    (folder / f"{name}.json").write_text(json.dumps(listed))
    read_library(folder, folder / f"{name}.json", name, filtered=False)
    return f"search.library=['{name}']", "search.shipped_inspirations=false"


def test_every_real_repaired_draft_becomes_experience_and_is_found_for_a_similar_suggestion(tmp_path):
    repairs, others = real_repairs()
    assert set(repairs) == set(SAID_OTHERWISE)
    with serve(Scenario(delay_s=0.0)) as server:  # its own designer answers what no script does
        many = ("search.candidates=8", "search.width=8", "search.retrieved=30", "synchronous=NORMAL")
        model = ("llm.backend=openai", f"llm.base_url={server.url}", "llm.model=scripted")
        run_campaign(tmp_path, (*many, *model, *library_of(tmp_path, "others", others)), name="others")
    for sample, (wrong, right, suggestion) in repairs.items():
        answers = {
            "modify_cell": (f"<block>\n{wrong}\n</block>",),
            "repair": (f"<block>\n{right}\n</block>",),
            "reflect_repair": (f"<tip>What was learned of {sample}.</tip>",),
        }
        with serve(Scenario(task_answers=answers)) as server:
            sets = library_of(tmp_path, sample, [suggestion])
            more = ("llm.backend=openai", f"llm.base_url={server.url}", "llm.model=scripted")
            run_campaign(tmp_path, (*FEW, "synchronous=NORMAL", *more, *sets), name=sample)
        log = events(tmp_path, sample)
        [repair] = [r for r in of_type(log, "ExperienceRecorded") if r.kind == "repair"]
        assert (repair.category, repair.suggestion) == (of_type(log, "DraftRejected")[0].codes[0], suggestion)
    sets = library_of(tmp_path, "otherwise", list(SAID_OTHERWISE.values()))
    sets += (f"search.experience_from={['others', *repairs]}", "search.candidates=4", "search.width=4")
    run_campaign(tmp_path, (*sets, "synchronous=NORMAL"), name="last")
    log = events(tmp_path, "last")
    assert sum(r.role == "cell" and bool(r.origin) for r in of_type(log, "ExperienceRecorded")) > 15
    shown = {e.correlation: section(t, "experience") for e, t in prompts_of(tmp_path, "modify_cell", "last")}
    asked = {p.suggestion: shown[p.candidate] for p in of_type(log, "ProposalMade") if p.round == 1}
    for sample, text in SAID_OTHERWISE.items():
        assert f"What was learned of {sample}." in asked[text]
        assert f"What was learned of {UNRELATED[sample]}." not in asked[text]


def test_experience_of_an_earlier_run_is_brought_along_and_shown_from_the_first_round(whole):
    run_campaign(whole, (*SMALL, "search.experience_from=['run-1']", "seed=5"), name="second")
    check_log(whole, "second")
    earlier = of_type(events(whole, RUN), "ExperienceRecorded")
    brought = [r for r in of_type(events(whole, "second"), "ExperienceRecorded") if r.origin]
    assert {r.experience for r in brought} == {f"run-1/{r.experience}" for r in earlier}
    assert {r.origin for r in brought} == {"run-1"}
    tips = {f"- ({r.role}, {r.category}) {r.tip}" for r in brought if r.role == "cell"}
    _, text = prompts_of(whole, "modify_cell", "second")[0]
    lines = section(text, "experience").splitlines()
    assert len(lines) == 5 and set(lines) <= tips


def test_what_is_learned_can_be_derived_anew_and_the_run_is_not_touched(whole):
    before = [(e.position, e.hash) for e in events(whole, RUN)]
    report = asyncio.run(rederive(Workspace(whole), RUN))
    assert report.branch == "run-1-reflect-1" and report.ending.kind == "finished"
    assert [(e.position, e.hash) for e in events(whole, RUN)] == before
    views, _ = folded(whole, RUN)
    again, _ = folded(whole, report.branch)
    closed = of_type(events(whole, RUN), "CandidateClosed")
    assert report.candidates == len(closed)
    assert sum(report.by_kind.values()) == report.experiences == views.experience.count()
    told = [(r.id, r.kind, r.tip) for r in views.experience.all()]
    assert [(r.id, r.kind, r.tip) for r in again.experience.all()] == told, "the same model, the same tips"
    proof = verified(whole, report.branch)
    assert proof.ok, proof
    run_campaign(whole, ("search.candidates=1", f"search.experience_from=['{report.branch}']"), name="third")
    brought = [r for r in of_type(events(whole, "third"), "ExperienceRecorded") if r.origin]
    assert {r.origin for r in brought} == {report.branch} and len(brought) == report.experiences


def test_a_reflection_on_a_reflection_reflects_once_on_each_candidate(tmp_path):
    run_campaign(tmp_path, SMALL)
    first = asyncio.run(rederive(Workspace(tmp_path), RUN))
    again = asyncio.run(rederive(Workspace(tmp_path), first.branch))
    assert again.candidates == first.candidates == again.reflected > 0
    assert again.experiences == first.experiences
    assert (first.by_model, first.unanswered) == (first.experiences, 0)
    assert verified(tmp_path, again.branch).ok


def test_a_run_without_a_settled_candidate_is_not_reflected_on(tmp_path):
    run_campaign(tmp_path, SMALL, SimulatedBackend(failing=1.0))
    with pytest.raises(WorkspaceError, match="no settled candidate yet"):
        asyncio.run(rederive(Workspace(tmp_path), RUN))
    with Workspace(tmp_path).reader() as reader:
        assert [b.name for b in reader.branches()] == [RUN]


def test_a_reflection_says_that_no_tip_is_the_models(tmp_path):
    run_campaign(tmp_path, (*SMALL, "search.base=resnet-basic"))
    with serve(Scenario(faults=(Fault(kind=FaultKind.REFUSAL, every=1),))) as server:
        sets = ("llm.backend=openai", f"llm.base_url={server.url}", "llm.model=scripted")
        report = asyncio.run(rederive(Workspace(tmp_path), RUN, sets))
    assert report.ending.kind == "finished" and report.experiences > 0
    assert (report.by_model, report.unanswered, report.model) == (0, report.experiences, "scripted")


def test_a_paused_reflection_goes_on_reflecting_and_leaves_the_campaign_alone(tmp_path):
    run_campaign(tmp_path, (*SMALL, "search.base=resnet-basic"))
    with serve(Scenario()) as server:
        sets = ("llm.backend=openai", f"llm.base_url={server.url}", "llm.model=scripted")
        paused = asyncio.run(rederive(Workspace(tmp_path), RUN, (*sets, "budget.tokens=9000")))
        assert paused.ending.kind == "paused" and paused.reflected < paused.candidates
        done = asyncio.run(go_on(Workspace(tmp_path), paused.branch, ("budget.tokens=0",)))
    assert done.ending.reason == "reflected" and done.reflected == done.candidates == paused.candidates
    assert done.by_model == done.experiences > paused.experiences
    new = [e for e in events(tmp_path, done.branch) if e.branch == done.branch]
    assert {e.actor for e in new} <= {"operator", "reflector", "gateway", "embedder"}
    assert verified(tmp_path, done.branch).ok


@pytest.mark.parametrize("named", [["second"], ["second", "first"]])
def test_experience_that_a_run_had_brought_along_is_passed_on_under_the_run_that_made_it(tmp_path, named):
    run_campaign(tmp_path, SMALL, name="first")
    run_campaign(tmp_path, (*SMALL, "seed=1", "search.experience_from=['first']"), name="second")
    sets = ("search.candidates=1", f"search.experience_from={named}")
    run_campaign(tmp_path, sets, name="third")
    own = {f"first/{r.experience}" for r in of_type(events(tmp_path, "first"), "ExperienceRecorded")}
    made = [r for r in of_type(events(tmp_path, "second"), "ExperienceRecorded") if not r.origin]
    brought = [r for r in of_type(events(tmp_path, "third"), "ExperienceRecorded") if r.origin]
    assert Counter(r.experience for r in brought) == Counter(
        [*own, *(f"second/{r.experience}" for r in made)]
    ), "each once, whichever run it comes by"
    assert {r.origin for r in brought} == {"first", "second"}
    assert verified(tmp_path, "third").ok


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ("llm.embedding_dimension=256", "llm.embedding_dimension = 1024 to match"),
        ("llm.embedder=openai", 'llm.embedder = "hashed" and llm.embedding_dimension = 1024 to match'),
    ],
)
def test_experience_of_another_embedder_is_refused_with_the_setting_that_matches(tmp_path, setting, match):
    run_campaign(tmp_path, SMALL, name="first")
    sets = ("llm.backend=openai", "llm.base_url=http://127.0.0.1:9", "search.experience_from=['first']")
    with pytest.raises(SettingsError, match=match):
        run_campaign(tmp_path, (*SMALL, *sets, setting))


def test_every_trained_candidate_leaves_a_lesson_with_its_gain(whole):
    log = events(whole, RUN)
    views, _ = folded(whole, RUN)
    lessons = of_type(log, "LessonRecorded")
    assert len(lessons) == sum(c.outcome in ("improved", "not-improved") for c in views.tree.candidates())
    for lesson in lessons:
        child, parent = views.tree.candidate(lesson.candidate), views.tree.candidate(lesson.parent)
        assert lesson.gain == pytest.approx(child.validation - parent.validation, abs=1e-5)
    told = [section(text, "experience") for _, text in prompts_of(whole, "rank_inspirations", RUN)]
    assert told[0] == "Nothing has been tried yet."
    assert re.match(r"- [+-]\d+\.\d\d points: ", told[-1])
