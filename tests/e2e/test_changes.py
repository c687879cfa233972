"""What a person changes of a run by hand takes effect, or is refused with one sentence that says what to
write.
"""

import asyncio
import json
from importlib.resources import files

import pytest

from nader.campaign import Campaign
from nader.errors import SettingsError
from nader.forks import fork
from nader.training import get_recipe
from nader.workspace import Workspace
from tests.e2e.campaigns import SMALL, check_log, events, folded, resume_campaign, run_campaign, settings
from tests.e2e.reading import read_library
from tests.e2e.simulation import SimulatedBackend
from tests.servers.openai_server import serve
from tests.servers.scenario import Scenario

EMBEDDER = ("llm.embedder=openai", "llm.embedding_dimension=64")
SCRIPTED = "llm.model=scripted"


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def rule_based(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rule-based")
    run_campaign(folder, ("search.candidates=1", "search.width=1", "llm.backend=rule-based"))
    return folder


def changed(folder, how, *sets):
    """Change a run by a resume or a fork; the run that was changed."""

    async def resume():
        async with await Campaign.resume(Workspace(folder), "run-1", sets) as campaign:
            return campaign.branch

    return asyncio.run(resume() if how == "resume" else fork(Workspace(folder), "run-1", 5, sets=sets))


# ---- a model that is named is asked


@pytest.mark.parametrize("how", ["resume", "fork"])
def test_a_model_that_is_named_on_a_rule_based_run_is_asked(tmp_path, how):
    run_campaign(tmp_path, (*SMALL, "llm.backend=rule-based"))
    with serve(Scenario()) as server:
        run = changed(tmp_path, how, SCRIPTED, f"llm.base_url={server.url}", "search.candidates=8")
        assert resume_campaign(tmp_path, run).reason == "completed"
        assert server.stats()["chat"] > 0
    views, _ = folded(tmp_path, run)
    assert views.status.designer() == "scripted" and "scripted" in views.ledger.by_model()
    check_log(tmp_path, run)


@pytest.mark.parametrize("how", ["resume", "fork"])
@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        ((SCRIPTED,), "llm.backend = 'openai' needs a key in .OPENAI_API_KEY"),
        ((SCRIPTED, "llm.backend=rule-based"),
         "llm.model would change nothing: the rule-based designer answers; add --set llm.backend=openai"),
        (("llm.models.reflector=x",), "llm.models.reflector .* add --set llm.backend=openai"),
        (("llm.models={reflector='x'}",), "llm.models.reflector .* add --set llm.backend=openai"),
        (("llm.temperature=0.1",), "llm.temperature would change nothing: the rule-based designer answers"),
        (("llm.base_url=http://127.0.0.1:1/v1",), "llm.base_url .*, and vectors are made here; add "),
        (("llm.embedding_model=x",), "llm.embedding_model .* add --set llm.embedder=openai"),
        (("llm.inbox=x",), "llm.inbox .* add --set llm.backend=inbox"),
        (("search.library=['x']",), "search.library .* when it starts; start a new run"),
        (("search.shipped_inspirations=false",), "search.shipped_inspirations .*; start a new run"),
        (("search.experience_from=['run-1']",), "search.experience_from .*; start a new run"),
        (("reading.inspirations=3",), "reading.inspirations .* a campaign reads no papers"),
        (("search.proposer=off", "search.strategy=bfs"), "search.strategy .* draws at random; add --set "),
        (("search.reader=own-ideas", "search.near_success=0.1"), "search.near_success .* search.reader=on"),
    ],
)  # fmt: skip
def test_what_could_change_nothing_is_refused_and_the_run_stays_as_it_is(rule_based, how, sets, sentence):
    before = len(events(rule_based))
    with pytest.raises(SettingsError, match=sentence):
        changed(rule_based, how, *sets)
    with Workspace(rule_based).reader() as reader:
        assert [b.name for b in reader.branches()] == ["run-1"]
    assert len(events(rule_based)) == before


