"""What the Proposer tells a model of the past: which networks, which changes, and what came of them."""

import re

import pytest

from actors.proposer import OWN, new_ones
from actors.texts import PLACES, labelled
from nader.graph import Role, base_design, print_block
from nader.llm.rules.ideas import cell_among
from nader.workspace import Workspace
from prompts.tags import section
from tests.e2e.campaigns import check_log, events, folded, run_campaign, tree
from tests.e2e.simulation import SimulatedBackend
from tests.e2e.test_results import Failing
from tests.servers.openai_server import serve
from tests.servers.scenario import Scenario

OWN_IDEAS = ("search.reader=own-ideas", "search.candidates=8", "search.width=2", "synchronous=NORMAL")
THREE = (
    "Add a squeeze-and-excitation gate before the output.",
    "Replace every ReLU activation by GELU.",
    "Use a larger kernel.",
)


def asked(folder, prompt):
    """The user messages of every question of a template, in order."""
    with Workspace(folder).reader() as reader:
        return [
            reader.blob(e.event.messages[-1].digest).decode()
            for e in events(folder)
            if e.type == "ChatRequested" and e.event.prompt == prompt
        ]


def of_type(folder, name):
    return [e.event for e in events(folder) if e.type == name]


def chain(views, node):
    """A candidate and those it was made from."""
    at, found = views.tree.candidate(node), []
    while at is not None:
        found.append(at.id)
        at = views.tree.parent(at)
    return found


@pytest.mark.parametrize("lookahead", [0, 1])
def test_the_model_is_told_all_that_was_proposed_for_a_node_and_its_ancestors(tmp_path, lookahead):
    """And of no other branch; results only of rounds that this one may see."""
    sets = (*OWN_IDEAS, "search.candidates=16", "search.strategy=random", f"search.lookahead={lookahead}")
    run_campaign(tmp_path, sets, Failing())
    check_log(tmp_path)
    views, _ = folded(tmp_path)
    opened, chosen = of_type(tmp_path, "RoundOpened"), of_type(tmp_path, "ParentChosen")
    made = of_type(tmp_path, "ProposalMade")
    results = failed = pending = others = 0
    for round, parent, text in zip(opened, chosen, asked(tmp_path, "propose_freely"), strict=True):
        told = dict(
            re.findall(
                r"^- (r\d+-\d+)(?: \(led to the network above\))?: (.*)$", section(text, "history"), re.M
            )
        )
        nodes = chain(views, parent.parent)
        before = [p for p in made if p.round < round.round]
        expected = {p.candidate: p for p in before if p.parent in nodes}
        assert set(told) == set(expected)
        others += len(before) - len(expected)
        for id, line in told.items():
            assert line.startswith(expected[id].suggestion)
            candidate, result = views.tree.candidate(id), line.partition(" Result: ")[2]
            if expected[id].round > round.visible:
                pending += result.endswith("no result yet.")
                assert "%" not in result and "failed" not in result
            elif candidate.trained:
                assert f"{candidate.validation:.2f} % (" in result
                results += 1
            elif candidate.failed:
                assert result.startswith("training failed (nan).")
                failed += 1
        if not expected:
            assert section(text, "history") == "Nothing has been tried yet."
    assert results and failed and others and (pending > 0) == (lookahead > 0)


def test_what_is_told_does_not_depend_on_timing(tmp_path):
    trees = []
    for seed in range(3):
        backend = SimulatedBackend(1 + seed, pause=lambda rng: rng.choice([0.0, 0.01, 0.1]), timing=seed)
        run_campaign(tmp_path / str(seed), (*OWN_IDEAS, "search.lookahead=2"), backend)
        check_log(tmp_path / str(seed))
        trees.append((tree(tmp_path / str(seed)), asked(tmp_path / str(seed), "propose_freely")))
    assert trees[0] == trees[1] == trees[2]


def test_an_idea_that_a_model_repeats_is_not_proposed_for_the_same_parent_again(tmp_path):
    answers = "".join(f"<proposal>{text}</proposal>" for text in THREE)
    with serve(Scenario(task_answers={"propose_freely": (answers, answers.upper()) * 50})) as server:
        sets = (
            "llm.backend=openai",
            f"llm.base_url={server.url}",
            "llm.model=scripted",
            "search.retrieved=2",
        )
        ending = run_campaign(tmp_path, (*OWN_IDEAS, *sets, "search.base=resnet-basic"))
    check_log(tmp_path)
    made = [(p.parent, p.suggestion.casefold()) for p in of_type(tmp_path, "ProposalMade")]
    assert ending.kind == "finished" and len(made) == len(set(made)) > len(THREE)
    ranked = of_type(tmp_path, "InspirationsRanked")
    assert max(len(r.ranking) for r in ranked) == 2, "no more than were asked for"


def test_an_idea_counts_once_in_whatever_letters():
    said = ["Add a skip.", "Use GELU", "add a  skip", "Use GELU.", "Widen it."]
    assert new_ones(said, ["use gelu!"]) == ["Add a skip.", "Widen it."]
    assert new_ones(said, []) == ["Add a skip.", "Use GELU", "Widen it."]


def test_without_a_proposer_chance_orders_the_models_ideas(tmp_path):
    answers = "".join(f"<proposal>{text}</proposal>" for text in THREE)
    with serve(Scenario(task_answers={"propose_freely": (answers,) * 50})) as server:
        sets = ("llm.backend=openai", f"llm.base_url={server.url}", "llm.model=scripted", "seed=2")
        run_campaign(tmp_path, (*OWN_IDEAS, *sets, "search.proposer=off", "search.base=resnet-basic"))
    check_log(tmp_path)
    ranked = [r for r in of_type(tmp_path, "InspirationsRanked") if len(r.ranking) == 3]
    assert ranked and {r.by for r in of_type(tmp_path, "InspirationsRanked")} <= {"drawn at random"}
    orders = {tuple(int(id.rpartition("-")[2]) for id in r.ranking) for r in ranked}
    assert all(id.startswith(OWN) for r in ranked for id in r.ranking)
    assert orders - {(1, 2, 3)}, "the model's own order counts for nothing"


def test_each_block_of_a_network_is_told_apart(tmp_path):
    """In every question that shows a whole network, and the accuracies have their unit."""
    run_campaign(
        tmp_path, ("search.candidates=4", "search.width=2", "search.lookahead=0", "synchronous=NORMAL")
    )
    shown = [(t, "block") for t in asked(tmp_path, "rank_inspirations")]
    for prompt in ("reflect_success", "reflect_loss"):
        for text in asked(tmp_path, prompt):
            shown += [(text, "parent"), (text, "child")]
            assert all(
                re.fullmatch(r"\d+\.\d\d %", section(text, f"{name}_accuracy"))
                for name in ("parent", "child")
            )
    assert len(shown) > 4
    for text, name in shown:
        told = section(text, name)
        places = [told.index(line) for line in PLACES.values()]
        assert places == sorted(places) and told.count("##") == 6
    for text in asked(tmp_path, "modify_cell"):
        assert section(text, "block").count("##") == 2, "the Modifier is given the cell to change, by itself"


@pytest.mark.parametrize("base", ["convnext", "resnet-basic"])
def test_the_rules_read_the_cell_of_a_labelled_network(base):
    design = base_design(base)
    text = labelled(design.to_text())
    assert cell_among(text) == design.cell and cell_among(print_block(design.cell)) == design.cell
    assert all(print_block(design.block(role)).strip() in text for role in Role)
