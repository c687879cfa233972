"""Resolves what settings refer to outside the log, once, before anything is recorded: data set, recipe, base
design.
"""

import importlib.util
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import prompts
from events.campaign import Ground
from nader.errors import SettingsError, WorkspaceError
from nader.graph import BASE_DESIGNS, BlockError, Design, GraphError, base_design, nas_bench_201_design
from nader.llm import Price, Prices
from nader.network import NetworkError, get_skeleton, search_width, verify_design
from nader.settings import CampaignSettings, validated
from nader.training import (
    DatasetInfo,
    Recipe,
    TrainingError,
    data_status,
    dataset_identity,
    dataset_info,
    get_recipe,
    load_recipe,
    require_same,
)
from nader.training.slots import usable_gpus
from nader.workspace import LIBRARY, Workspace
from store import Head, Reader, sha256_hex
from store.projections.objective import ObjectiveError, parse_objective

NAS_BENCH = "nas-bench-201:"


def resolve_backend(settings: CampaignSettings) -> CampaignSettings:
    """The settings with `llm.backend = "auto"` decided: a language model where a key or an endpoint is
    set.

    Raises `SettingsError` where there is neither, and a model is named that nobody could ask.
    """
    llm = settings.llm
    if llm.backend != "auto":
        return settings
    if not _reachable(settings) and (named := llm.model_fields_set & {"model", "models"}):
        raise SettingsError(
            f"llm.{min(named)} names a model, and there is neither a key in ${llm.api_key_env} nor an "
            "endpoint in llm.base_url or $OPENAI_BASE_URL; llm.backend = 'rule-based' designs without one"
        )
    values = settings.model_dump(mode="json")
    values["llm"]["backend"] = "openai" if _reachable(settings) else "rule-based"
    return validated(values)


def designer_of(settings: CampaignSettings) -> str:
    """Who designs, as every report names it."""
    llm = settings.llm
    if llm.backend != "openai":
        return llm.backend
    return ", ".join(dict.fromkeys([llm.model, *llm.models.values()]))


def data_dir_of(settings: CampaignSettings) -> str | None:
    """The folder that the settings name for data; None leaves it to the data set."""
    return settings.training.data_dir or None


def own_prompts(settings: CampaignSettings) -> dict[str, str]:
    """The texts of the prompt templates in the settings' folder, checked, by name. Raises `SettingsError`."""
    if not settings.llm.prompts:
        return {}
    folder = Path(settings.llm.prompts)
    if not folder.is_dir():
        raise SettingsError(f"llm.prompts = {settings.llm.prompts!r} is no folder; put NAME.md files in one")
    try:
        files = sorted(folder.glob("*.md"))
        texts = {file.stem: file.read_text(encoding="utf-8").replace("\r\n", "\n") for file in files}
        for name, text in texts.items():
            prompts.load_text(name, text)
    except (prompts.PromptError, OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"llm.prompts: {error}") from None
    return texts


def ground_of(settings: CampaignSettings, before: Ground | None = None) -> Ground:
    """What the settings refer to, with the libraries and the recipe of the ground `before` them if there is
    one: a recipe's file that was edited since would make other results. Raises `SettingsError` or
    `WorkspaceError` with one sentence.
    """
    training = settings.training
    try:
        info = dataset_info(training.dataset, data_dir_of(settings))
        recipe = before.recipe if before is not None else _recipe(settings).model_dump(mode="json")
        _require_validation(info)
        return Ground(
            classes=info.classes,
            image=(info.channels, info.height, info.width),
            data=dataset_identity(training.dataset, data_dir_of(settings)),
            recipe=recipe,
            libraries=before.libraries if before is not None else {},
            prompts={name: text_digest(text) for name, text in own_prompts(settings).items()},
            library_heads=before.library_heads if before is not None else {},
        )
    except TrainingError as error:
        raise SettingsError(str(error)) from None