def test_ideas_that_a_run_never_took_in_cannot_be_turned_on(tmp_path):
    sets = ("search.candidates=1", "search.width=1", "llm.backend=rule-based", "search.reader=fixed-list")
    run_campaign(tmp_path, sets)
    with pytest.raises(SettingsError, match=r"search.reader .* took in none; start a new run"):
        changed(tmp_path, "resume", "search.reader=on", "search.candidates=2")


# ---- another embedder


def test_a_misspelt_embedding_model_is_put_right_on_the_paused_run(tmp_path):
    with serve(Scenario(models=("scripted", "vectors"), listed=())) as server:
        wrong = settings(server, *EMBEDDER, "llm.embedding_model=vektors")
        ending = run_campaign(tmp_path, wrong)
        assert (ending.kind, ending.reason[:15]) == ("paused", "no-such-model: ")
        right = ("llm.embedding_model=vectors", "llm.embedding_dimension=32")
        assert resume_campaign(tmp_path, sets=right).reason == "completed"
    check_log(tmp_path)
    log = events(tmp_path)
    told = [e.event for e in log if e.type in ("EmbeddingCompleted", "KnowledgeIndexed", "LessonRecorded")]
    assert {(event.embedder, event.dimension) for event in told} == {("vectors", 32)}
    views, _ = folded(tmp_path)
    assert len(views.knowledge.matrix()[0]) == views.knowledge.count() > 90


def test_vectors_that_are_there_keep_their_embedder(tmp_path):
    with serve(Scenario(models=("scripted", "vectors"), listed=())) as server:
        sets = settings(server, *EMBEDDER, "llm.embedding_model=vectors")
        run_campaign(tmp_path, sets, SimulatedBackend())
        first = next(e.position for e in events(tmp_path) if e.type == "EmbeddingCompleted")
        for change in ("llm.embedding_dimension=32", "llm.embedding_model=scripted", "llm.embedder=hashed"):
            with pytest.raises(
                SettingsError, match=r"this run holds vectors of vectors \(64 numbers\), which"
            ):
                changed(tmp_path, "resume", change)
        again = asyncio.run(fork(Workspace(tmp_path), "run-1", first - 1, sets=("llm.embedder=hashed",)))
        assert resume_campaign(tmp_path, again).reason == "completed"
    check_log(tmp_path, again)
    told = [e.event for e in events(tmp_path, again) if e.type == "EmbeddingCompleted"]
    assert {(event.embedder, event.dimension) for event in told} == {("hashed", 64)}


def test_vectors_of_a_library_keep_their_embedder_too(tmp_path):
    one = {"id": "a", "paper_id": "p", "inspiration": "Add a skip connection."}
    (tmp_path / "list.json").write_text(json.dumps([one]))
    read_library(tmp_path, tmp_path / "list.json", "list")
    run_campaign(tmp_path, ("search.candidates=1", "search.width=1", "search.library=['list']"))
    log = events(tmp_path)
    attached = next(e.position for e in log if e.type == "LibraryAttached")
    with pytest.raises(
        SettingsError, match=r"this run's library:list holds vectors of hashed \(1024 numbers\)"
    ):
        asyncio.run(fork(Workspace(tmp_path), "run-1", attached, sets=("llm.embedding_dimension=64",)))


def test_a_library_that_a_run_has_not_taken_in_yet_keeps_its_embedder_too(tmp_path):
    one = {"id": "a", "paper_id": "p", "inspiration": "Add a skip connection."}
    (tmp_path / "list.json").write_text(json.dumps([one]))
    read_library(tmp_path, tmp_path / "list.json", "list")
    run_campaign(tmp_path, ("search.candidates=1", "search.width=1", "search.library=['list']"))
    said = r"the library 'list' has vectors of hashed \(1024 numbers\), .*; set llm.embedding_dimension = "
    with pytest.raises(SettingsError, match=said):
        asyncio.run(fork(Workspace(tmp_path), "run-1", 1, sets=("llm.embedding_dimension=64",)))
    asyncio.run(fork(Workspace(tmp_path), "run-1", 1, name="again"))
    with pytest.raises(SettingsError, match=said):
        resume_campaign(tmp_path, "again", sets=("llm.embedding_dimension=64",))
    assert resume_campaign(tmp_path, "again").reason == "completed"


