"""The vectors of what a campaign takes in: they are those of its own embedder, or it does not begin.

Vectors of two embedders are never compared, so what has others would be held and never found.
"""

from collections.abc import Iterable, Mapping

from events import Envelope
from events.campaign import Ground
from events.reading import KnowledgeIndexed
from nader.errors import SettingsError
from nader.settings import CampaignSettings
from nader.workspace import LIBRARY, attached_events
from store import Reader

_INDEXED = (KnowledgeIndexed.__name__,)


def require_space(embedder: str, dimension: int, settings: CampaignSettings, whose: str) -> None:
    """That vectors are of the settings' embedder. Raises `SettingsError`, with the settings that would
    match.
    """
    llm = settings.llm
    if (embedder, dimension) == (llm.embedder_name, llm.embedding_dimension):
        return
    if embedder == llm.embedder_name:
        match = f"llm.embedding_dimension = {dimension}"
    elif embedder == "hashed":
        match = f'llm.embedder = "hashed" and llm.embedding_dimension = {dimension}'
    else:
        match = (
            f'llm.embedder = "openai", llm.embedding_model = "{embedder}" and '
            f"llm.embedding_dimension = {dimension}"
        )
    raise SettingsError(
        f"{whose} has vectors of {embedder} ({dimension} numbers), and this campaign's are of "
        f"{llm.embedder_name} ({llm.embedding_dimension}); set {match} to match"
    )


def require_libraries(log: Reader, libraries: Mapping[str, int], settings: CampaignSettings) -> None:
    """That libraries, each up to its position, have the vectors of the campaign that takes them in.

    Raises `SettingsError`.
    """
    if settings.search.reader != "on":
        return  # then none is taken in
    for name, at in sorted(libraries.items()):
        _require(log.read(name, upto=at, types=_INDEXED), settings, name)


def require_libraries_still(
    log: Reader, branch: str, ground: Ground, before: CampaignSettings, after: CampaignSettings
) -> None:
    """At a change of the embedder: that the libraries which a run names, and may not have taken in yet, have
    the vectors that it is to have. Raises `SettingsError`.
    """
    if after.search.reader != "on" or _space(before) == _space(after):
        return
    for name, at in sorted(ground.libraries.items()):
        _require(attached_events(log, branch, name, at, _INDEXED), after, name)


def _require(indexed: Iterable[Envelope], settings: CampaignSettings, name: str) -> None:
    for envelope in indexed:
        event = envelope.event
        if isinstance(event, KnowledgeIndexed) and event.count:
            whose = f"the library {name.removeprefix(LIBRARY)!r}"
            require_space(event.embedder, event.dimension, settings, whose)


def _space(settings: CampaignSettings) -> tuple[str, int]:
    return settings.llm.embedder_name, settings.llm.embedding_dimension
