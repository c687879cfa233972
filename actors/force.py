"""Which settings a handling works under: those in force when it begins.

A handling has begun with the first event of its own; one that emits nothing, with its acknowledgement. So it
can be told from the log alone, live and in a replay, whether it had begun when the settings were changed:
they change only between two processes, at a resume or a fork, where every handling has either left an event
behind or begins anew. What had begun ends as it began, because its record must be met again; what had not,
follows the change, so that a fork at a proposal has it designed under the fork's own settings.
"""

from actors.actor import Agent
from actors.context import Port
from actors.history import History
from events import Envelope


def in_force(port: Port, agent: Agent, cause: Envelope, view: int) -> int:
    """The position as of which a handling's settings, ground and prompts are read: its view, or that of the
    last change after it which stood when the handling began.
    """
    changes = port.views.status.changes_for_pending(view)
    if not changes:
        return view
    begun = _begun(port.history, agent, cause, changes[0])
    return max((change for change in changes if begun is None or change < begun), default=view)


def _begun(history: History, agent: Agent, cause: Envelope, change: int) -> int | None:
    """A position behind every change that stood when a handling began, and before all others; None where it
    has not begun. Exact only as far as it matters: whether it is behind `change`, and how far.
    """
    own = history.emitted(agent.name, cause.position)
    if own:
        return own[0].position
    done = history.acks.get((agent.name, cause.position))
    begun = None if done is None else done + 1
    if agent.serial and (begun is None or begun > change):
        # One that handles one at a time had done so before it went on, whatever became of the
        # acknowledgement: if it was lost, it was made anew long after.
        later = history.emitted_later(agent.name, cause.position)
        if later is not None and (begun is None or later.position < begun):
            return later.position
    return begun