# ---- what results are measured by stays, and what is so already is no change


@pytest.mark.parametrize("how", ["resume", "fork"])
@pytest.mark.parametrize(
    "change",
    [
        "training.epochs=2",
        "training.seeds=[1, 2]",
        "training.recipe=nas-bench-201-12",
        "training.max_params=0.2",
        "training.max_macs=0.01",
    ],
)
def test_results_that_would_not_compare_are_refused_with_what_to_do_instead(rule_based, how, change):
    before = len(events(rule_based))
    with pytest.raises(SettingsError) as refused:
        changed(rule_based, how, change)
    key = change.partition("=")[0]
    assert str(refused.value) == (
        f"{key} is fixed once a campaign has started, in its forks too, because its results would not "
        "compare; start a new run (search.experience_from = ['run-1'] takes along what was learnt)"
    )
    assert len(events(rule_based)) == before


def test_the_advice_for_another_number_of_epochs_works(tmp_path):
    run_campaign(tmp_path, (*SMALL, "llm.backend=rule-based"))
    sets = (*SMALL, "llm.backend=rule-based", "training.epochs=2", "search.experience_from = ['run-1']")
    run_campaign(tmp_path, sets, name="again")
    check_log(tmp_path, "again")
    views, _ = folded(tmp_path, "again")
    assert views.status.ground().recipe["epochs"] == 2 and any(
        row.origin == "run-1" for row in views.experience.all()
    )


def test_a_recipe_file_that_was_edited_makes_no_other_results_of_a_run_that_goes_on(tmp_path):
    recipe = get_recipe("digits")
    file = tmp_path / "mine.toml"
    text = (files("nader.training") / "recipes_data" / "digits.toml").read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    run_campaign(tmp_path / "w", (*SMALL, f"training.recipe={file}"))
    edited = text.replace(f"epochs = {recipe.epochs}", f"epochs = {recipe.epochs + 3}")
    assert edited != text
    file.write_text(edited, encoding="utf-8")
    resume_campaign(tmp_path / "w", sets=("search.candidates=7",))
    asked = [e.event for e in events(tmp_path / "w") if e.type == "TrainingRequested"]
    assert len(asked) >= 8 and {request.recipe["epochs"] for request in asked} == {recipe.epochs}
    check_log(tmp_path / "w")


def test_a_setting_that_is_so_already_leaves_no_trace(tmp_path):
    run_campaign(tmp_path)
    before = [e.hash for e in events(tmp_path)]
    ending = resume_campaign(tmp_path, sets=("search.candidates=5", "search.width=3"))
    assert ending.kind == "finished" and [e.hash for e in events(tmp_path)] == before
    name = changed(tmp_path, "fork", "search.width=3")
    assert [e.type for e in events(tmp_path, name)[5:]] == ["Forked"]
    resume_campaign(tmp_path, name, sets=("seed=0",))
    assert [e.type for e in events(tmp_path, name)].count("SettingsChanged") == 0
    check_log(tmp_path, name)


def test_a_prompt_of_the_same_folder_that_was_edited_is_a_change(tmp_path):
    folder = tmp_path / "prompts"
    folder.mkdir()
    text = (files("prompts") / "reflect_loss.md").read_text(encoding="utf-8")
    (folder / "reflect_loss.md").write_text(text, encoding="utf-8")
    run_campaign(tmp_path / "w", (*SMALL, f"llm.prompts={folder}"))
    (folder / "reflect_loss.md").write_text(text + "\nBe brief.\n", encoding="utf-8")
    name = changed(tmp_path / "w", "fork", f"llm.prompts={folder}")
    assert [e.type for e in events(tmp_path / "w", name)[5:]] == ["Forked", "SettingsChanged"]
