"""Brings the design experience of earlier campaigns into a new one."""

from events import Envelope
from events.reflection import ExperienceRecorded
from nader.errors import SettingsError
from nader.settings import CampaignSettings
from nader.workspace import find_run
from store import Reader


def imported(log: Reader, settings: CampaignSettings) -> list[ExperienceRecorded]:
    """The experiences of the runs that the settings name, marked with their origin; the newest of each.

    Raises `SettingsError` where their vectors are another embedder's: two kinds are never mixed in one index.
    """
    llm = settings.llm
    mine = (llm.embedder_name, llm.embedding_dimension)
    found: dict[str, Envelope] = {}
    for run in settings.search.experience_from:
        for envelope in log.read(find_run(log, run).name, types=(ExperienceRecorded.__name__,)):
            found[f"{run}/{envelope.data()['experience']}"] = envelope
    events = []
    for identity, envelope in found.items():
        event = envelope.event
        assert isinstance(event, ExperienceRecorded)
        if (event.embedder, event.dimension) != mine:
            raise SettingsError(
                f"the experience of {identity.split('/', 1)[0]} has vectors of {event.embedder} "
                f"({event.dimension} numbers), and this campaign's are of {mine[0]} ({mine[1]}); "
                "set llm.embedder to match"
            )
        if not event.origin:
            run = identity.split("/", 1)[0]
            events.append(event.model_copy(update={"experience": identity, "origin": run, "round": 0}))
    return events
