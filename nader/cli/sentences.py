"""What an event says, in one line for a person."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from events import Envelope, EventError
from nader.cli.output import count, duration, money, number_of, percent, short

_LINE = 160


def sentence(envelope: Envelope) -> str:
    """One line about an event, harmless to print; for one that does not read, why."""
    try:
        event = envelope.event
    except EventError as error:
        return f"cannot be read: {short(error, _LINE)}"
    say = _SENTENCES.get(envelope.type)
    return short(say(event), _LINE) if say else ""


def _settings(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in changes.items()) or "nothing"


def _figures(e: Any) -> str:
    return f"validation {percent(e.validation)}, test {percent(e.test)}"


def _cost(e: Any) -> str:
    return f"{count(e.input_tokens)} + {count(e.output_tokens)} tokens, {money(e.cost)}"


def _try(e: Any) -> str:
    which = f"try {e.attempt}" if e.attempt else "a try"
    return f"{which}: {e.error}: {e.message}{f'; next in {duration(e.wait)}' if e.wait else ''}"


def _gained(e: Any) -> str:
    """What came of a modification, of a lesson."""
    if e.gain is None:
        what = "failed" if e.outcome == "failed" else "came to no design"
        return f"{e.candidate}, made from {e.parent}, {what}"
    return f"{e.candidate} gained {e.gain:+.2f} points over {e.parent}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _or(text: str, other: str) -> str:
    return text or other


_SENTENCES: dict[str, Callable[[Any], str]] = {
    "CampaignStarted": lambda e: f"with {e.designer}, nader {e.nader_version}",
    "BaseDesigned": lambda e: (
        f"{e.source}: width {e.width}, {count(e.params)} parameters, {count(e.macs)} MACs"
    ),
    "RoundOpened": lambda e: f"round {e.round}, which may see results up to round {e.visible}",
    "RoundDesigned": lambda e: (
        f"round {e.round} on {e.parent}: {len(e.accepted)} to train, "
        f"{number_of(len(e.duplicates), 'duplicate')}, {len(e.abandoned)} abandoned"
    ),
    "RoundClosed": lambda e: f"round {e.round}",
    "CampaignFinished": lambda e: f"{e.reason}, best {e.best or 'none'}{f': {e.detail}' if e.detail else ''}",
    "CampaignPaused": lambda e: e.reason,
    "CampaignResumed": lambda e: f"with nader {e.nader_version}",
    "SettingsChanged": lambda e: f"{_settings(e.changes)}, with {e.designer}",
    "Forked": lambda e: (
        f"from {e.parent} at {e.at}; open requests: {e.open_requests}{', answers reused' if e.reuse else ''}"
    ),
    "HandlerFailed": lambda e: f"{e.actor}, attempt {e.attempt}{', given up' if e.final else ''}: {e.error}",
    "ParentChosen": lambda e: f"round {e.round} works on {e.parent} ({e.strategy}): {e.reason}",
    "InspirationsRanked": lambda e: (
        f"round {e.round}: {len(e.retrieved)} retrieved, ranked by {e.by}: {', '.join(e.ranking[:5])}"
        f"{', …' if len(e.ranking) > 5 else ''}"
    ),
    "ProposalMade": lambda e: f"{e.candidate} from {e.parent}: {e.suggestion}",
    "DuplicateRecognised": lambda e: f"{e.candidate} is the same design as {e.original}",
    "DraftRejected": lambda e: f"{e.role}, round {e.round}, try {e.attempt}: {', '.join(e.codes)}",
    "DraftAccepted": lambda e: (
        f"{e.role}, round {e.round}, try {e.attempt}{f', read liberally: {e.notes[0]}' if e.notes else ''}"
    ),
    "DesignReady": lambda e: (
        f"width {e.width}, {count(e.params)} parameters, {count(e.macs)} MACs, "
        f"after {number_of(e.attempts, 'draft')}, "
        f"digest {e.digest[:12]}"
    ),
    "DesignAbandoned": lambda e: f"{e.category} after {number_of(e.attempts, 'draft')}: {e.reason}",
    "TrainingRequested": lambda e: (
        f"{e.dataset} with recipe {e.recipe.get('name', '?')}, width {e.width}, seed {e.seed}"
    ),
    "TrainingStarted": lambda e: (
        f"on {_or(e.slot, 'a slot')}{f', from epoch {e.first_epoch}' if e.first_epoch > 1 else ''}"
    ),
    "EpochFinished": lambda e: (
        f"epoch {e.epoch}/{e.epochs}, loss {e.loss:.4f}, training accuracy {percent(e.accuracy)}, "
        f"{duration(e.seconds)}"
    ),
    "TrainingCompleted": lambda e: (
        f"{_figures(e)}, {number_of(e.epochs, 'epoch')} in {duration(e.seconds)} on {e.device}"
    ),
    "ResultReused": lambda e: f"{_figures(e)}, adopted from {e.source}",
    "TrainingFailed": lambda e: f"{e.kind} after {number_of(e.epochs, 'epoch')}: {e.message}",
    "TrainingCancelled": lambda e: e.reason,
    "CandidateTrained": lambda e: f"{_figures(e)}, mean of {number_of(len(e.seeds), 'seed')}",
    "CandidateFailed": lambda e: f"{e.kind}: {e.message}",
    "RetrainingRecorded": lambda e: (
        f"{e.candidate} on {e.dataset} with {e.recipe}: test "
        f"{', '.join(percent(value) for value in e.test) or 'none'} over {number_of(len(e.seeds), 'seed')}"
        f"{f', {len(e.failures)} failed' if e.failures else ''}"
    ),
    "ReflectionRequested": lambda e: f"on {e.candidate}",
    "ExperienceRecorded": lambda e: f"{e.kind} ({e.category}, {e.role}): {e.tip}",
    "LessonRecorded": lambda e: f"{_gained(e)}: {e.text}",
    "CandidateClosed": lambda e: e.outcome,
    "ChatRequested": lambda e: (
        f"{e.agent} asks {_or(e.model, e.backend)}: {e.prompt} (version {e.prompt_version})"
    ),
    "ChatAttempted": lambda e: _try(e),
    "ChatCompleted": lambda e: (
        f"{_or(e.model, e.backend)} answered: {_cost(e)}, {duration(e.latency)}"
        f"{f', not accepted: {_list(e.adjustments)}' if e.adjustments else ''}"
        f"{f', taken from {e.reused}' if e.reused else ''}"
    ),
    "ChatFailed": lambda e: (
        f"{e.kind} after {e.attempts} {'try' if e.attempts == 1 else 'tries'}: {e.message}"
    ),
    "ChatCancelled": lambda e: e.reason,
    "EmbeddingRequested": lambda e: f"{number_of(e.count, 'text')} to {e.embedder}",
    "EmbeddingAttempted": lambda e: _try(e),
    "EmbeddingCompleted": lambda e: (
        f"{number_of(e.count, 'vector')} of {e.dimension} from {e.embedder}"
        f"{f', taken from {e.reused}' if e.reused else ''}"
    ),
    "EmbeddingFailed": lambda e: f"{e.kind}: {e.message}",
    "EmbeddingCancelled": lambda e: e.reason,
    "ReadingStarted": lambda e: f"{e.library} from {e.source}, at most {e.maximum} papers, with {e.designer}",
    "PaperFound": lambda e: f"{e.title} ({_or(str(e.year or ''), 'no year')}, {e.ref})",
    "PaperTextRequested": lambda e: e.paper[:12],
    "PaperTextRead": lambda e: f"{e.section!r}, pages {e.first_page} to {e.last_page} of {e.pages}",
    "PaperTextFailed": lambda e: f"{e.kind}: {e.message}",
    "PaperJudged": lambda e: f"{'relevant' if e.relevant else 'not relevant'}: {e.reason}",
    "InspirationsExtracted": lambda e: (
        f"{e.outcome}: {number_of(len(e.texts), 'idea')} from {_or(e.section, 'the abstract')!r}"
    ),
    "PaperFinished": lambda e: f"{e.outcome}, {number_of(e.inspirations, 'inspiration')}",
    "InspirationRecorded": lambda e: (
        f"{e.inspiration}: {e.text} ({e.title}{f', {e.year}' if e.year else ''})"
    ),
    "InspirationRepeated": lambda e: (
        f"{e.source or 'shipped'} {e.inspiration} says what {e.into_source or 'shipped'} {e.into} says "
        f"(similarity {e.similarity:.2f})"
    ),
    "InspirationMerged": lambda e: f"into {e.into} (similarity {e.similarity:.2f}): {e.text}",
    "KnowledgeIndexed": lambda e: f"{number_of(e.count, 'vector')} of {e.dimension} from {e.embedder}",
    "LibraryAttached": lambda e: f"{e.library} as of position {e.at}",
}


def described_types() -> set[str]:
    """The event types that have a sentence."""
    return set(_SENTENCES)
