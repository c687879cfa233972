"""Settings: presets, files, `key=value`; and one clear sentence for each mistake."""

import re

import pytest

from nader.embedder import PAPER, embedder_said, to_tell_at_start
from nader.settings import PRESETS, SettingsError, changed, describe, differences, load_settings
from tests.conftest import shared_data


def test_every_preset_is_valid_and_the_default_is_digits():
    for name in PRESETS:
        load_settings(preset=name)
    assert load_settings() == load_settings(preset="digits")


def test_a_file_goes_over_its_preset_and_key_value_pairs_over_both(tmp_path):
    file = tmp_path / "campaign.toml"
    file.write_text('preset = "paper-nas-bench-201"\nseed = 5\n[search]\nwidth = 3\n')
    settings = load_settings(
        file, sets=["search.candidates=7", "training.seeds=[777, 888]", "llm.model=qwen"]
    )
    assert (settings.seed, settings.search.width, settings.search.candidates) == (5, 3, 7)
    assert settings.training.dataset == "cifar100" and settings.training.seeds == (777, 888)
    assert settings.llm.model == "qwen"


@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        (["search.widht=3"], "there is no setting 'search.widht'; did you mean 'search.width'?"),
        (["widht=3"], "there is no setting 'widht'; did you mean 'search.width'?"),
        (["search.width=x"], "search.width = 'x' is not right: it takes a whole number"),
        (["search.width=0"], "search.width = 0 is not right: it should be greater than or equal to 1"),
        (["search.strategy=best"], "search.strategy = 'best' is not right"),
        (["search.width"], "--set takes key=value"),
        (["seed.x=1"], "seed = {'x': 1} is not right"),
        (["serch.width=3"], "there is no setting 'serch'; did you mean 'search'?"),
        (["search=x"], "search = 'x' is not right: it is a section with keys of its own"),
        (["training.seeds=[]"], "training.seeds = [] is not right: it takes at least one whole number"),
        (["training.seeds=[777, 777]"], "training.seeds = [777, 777] is not right: it takes at least one"),
        (["training.seeds=x"], "training.seeds = 'x' is not right: it takes a list"),
        (["llm.models.reflecter='x'"], "'reflecter' in llm.models is not right: did you mean 'reflector'?"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(sets, sentence):
    with pytest.raises(SettingsError) as caught:
        load_settings(sets=sets)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ['["a"]', "3", "{a = 1}"])
def test_a_preset_that_is_no_name_is_named(tmp_path, value):
    file = tmp_path / "campaign.toml"
    file.write_text(f"preset = {value}\n")
    with pytest.raises(SettingsError, match="there is no preset"):
        load_settings(file)


def test_a_misspelt_key_in_a_file_is_named_with_the_file(tmp_path):
    file = tmp_path / "campaign.toml"
    file.write_text("[training]\nrecepie = 'digits'\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    assert (
        str(caught.value)
        == f"{file}: there is no setting 'training.recepie'; did you mean 'training.recipe'?"
    )


