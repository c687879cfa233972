"""Brings the design experience of earlier campaigns into a new one."""

from events.reflection import ExperienceRecorded
from nader.settings import CampaignSettings
from nader.spaces import require_space
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
            require_space(event.embedder, event.dimension, settings, f"the experience of {run}")
            if event.origin:
                passed_on[event.experience] = event
            else:
                identity = f"{run}/{event.experience}"
                own[identity] = event.model_copy(update={"experience": identity, "origin": run, "round": 0})
    # The run that made an experience may have superseded it since another one took it along.
    return [*(event for identity, event in passed_on.items() if identity not in own), *own.values()]