def _require_validation(info: DatasetInfo) -> None:
    """The search looks at validation accuracy alone, so there must be one. Raises `SettingsError`."""
    if info.validation == 0:
        instead = info.name.removesuffix("-full")
        hint = f"search on {instead!r}" if instead != info.name else "add a validation folder beside train"
        raise SettingsError(
            f"training.dataset = {info.name!r} has no validation part, and a search chooses by validation "
            f"accuracy: {hint}; `nader retrain` takes {info.name!r} for final figures"
        )


def require_data(settings: CampaignSettings, ground: Ground) -> None:
    """That the data a campaign began with are still what lies there. Raises `WorkspaceError`."""
    name, folder = settings.training.dataset, data_dir_of(settings)
    status = data_status(name, folder)
    if not status.ready:
        raise WorkspaceError(status.message)
    try:
        require_same(name, folder, ground.data)
    except TrainingError as error:
        raise WorkspaceError(str(error)) from None


def base_text(name: str) -> str:
    """The text of the design that a campaign starts from. Raises `SettingsError` saying what is wrong with
    it.
    """
    try:
        if name in BASE_DESIGNS:
            return base_design(name).to_text()
        if name.startswith(NAS_BENCH):
            return nas_bench_201_design(name.removeprefix(NAS_BENCH)).to_text()
        path = Path(name)
        if not path.is_file():
            raise SettingsError(
                f"search.base = {name!r} is neither a base block ({', '.join(BASE_DESIGNS)}), nor a file, "
                f"nor {NAS_BENCH}ARCH"
            )
        return Design.from_text(path.read_text(encoding="utf-8")).to_text()
    except BlockError as error:
        first, *others = error.problems
        line = f"line {first.line}: " if first.line else ""
        more = f" (and {len(others)} more; `nader check {name}` shows them all)" if others else ""
        raise SettingsError(f"the base design {name} does not verify: {line}{first.message}{more}") from None
    except GraphError as error:
        raise SettingsError(f"the base design {name} does not verify: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the base design {name} cannot be read: {error}") from None


def with_libraries(ground: Ground, heads: Mapping[str, Head]) -> Ground:
    """The ground with libraries as they stand."""
    libraries = {**ground.libraries, **{name: head.position for name, head in heads.items()}}
    hashes = {**ground.library_heads, **{name: head.hash for name, head in heads.items()}}
    return ground.model_copy(update={"libraries": libraries, "library_heads": hashes})


def library_heads(settings: CampaignSettings, log: Reader | None) -> dict[str, Head]:
    """Where each library that the settings name stands. Raises `WorkspaceError` for one that is not there."""
    heads = {}
    known = {b.name for b in log.branches()} if log is not None else set()
    for library in settings.search.library:
        name = library if library.startswith(LIBRARY) else LIBRARY + library
        if name not in known:
            held = (
                ", ".join(sorted(n.removeprefix(LIBRARY) for n in known if n.startswith(LIBRARY))) or "none"
            )
            raise WorkspaceError(
                f"there is no library {library!r} in this workspace (it holds: {held}); "
                "`nader read` makes one"
            )
        assert log is not None
        heads[name] = log.head(name)
    return heads


def preflight(settings: CampaignSettings, workspace: Workspace, text: str, ground: Ground) -> None:
    """Everything that would end a campaign in its first minutes, said before it starts."""
    workspace.create()
    check_start(settings, text, ground)


def check_start(settings: CampaignSettings, text: str, ground: Ground) -> None:
    """That data, machine and base design are as the settings want them; changes nothing.

    Raises `SettingsError` or `WorkspaceError` with one sentence.
    """
    status = data_status(settings.training.dataset, data_dir_of(settings))
    if not status.ready:
        raise WorkspaceError(status.message)
    check_settings(settings)
    try:
        from actors.network import limits_of

        skeleton = get_skeleton(settings.training.skeleton).for_image(*ground.image)
        verdict = verify_design(Design.from_text(text), skeleton)
        if not verdict.ok:
            raise SettingsError(f"the base design {settings.search.base} does not verify: {verdict.report()}")
        search_width(Design.from_text(text), skeleton, ground.classes, limits_of(settings, skeleton))
    except NetworkError as error:
        raise SettingsError(str(error)) from None


