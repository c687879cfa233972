"""The settings of a campaign: every number named, settable, and with its source.

Sources in the docstrings: "paper" is NADER (CVPR 2025) with its section or table; "protocol" is
NAS-Bench-201.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from nader.errors import SettingsError

Agent = Literal["reader", "proposer", "modifier", "reflector"]
Percent = Annotated[float, Field(ge=0, le=100)]
Temperature = Annotated[float, Field(ge=0, le=2)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SearchSettings(_Section):
    """How the modification tree is grown."""

    base: str = "resnet-basic"
    """Design to start from: a base block's name, a file of blocks, or `nas-bench-201:ARCH` (paper §4.2:
    ResNet).
    """
    candidates: int = Field(default=12, ge=1)
    """Distinct designs to train besides the base (paper §4.2 reports 5 and 10, §4.4 500)."""
    width: int = Field(default=4, ge=1, le=64)
    """Proposals a round (reference implementation: 5)."""
    lookahead: int = Field(default=1, ge=0, le=8)
    """Rounds designed ahead of the newest results they may see (ours; the paper speaks of none): at 0 each
    knows all results before it.
    """
    strategy: Literal["dfs", "bfs", "mixed", "greedy", "random"] = "mixed"
    """How a parent is chosen: depth first, breadth first, both in turn (paper §3.3.2: a combination of the
    two; that they take turns is ours), best, any.
    """
    retrieved: int = Field(default=10, ge=1)
    """Inspirations retrieved for a ranking (reference implementation: 10)."""
    near_success: float = Field(default=0.4, ge=0, le=1)
    """Share of them that is near suggestions that raised accuracy (ours; paper §3.3.2 says `different
    similarity levels` and no number).
    """
    unexplored: float = Field(default=0.3, ge=0, le=1)
    """Share of them that is as far as possible from all that was tried (ours, as above); chance draws the
    rest.
    """
    failure_weight: float = Field(default=0.5, ge=0)
    """What nearness to a suggestion that lowered accuracy counts against nearness to one that raised it
    (ours).
    """
    near_failure: float = Field(default=0.75, ge=-1, le=1)
    """Cosine similarity to a suggestion that lowered accuracy from which on an inspiration is not drawn
    (ours, set with the local embedder; by others, texts that have little in common may be as near).
    """
    lessons: int = Field(default=12, ge=0)
    """Newest lessons that are told to the Proposer (ours; the paper gives no number)."""
    empty_rounds: int = Field(default=3, ge=1)
    """Rounds in a row without one new design, under the same settings, that end a campaign as exhausted
    (ours).
    """
    reader: Literal["on", "own-ideas", "fixed-list"] = "on"
    """Where ideas come from: the knowledge base; the model itself; ten fixed simple edits, which stand in for
    LeMo-NADe's expert suggestions (paper Table 2's ablation, §4.3).
    """
    proposer: Literal["on", "off"] = "on"
    """`off` draws parent and inspirations at random (paper Table 2's ablation, §4.3; the parent too is ours).
    With `reader = "own-ideas"` the model is still asked for ideas, and chance orders them.
    """
    objective: str = "validation"
    """What is maximised: `validation`, or a sum such as `validation - 2*params_m - 10*gmacs -
    0.1*latency_ms`.
    """
    library: tuple[str, ...] = ()
    """Libraries (of `nader read`) whose inspirations join the shipped ones."""
    experience_from: tuple[str, ...] = ()
    """Runs of this workspace whose design experience is brought along."""
    shipped_inspirations: bool = True
    """Whether the inspirations that come with the package are entered."""


class ReadingSettings(_Section):
    """How papers become inspirations (paper §3.3.1, Algorithm 1, which gives no numbers)."""

    section_tokens: int = Field(default=6000, ge=100)
    """Longest method section that is shown to a model, in tokens (ours)."""
    abstract_characters: int = Field(default=1500, ge=100)
    """So much of the text stands in for an abstract that a table or a listing does not give (ours)."""
    inspirations: int = Field(default=5, ge=1, le=50)
    """Inspirations asked for from one paper, at most (ours)."""
    near_duplicate: float = Field(default=0.92, ge=0, le=1)
    """Cosine similarity from which on an inspiration is merged into the one that says the same, in a library
    and across those of a campaign (ours).
    """
    near_duplicate_words: float = Field(default=0.55, gt=0, le=1)
    """The same for an imported list, whose texts are compared by their words: the share that two have in
    common (ours).
    """


class ModifierSettings(_Section):
    """How designs are written."""

    experiences: int = Field(default=5, ge=0)
    """Experiences shown with a task (paper §3.4.2: 5)."""
    rounds: int = Field(default=5, ge=1)
    """Fresh starts for a block that cannot be repaired (reference implementation: 5)."""
    tries: int = Field(default=5, ge=1)
    """Tries within a start, repairs included (reference implementation: 5)."""
    concurrency: int = Field(default=8, ge=1, le=64)
    """Designs written at once (ours; it changes no result)."""


class TrainingSettings(_Section):
    """What is trained, on what, and within which limits."""

    dataset: str = "digits"
    """Data set name; `nader data status` lists them."""
    data_dir: str = ""
    """Folder of data files; empty: $NADER_DATA, else `nader/data` in the user's data folder."""
    skeleton: str = "digits"
    """The macro skeleton the cells are put in."""
    recipe: str = "digits"
    """Name of a recipe, or a TOML file of one."""
    epochs: int | None = Field(default=None, ge=1)
    """Other number of epochs than the recipe's; the result names it as a deviation."""
    seeds: tuple[int, ...] = (777,)
    """Seeds of each candidate's trainings; its figure is their mean (protocol and paper appendix A1.3: 777,
    888, 999).
    """
    max_params: float | None = Field(default=None, ge=0)
    """Limit on parameters (paper §4.2: 1.5 M); unset: the skeleton's own, 0: none."""
    max_macs: float | None = Field(default=None, ge=0)
    """Limit on multiply-accumulates (paper §4.2: 0.2 GFLOPs; 0.05 on ImageNet16-120); unset, 0: as above."""
    slots: int = Field(default=0, ge=0)
    """Trainings at once; 0: as many as the machine suggests."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of each training; another number may change the last bits of a result."""
    gpus_per_slot: float = Field(default=1.0, gt=0, le=1)
    """Share of a GPU that a training takes: 0.5 trains two small networks on each GPU at once."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`auto`, `cpu`, `cuda`, `cuda:N`."""
    backend: Literal["local", "ray"] = "local"
    """Where trainings run."""
    address: str = ""
    """Address of the Ray cluster; empty: start one here."""
    hopeless: bool = False
    """Stop candidates early that the base's loss curve shows to be hopeless (paper appendix A3.2)."""
    memory_gb: float = Field(default=8.0, gt=0)
    """Memory a training worker may use, in 10⁹ bytes; at most its share of the machine's."""
    time_limit_s: float = Field(default=0.0, ge=0)
    """Seconds a training may take; 0: no limit."""
    heartbeat_s: float = Field(default=120.0, gt=0)
    """Seconds of silence after which a worker counts as hanging."""
    step_timeout_s: float = Field(default=900.0, gt=0)
    """Seconds without a finished step after which a worker that lives counts as hanging."""
    tensorboard: bool = False
    """Write TensorBoard event files beside the checkpoints (extra `tensorboard`)."""

    @field_validator("seeds")
    @classmethod
    def _all_different(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) < len(value):
            raise PydanticCustomError("seeds", "it takes at least one whole number, and none of them twice")
        return value


class ModelSettings(_Section):
    """Which model answers, and within which limits."""

    backend: Literal["auto", "rule-based", "openai", "inbox"] = "auto"
    """`auto`: a language model when a key or `base_url` is set, else the rule-based designer
    (refused where a model is named)."""
    base_url: str = ""
    """Endpoint; empty: $OPENAI_BASE_URL, else OpenAI's own."""
    api_key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key. The key itself is never stored."""
    model: str = "gpt-4o"
    """Chat model (paper appendix A1.2: GPT-4o)."""
    models: dict[Agent, str] = {}
    """Other models for single agents."""
    temperature: Temperature = 0.7
    """Sampling temperature (ours; the paper names none)."""
    temperatures: dict[Agent, Temperature] = {}
    """Other temperatures for single agents."""
    max_tokens: int = Field(default=4096, ge=16)
    """Longest answer (ours; the paper names none)."""
    answer_repairs: int = Field(default=2, ge=0)
    """Turns in which an answer of no usable form may be put right (ours)."""
    prompts: str = ""
    """Folder of prompt templates of one's own (NAME.md), in place of the built-in ones of those names."""
    prices: dict[str, tuple[float, float]] = {}
    """US dollars for a million tokens in and out, of models that the built-in list does not know."""
    unlisted: Literal["refuse", "ask"] = "refuse"
    """A model that the endpoint does not list: refused before anything begins, or asked all the same (some
    endpoints answer to names that they do not list).
    """
    api: Literal["chat", "responses"] = "chat"
    """Chat Completions or Responses."""
    structured: Literal["auto", "on", "off"] = "auto"
    """Structured output: asked for and, at `auto`, done without where the server refuses it."""
    concurrency: int = Field(default=16, ge=1)
    """Calls at once."""
    requests_per_minute: int = Field(default=0, ge=0)
    """0: no limit."""
    tokens_per_minute: int = Field(default=0, ge=0)
    """0: no limit."""
    deadline_s: float = Field(default=120.0, gt=0)
    """Seconds a call may take."""
    retries: int = Field(default=6, ge=0)
    """Tries after the first on 429, 5xx, time-outs and broken connections."""
    backoff_s: float = Field(default=1.0, ge=0)
    """First pause between tries; it doubles, with jitter, up to a minute."""
    outage_after: int = Field(default=3, ge=0)
    """Calls in a row, over all agents, that end so after all their tries before the campaign pauses; 0:
    never.
    """
    embedder: Literal["hashed", "openai"] = "hashed"
    """Local hashed n-grams, which need no endpoint and are every preset's, or the endpoint's embeddings
    (paper appendix A1.2: text-embedding-ada-002).
    """
    embedding_model: str = "text-embedding-3-small"
    """Model of the endpoint's embeddings (ours; the paper's is text-embedding-ada-002, of 1536 numbers)."""
    embedding_dimension: int = Field(default=1024, ge=16, le=4096)
    """Size of a vector (ours: `python -m benchmarks.retrieval` compares 256, 1,024 and 4,096)."""
    embedding_tries: int = Field(default=3, ge=1)
    """Tries for the vectors of what a campaign knows at its start; without them it has no inspirations
    (ours).
    """
    inbox: str = ""
    """Folder of prompts for a person, with `backend = "inbox"`; empty: `inbox` in the workspace."""

    @property
    def embedder_name(self) -> str:
        """What stands beside every vector: vectors of two embedders are never mixed in one index."""
        return "hashed" if self.embedder == "hashed" else self.embedding_model


class BudgetSettings(_Section):
    """Caps; 0 means none. A cap is checked before a call and counts calls in flight."""

    money: float = Field(default=0.0, ge=0)
    """US dollars."""
    tokens: int = Field(default=0, ge=0)
    """Tokens in and out."""
    hours: float = Field(default=0.0, ge=0)
    """Hours of running, all processes together."""
    money_per_agent: dict[Agent, float] = {}
    """US dollars for single agents."""
    tokens_per_agent: dict[Agent, int] = {}
    """Tokens for single agents."""
    hours_per_agent: dict[Agent, float] = {}
    """Hours that single agents wait for answers, summed over their calls."""


class CampaignSettings(_Section):
    """Everything that determines a campaign, as it is recorded in its first event."""

    seed: int = 0
    """Seed of every choice by chance."""
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    """Durability of the log: FULL survives a power cut, NORMAL may lose the last moments (never its
    order).
    """
    search: SearchSettings = SearchSettings()
    reading: ReadingSettings = ReadingSettings()
    modifier: ModifierSettings = ModifierSettings()
    training: TrainingSettings = TrainingSettings()
    llm: ModelSettings = ModelSettings()
    budget: BudgetSettings = BudgetSettings()


PRESETS: dict[str, dict[str, Any]] = {
    "digits": {"search": {"base": "convnext"}},
    "fashion-mnist": {
        "search": {"candidates": 10},
        "training": {"dataset": "fashion-mnist", "skeleton": "fashion-mnist", "recipe": "fashion-mnist"},
    },
    "paper-nas-bench-201": {
        "search": {"candidates": 10, "width": 5, "lookahead": 0, "retrieved": 10},
        "modifier": {"experiences": 5, "rounds": 5, "tries": 5},
        # The paper's embedder needs an endpoint that has it, and this preset starts without one too.
        "llm": {"embedder": "hashed", "embedding_dimension": 1024},
        "training": {
            "dataset": "cifar100",
            "skeleton": "nas-bench-201",
            "recipe": "nas-bench-201",
            "seeds": [777],
            "max_params": 1.5e6,
            "max_macs": 0.2e9,
            "hopeless": False,
        },
    },
}
"""Named starting points; a preset is the defaults with these changes."""


def load_settings(
    file: Path | None = None, preset: str | None = None, sets: Sequence[str] = ()
) -> CampaignSettings:
    """Settings from a preset, a TOML file over it, and `key=value` pairs over both.

    A file may name its preset with a top-level `preset = "…"`. Raises `SettingsError` with one sentence that
    names the key, what is wrong with it and, for a misspelt one, the nearest right one.
    """
    from_file = _read_toml(file) if file else {}
    name = preset or from_file.pop("preset", None) or "digits"
    from_file.pop("preset", None)
    if not isinstance(name, str) or name not in PRESETS:
        near = difflib.get_close_matches(str(name), PRESETS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise SettingsError(f"there is no preset {name!r}{hint} Presets are: {', '.join(PRESETS)}.")
    merged = _merge(PRESETS[name], from_file)
    for pair in asking(sets, _backend(merged)):
        _put(merged, pair)
    return validated(merged, where=str(file) if file else "the settings")


def validated(values: Mapping[str, Any], where: str = "the settings") -> CampaignSettings:
    """Checked settings from nested values; raises `SettingsError`."""
    try:
        return CampaignSettings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_sentence(error, where)) from None


def named_keys(sets: Sequence[str]) -> list[str]:
    """The dotted keys that `key=value` pairs set, each once, tables entry by entry."""
    values: dict[str, Any] = {}
    for pair in sets:
        _put(values, pair)
    return [key for key, _ in _flat(values)]


def asking(sets: Sequence[str], backend: str) -> list[str]:
    """`key=value` pairs, so that a chat model that is named is asked, unless they say who answers; `backend`
    is who answers otherwise.
    """
    named = named_keys(sets)
    if "llm.model" not in named or "llm.backend" in named or backend in ("auto", "openai"):
        return list(sets)
    return [*sets, "llm.backend=openai"]


def _backend(values: Mapping[str, Any]) -> str:
    llm = values.get("llm")
    return str(llm.get("backend", "auto")) if isinstance(llm, Mapping) else "auto"


def changed(settings: CampaignSettings, sets: Sequence[str]) -> CampaignSettings:
    """The settings with `key=value` pairs put in; raises `SettingsError`."""
    values = settings.model_dump(mode="json")
    for pair in sets:
        _put(values, pair)
    return validated(values, where="--set")


def differences(old: CampaignSettings, new: CampaignSettings) -> dict[str, Any]:
    """Dotted keys whose values differ, with the new values."""
    before, after = dict(_flat(old.model_dump(mode="json"))), dict(_flat(new.model_dump(mode="json")))
    return {
        key: after.get(key)
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }


def describe() -> Iterator[tuple[str, str, Any, str]]:
    """Every setting as (dotted key, type, default, what it is and where its default comes from)."""
    yield from _describe(CampaignSettings, "")


def _describe(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, Any, str]]:
    defaults = model()
    for name, field in model.model_fields.items():
        value = getattr(defaults, name)
        if isinstance(value, BaseModel):
            yield from _describe(type(value), f"{prefix}{name}.")
        else:
            kind = getattr(field.annotation, "__name__", None) or str(field.annotation)
            kind = (
                str(field.annotation).replace("typing.", "")
                if kind in ("Literal", "Union", "Optional")
                else kind
            )
            yield f"{prefix}{name}", kind, value, " ".join((field.description or "").split())


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"there is no settings file {file}") from None
    except OSError as error:
        raise SettingsError(f"the settings file {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not a TOML file: {error}") from None


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = {
        key: (_merge(value, {}) if isinstance(value, Mapping) else value) for key, value in base.items()
    }
    for key, value in over.items():
        held = merged.get(key)
        merged[key] = _merge(held, value) if isinstance(held, dict) and isinstance(value, Mapping) else value
    return merged


