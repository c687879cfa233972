"""What a person changes of a run that has begun: which settings may change, and the event that says so."""

from collections.abc import Sequence

from actors.runtime import external
from events import Pending
from events.campaign import SettingsChanged
from events.llm import EmbeddingCompleted
from events.reading import KnowledgeIndexed, LibraryAttached
from events.reflection import ExperienceRecorded
from nader.effect import CHANGE, Command, require_effect
from nader.errors import SettingsError
from nader.ground import (
    check_settings,
    designer_of,
    ground_of,
    own_prompts,
    require_data,
    resolve_backend,
    text_blobs,
)
from nader.settings import CampaignSettings, asking, changed, differences, named_keys, validated
from nader.workspace import attached_events
from store import Log, Reader
from store.projections import Views

FIXED = (
    "search.base",
    "training.dataset",
    "training.skeleton",
    "training.recipe",
    "training.epochs",
    "training.seeds",
    "training.max_params",
    "training.max_macs",
)
"""Settings that a run keeps, and its forks with it: what its results are measured by."""
OF_THE_LOG = "synchronous"
"""A setting of the log, not of a run."""
SPACE = ("llm.embedder", "llm.embedding_model", "llm.embedding_dimension")
"""Settings that a run keeps once it holds a vector: vectors of two embedders are never compared."""


def settings_with(
    views: Views, sets: Sequence[str], log: Log, branch: str, command: Command = CHANGE
) -> tuple[CampaignSettings, list[Pending], dict[str, bytes]]:
    """The settings in force once `key=value` pairs are set, the event that says so (none where they change
    nothing), and its blobs. Raises `SettingsError`.
    """
    if not sets:
        return validated(views.status.settings(), where="the log's settings"), [], {}
    event, blobs = settings_changed(views, sets, log, branch, command=command)
    if event is None:
        return validated(views.status.settings(), where="the log's settings"), [], {}
    return validated(event.settings, where="the log's settings"), [external(event)], blobs


def settings_changed(
    views: Views,
    sets: Sequence[str],
    log: Log,
    branch: str,
    at: int | None = None,
    *,
    command: Command = CHANGE,
) -> tuple[SettingsChanged | None, dict[str, bytes]]:
    """The event that changes a run's settings by `key=value` pairs, and its blobs; None where all is so
    already. `at` is the last position of `branch` that counts. Raises `SettingsError`.
    """
    old = validated(views.status.settings(), where="the log's settings")
    sets = asking(sets, old.llm.backend)
    new = resolve_backend(changed(old, sets))
    require_effect(named_keys(sets), new, command, begun=validated(views.status.settings(upto=1)))
    differing = differences(old, new)
    for key in differing:
        if key in FIXED:
            raise SettingsError(
                f"{key} is fixed once a campaign has started, in its forks too, because its results would "
                "not compare; start a new run "
                f"(search.experience_from = ['{branch}'] takes along what was learnt)"
            )
        if key == OF_THE_LOG:
            raise SettingsError(f"{key} is fixed once a campaign has started; start a new run")
    if any(key in SPACE for key in differing):
        _require_space(log, branch, at, new)
    check_settings(new)
    require_data(new, views.status.ground())
    before = views.status.ground()
    ground = ground_of(new, before)
    if not differing and ground == before:
        return None, {}
    event = SettingsChanged(
        changes=differing,
        settings=new.model_dump(mode="json"),
        ground=ground,
        designer=designer_of(new),
    )
    return event, text_blobs(own_prompts(new).values())


def _require_space(log: Reader, branch: str, at: int | None, new: CampaignSettings) -> None:
    """That a run has no vectors yet, or those of the embedder that it is to have. Raises `SettingsError`."""
    wanted = new.llm.embedder_name, new.llm.embedding_dimension
    types = (EmbeddingCompleted.__name__, LibraryAttached.__name__, ExperienceRecorded.__name__)
    for envelope in log.read(branch, upto=at, types=types):
        event, where = envelope.event, "this run"
        held = event
        if isinstance(event, LibraryAttached):
            indexed = (KnowledgeIndexed.__name__,)
            index = next(attached_events(log, branch, event.library, event.at, indexed), None)
            held, where = (index.event if index is not None else event), f"this run's {event.library}"
        if isinstance(held, EmbeddingCompleted | KnowledgeIndexed | ExperienceRecorded):
            space = held.embedder, held.dimension
            if space != wanted:
                raise SettingsError(
                    f"{where} holds vectors of {space[0]} ({space[1]} numbers), which would not compare with "
                    f"those of {wanted[0]} ({wanted[1]}): the embedder is fixed from the first vector on; "
                    "start a new run"
                )