def test_a_file_that_is_no_toml_or_not_there_is_one_sentence(tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text("seed = = 3")
    with pytest.raises(SettingsError, match="is not a TOML file"):
        load_settings(bad)
    with pytest.raises(SettingsError, match="there is no settings file"):
        load_settings(tmp_path / "none.toml")
    with pytest.raises(SettingsError, match="did you mean 'digits'"):
        load_settings(preset="digit")


def test_changes_are_told_by_dotted_key():
    old = load_settings()
    new = changed(old, ["budget.money=2.5", "search.width=9"])
    assert differences(old, new) == {"budget.money": 2.5, "search.width": 9}


def test_every_setting_says_what_it_is():
    rows = list(describe())
    assert len(rows) > 50
    assert not [key for key, _, _, text in rows if not text]


def test_the_paper_preset_has_the_papers_numbers():
    settings = load_settings(preset="paper-nas-bench-201")
    assert settings.search.width == 5 and settings.search.retrieved == 10 and settings.search.lookahead == 0
    assert settings.modifier.experiences == 5
    assert (settings.modifier.rounds, settings.modifier.tries) == (5, 5)
    assert settings.training.max_params == 1.5e6 and settings.training.max_macs == 0.2e9
    assert settings.training.hopeless is False


def test_a_temperature_of_one_agent_has_the_limits_of_all():
    with pytest.raises(SettingsError, match=r"llm\.temperatures\.modifier = 9 is not right"):
        load_settings(sets=["llm.temperatures={modifier=9}"])
    assert load_settings(sets=["llm.temperatures={modifier=2}"]).llm.temperatures == {"modifier": 2.0}


SOURCES = ("paper", "reference implementation", "protocol", "ours")
WITH_SOURCES = ("search.", "reading.", "modifier.")
ALSO = (
    "search.base", "llm.model", "llm.temperature", "llm.max_tokens", "llm.answer_repairs",
    "llm.embedding_dimension", "llm.embedding_tries", "training.max_params", "training.max_macs",
    "training.seeds",
)  # fmt: skip


def test_every_number_of_the_agents_says_where_it_comes_from():
    told = {key: (value, text) for key, _, value, text in describe()}
    numbers = [
        k for k, (value, _) in told.items() if k.startswith(WITH_SOURCES) and type(value) in (int, float)
    ]
    assert len(numbers) >= 18
    for key in (*numbers, *ALSO):
        text = told[key][1]
        assert any(source in text for source in ("paper", "reference implementation", "protocol", "ours")), (
            key
        )


CLAIMS = [
    ("search.base", "§4.2", "ResNet"),
    ("search.candidates", "§4.2", "5 and 10"),
    ("search.candidates", "§4.4", "500"),
    ("search.strategy", "§3.3.2", "combination of depth-first search (DFS) and breadth-first search (BFS)"),
    ("search.near_success", "§3.3.2", "different similarity levels"),
    ("search.reader", "§4.3", "LeMo-NADe"),
    ("search.reader", "Table 2", '"R" and "P" represent Reader and Proposer'),
    ("search.proposer", "§4.3", "randomly select knowledge"),
    ("search.proposer", "Table 2", "Reader and Proposer"),
    ("modifier.experiences", "§3.4.2", "retrieves 5"),
    ("training.seeds", "A1.3", "777, 888 and 999"),
    ("training.max_params", "§4.2", "1.5M"),
    ("training.max_macs", "§4.2", "0.05 GFLOPs for ImageNet16-120"),
    ("training.hopeless", "A3.2", "early detection and termination"),
    ("llm.model", "A1.2", "GPT-4o"),
    ("llm.embedder", "A1.2", "text-embedding-ada-002"),
]
"""(setting, place of the paper that it cites, words that stand there)."""
PLACE = re.compile(r"§[\d.]*\d|Table \d+|(?<=appendix )A\d\.\d")


def place_in_paper(text, place):
    """What stands in a section, from its heading to the next, or on the line of a table's title."""
    if place.startswith("Table"):
        return next(line for line in text.splitlines() if f"{place}. " in line)
    number = re.escape(place.lstrip("§"))
    found = re.search(rf"^#+ (?:<[^>]*>)*{number}\.? .*?(?=^#+ (?:<[^>]*>)*A?\d|\Z)", text, re.M | re.S)
    assert found is not None, place
    return found[0]


def test_what_the_settings_say_of_the_paper_stands_there():
    paper = shared_data("paper/nader-cvpr2025.txt").read_text(encoding="utf-8")
    told = {key: text for key, _, _, text in describe()}
    for key, place, words in CLAIMS:
        assert place in PLACE.findall(told[key]), (key, place)
        assert words in " ".join(place_in_paper(paper, place).split()), (key, place)
    cited = {(key, place) for key, text in told.items() for place in PLACE.findall(text)}
    assert cited == {(key, place) for key, place, _ in CLAIMS}, "a new citation is to be looked up too"


def test_the_embedder_is_named_beside_the_papers():
    settings = load_settings(preset="paper-nas-bench-201")
    assert "embedder" in PRESETS["paper-nas-bench-201"]["llm"]
    said = to_tell_at_start(settings) or ""
    assert said.startswith(
        "Texts are compared by local hashed n-grams, 1,024 numbers; the paper used text-emb"
    )
    sets = re.findall(r"llm\.\w+ = [\w-]+", said)
    assert len(sets) == 3
    as_in_paper = load_settings(preset="paper-nas-bench-201", sets=[pair.replace(" ", "") for pair in sets])
    assert (as_in_paper.llm.embedder_name, as_in_paper.llm.embedding_dimension) == (PAPER, 1536)
    assert embedder_said(as_in_paper) == f"the endpoint's {PAPER}, 1,536 numbers, as in the paper"
    assert to_tell_at_start(load_settings()) is None