def _put(values: dict[str, Any], pair: str) -> None:
    """Put `dotted.key=value` into nested values; the value is read as TOML, or taken as text."""
    key, equals, text = pair.partition("=")
    key, text = key.strip(), text.strip()
    if not equals or not key:
        raise SettingsError(f"--set takes key=value, for example search.width=5; this is {pair!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *sections, last = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"{key} names no setting: {section!r} is a single value")
        values = inner
    values[last] = value


_WANTED = {
    "int": "it takes a whole number",
    "float": "it takes a number",
    "bool": "it takes true or false",
    "string": "it takes text in quotes",
    "tuple": "it takes a list, such as [777, 888]",
    "list": "it takes a list, such as [777, 888]",
    "dict": "it takes a table, such as {reader = ...}",
    "model": "it is a section with keys of its own",
}
"""What a setting takes, by the first word of pydantic's error type."""


def _sentence(error: ValidationError, where: str) -> str:
    """One sentence for the first thing that is wrong."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no setting {key!r}; {_nearest_setting(key)}"
    value = first.get("input")
    if first["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        near = difflib.get_close_matches(str(value), allowed, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        what = f"the name {value!r} in {key.rpartition('.')[0]}" if first["loc"][-1] == "[key]" else None
        return f"{where}: {what or f'{key} = {value!r}'} is not right: {hint}it takes {' or '.join(allowed)}"
    wanted = _WANTED.get(first["type"].split("_")[0], first["msg"].replace("Input", "it"))
    return f"{where}: {key} = {value!r} is not right: {wanted}"


def _nearest_setting(key: str) -> str:
    """A hint at the setting or section that was meant."""
    known = [name for name, *_ in describe()]
    sections = sorted({name.rpartition(".")[0] for name in known} - {""})
    near = difflib.get_close_matches(key, [*known, *sections], 1, 0.5) or difflib.get_close_matches(
        key.rsplit(".", 1)[-1], [name.rsplit(".", 1)[-1] for name in known], 1
    )
    full = next((name for name in [*sections, *known] if near and name.endswith(near[0])), None)
    return f"did you mean {full!r}?" if full else "`nader settings` lists them all."


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
