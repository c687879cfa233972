"""Brings the design experience of earlier campaigns into a new one."""

from events.reflection import ExperienceRecorded
from nader.errors import SettingsError
from nader.settings import CampaignSettings
from nader.workspace import find_run
from store import Reader


def imported(log: Reader, settings: CampaignSettings) -> list[ExperienceRecorded]:
    """The experiences of the runs that the settings name, marked with their origin; the newest of each.

    What such a run had itself brought along comes too, under the run that made it. Raises `SettingsError`
    where their vectors are another embedder's: two kinds are never mixed in one index.
    """
    own: dict[str, ExperienceRecorded] = {}
    passed_on: dict[str, ExperienceRecorded] = {}
    for run in settings.search.experience_from:
        for envelope in log.read(find_run(log, run).name, types=(ExperienceRecorded.__name__,)):
            event = envelope.event
            assert isinstance(event, ExperienceRecorded)
            _require_same_space(event, run, settings)
            if event.origin:
                passed_on[event.experience] = event
            else:
                identity = f"{run}/{event.experience}"
                own[identity] = event.model_copy(update={"experience": identity, "origin": run, "round": 0})
    # The run that made an experience may have superseded it since another one took it along.
    return [*(event for identity, event in passed_on.items() if identity not in own), *own.values()]


def _require_same_space(event: ExperienceRecorded, run: str, settings: CampaignSettings) -> None:
    llm = settings.llm
    if (event.embedder, event.dimension) == (llm.embedder_name, llm.embedding_dimension):
        return
    if event.embedder == llm.embedder_name:
        match = f"llm.embedding_dimension = {event.dimension}"
    elif event.embedder == "hashed":
        match = f'llm.embedder = "hashed" and llm.embedding_dimension = {event.dimension}'
    else:
        match = (
            f'llm.embedder = "openai", llm.embedding_model = "{event.embedder}" and '
            f"llm.embedding_dimension = {event.dimension}"
        )
    raise SettingsError(
        f"the experience of {run} has vectors of {event.embedder} ({event.dimension} numbers), and this "
        f"campaign's are of {llm.embedder_name} ({llm.embedding_dimension}); set {match} to match"
    )