def check_settings(settings: CampaignSettings) -> None:
    """What the settings ask of this machine, at a start and at every change. Raises `SettingsError`."""
    for extra, wanted in (
        ("ray", settings.training.backend == "ray"),
        ("tensorboard", settings.training.tensorboard),
    ):
        if wanted and importlib.util.find_spec(extra) is None:
            raise SettingsError(
                f"the settings ask for {extra}, which is not installed: pip install 'nader[{extra}]'"
            )
    if settings.training.address and settings.training.backend != "ray":
        raise SettingsError(
            f"training.address = {settings.training.address!r} names a Ray cluster, and trainings run here: "
            "set training.backend = 'ray' too (`nader run --backend ray`), or leave it out"
        )
    device = settings.training.device
    if device.startswith("cuda") and settings.training.backend == "local" and not _has_gpu(device):
        raise SettingsError(
            f"training.device = {device!r}, and torch finds no such GPU here; `nader doctor` says why"
        )
    check_models(settings)
    try:
        parse_objective(settings.search.objective)
    except ObjectiveError as error:
        raise SettingsError(f"search.objective: {error}") from None


def check_models(settings: CampaignSettings) -> None:
    """What the settings ask of language models, as far as it is known here. Raises `SettingsError`."""
    _require_prices(settings)
    llm = settings.llm
    for key, wanted in (("llm.backend", llm.backend), ("llm.embedder", llm.embedder)):
        if wanted == "openai" and not _reachable(settings):
            raise SettingsError(
                f"{key} = 'openai' needs a key in ${llm.api_key_env}, "
                "or an endpoint in llm.base_url or $OPENAI_BASE_URL"
            )


def _has_gpu(device: str) -> bool:
    return int(device.partition(":")[2] or 0) < usable_gpus()


def _reachable(settings: CampaignSettings) -> bool:
    """Whether there is a key or an endpoint for a language model."""
    llm = settings.llm
    return bool(llm.base_url or os.environ.get("OPENAI_BASE_URL") or os.environ.get(llm.api_key_env))


def _require_prices(settings: CampaignSettings) -> None:
    """A cap on money needs the price of every model that may be asked."""
    llm, budget = settings.llm, settings.budget
    if not (budget.money or budget.money_per_agent):
        return
    chat = [llm.model, *llm.models.values()] if llm.backend == "openai" else []
    embedding = [llm.embedding_model] if llm.embedder == "openai" else []
    known = Prices.with_own({m: Price(input=p[0], output=p[1]) for m, p in llm.prices.items()})
    for model in dict.fromkeys([*chat, *embedding]):
        if known.of(model) is None:
            raise SettingsError(
                f"budget.money caps what {model} may cost, and its price is not known; "
                f'give it as llm.prices = {{ "{model}" = [dollars per million tokens in, out] }}'
            )


def text_digest(text: str) -> str:
    """The blob digest of a text."""
    return sha256_hex(text.encode("utf-8"))


def text_blobs(texts: Iterable[str]) -> dict[str, bytes]:
    """Texts as blobs, to be stored with the event that names them."""
    return {text_digest(text): text.encode("utf-8") for text in texts}


def _recipe(settings: CampaignSettings) -> Recipe:
    training = settings.training
    recipe = (
        load_recipe(Path(training.recipe))
        if training.recipe.endswith(".toml")
        else get_recipe(training.recipe)
    )
    if training.epochs is not None and training.epochs != recipe.epochs:
        recipe = recipe.model_copy(
            update={
                "epochs": training.epochs,
                "name": f"{recipe.name}-{training.epochs}-epochs",
                "deviates_from": recipe.deviates_from or recipe.name,
            }
        )
    return recipe
