"""Puts a campaign's actors together from its settings: which agents decide, and what stands behind each
effector.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from actors.actor import Actor, Agent
from actors.director import Director
from actors.gateway import Embedding, Gateway
from actors.librarian import Librarian
from actors.modifier import Modifier
from actors.outage import Outage
from actors.papers import PaperReader
from actors.proposer import Proposer
from actors.reader import Reader
from actors.reflector import Reflector
from actors.trainer import Result, Trainer, Training
from events.training import ResultReused, TrainingCompleted
from nader.errors import SettingsError
from nader.ground import data_dir_of
from nader.llm import (
    Budget,
    Caps,
    ChatBackend,
    Connection,
    Embedder,
    HashedNgrams,
    Inbox,
    Limiter,
    OpenAIChat,
    OpenAIEmbedder,
    Price,
    Prices,
    RetryPolicy,
    RuleBasedDesigner,
    Spent,
    unlisted_models,
)
from nader.settings import CampaignSettings, TrainingSettings
from nader.training import Backend, LocalBackend, Progress, Slot, TrainingError, make_slots, suggest_slots
from nader.workspace import Workspace
from store import Reader as LogReader
from store.projections import Views
from store.projections.ledger import Recorded, Totals


def agents(settings: CampaignSettings) -> list[Agent]:
    """The agents of a campaign: all that a replay needs."""
    return [Director(), Reader(), Proposer(), Modifier(settings.modifier.concurrency), Trainer(), Reflector()]


def readers() -> list[Agent]:
    """The agents that make a library."""
    return [PaperReader(), Librarian()]


@dataclass
class Assembly:
    """A campaign's actors, with the effectors that hold resources."""

    actors: list[Actor]
    gateway: Gateway
    embedding: Embedding
    training: Training

    async def close(self) -> None:
        """Give back connections and end the workers."""
        await self.training.end()
        await self.gateway.close()
        await self.embedding.close()


def assemble(
    settings: CampaignSettings,
    workspace: Workspace,
    log: LogReader,
    views: Views,
    *,
    recorded: Mapping[str, Recorded] | None = None,
    on_progress: Callable[[str, Progress], None] = lambda job, progress: None,
    backend: Backend | None = None,
) -> Assembly:
    """Everything that a running campaign needs; `backend` stands in for the settings' own."""
    gateway, embedding = gateway_of(settings, workspace, views, recorded=recorded)
    training = Training(
        backend or training_backend(settings),
        workspace.trainings,
        known_results(log),
        data_dir=data_dir_of(settings),
        device=settings.training.device,
        hopeless=settings.training.hopeless,
        on_progress=on_progress,
    )
    return Assembly([*agents(settings), gateway, embedding, training], gateway, embedding, training)


def gateway_of(
    settings: CampaignSettings,
    workspace: Workspace,
    views: Views,
    *,
    recorded: Mapping[str, Recorded] | None = None,
) -> tuple[Gateway, Embedding]:
    """The effectors that reach language models; they share their limits, and what earlier processes spent
    counts.
    """
    llm = settings.llm
    limiter = Limiter(llm.concurrency, llm.requests_per_minute or None, llm.tokens_per_minute or None)
    policy = RetryPolicy(attempts=llm.retries + 1, deadline_s=llm.deadline_s, first_wait_s=llm.backoff_s)
    budget = _budget(settings, views)
    outage = Outage(llm.outage_after)
    gateway = Gateway(
        _chat_backends(settings, workspace),
        limiter=limiter,
        budget=budget,
        policy=policy,
        prices=prices_of(settings),
        outage=outage,
        recorded=recorded,
        models=(lambda agent: model_of(settings, agent)) if llm.backend == "openai" else None,
        instead=llm.backend,
    )
    return gateway, Embedding(
        embedder_of(settings),
        llm.embedder_name,
        llm.embedding_dimension,
        limiter=limiter,
        budget=budget,
        policy=policy,
        prices=prices_of(settings),
        outage=outage,
        recorded=recorded,
    )


def prices_of(settings: CampaignSettings) -> Prices:
    """The built-in list of prices, the settings' own in front."""
    own = {model: Price(input=pair[0], output=pair[1]) for model, pair in settings.llm.prices.items()}
    return Prices.with_own(own)


async def require_models(settings: CampaignSettings) -> None:
    """That the endpoint lists the models that the settings name, looked up before anything begins.

    Raises `SettingsError` where it does not; an endpoint that is away, or lists no models, is left to the
    first question, and so are models that the settings have asked unlisted.
    """
    llm = settings.llm
    named = {model: f"llm.models.{agent}" for agent, model in llm.models.items()} | {llm.model: "llm.model"}
    wanted = named if llm.backend == "openai" else {}
    if llm.embedder == "openai":
        wanted = wanted | {llm.embedding_model: "llm.embedding_model"}
    if not wanted or llm.unlisted == "ask":
        return
    connection = connection_of(settings)
    try:
        missing = await unlisted_models(connection, wanted)
    finally:
        await connection.aclose()
    for model, reason in missing.items():
        raise SettingsError(
            f"{reason}; set {wanted[model]} to one of these, or llm.unlisted = 'ask' if it answers to that "
            "name all the same"
        )


def model_of(settings: CampaignSettings, agent: str) -> str:
    """The chat model that an agent asks."""
    return {str(name): model for name, model in settings.llm.models.items()}.get(agent, settings.llm.model)


def chat_models(settings: CampaignSettings) -> list[str]:
    """The chat models that the settings name, each once."""
    return list(dict.fromkeys([settings.llm.model, *settings.llm.models.values()]))


def embedder_of(settings: CampaignSettings) -> Embedder:
    """Local hashed n-grams, or the endpoint's embeddings."""
    llm = settings.llm
    if llm.embedder == "hashed":
        return HashedNgrams(llm.embedding_dimension)
    return OpenAIEmbedder(connection_of(settings), llm.embedding_model, dimension=llm.embedding_dimension)


def connection_of(settings: CampaignSettings) -> Connection:
    """The endpoint; its key comes from the environment alone."""
    return Connection.from_environment(settings.llm.base_url or None, api_key_env=settings.llm.api_key_env)


def training_backend(settings: CampaignSettings) -> Backend:
    """Where trainings run."""
    training = settings.training
    if training.backend == "ray":
        from nader.training.ray_backend import RayBackend

        return RayBackend(
            training.slots or None,
            address=training.address or None,
            cpus=training.threads,
            gpus=None if training.gpus_per_slot == 1 else training.gpus_per_slot,
            **watched(training),
        )
    return LocalBackend(slots_of(training), **watched(training))


def connected_backend(settings: CampaignSettings) -> Backend | None:
    """Where trainings run, if that is elsewhere and has to be reached; None for this machine.

    To be called before anything is recorded. Raises `SettingsError` where no cluster answers, or not with so
    many slots.
    """
    if settings.training.backend == "local":
        return None
    try:
        return training_backend(settings)
    except TrainingError as error:
        raise SettingsError(str(error)) from None


async def close_backend(backend: Backend | None) -> None:
    """Leave what `connected_backend` reached. May be called twice."""
    if backend is not None:
        await backend.close()


def watched(training: TrainingSettings) -> dict[str, Any]:
    """How every worker is watched, wherever it runs."""
    return {
        "memory_limit": int(training.memory_gb * 1e9),
        "heartbeat_timeout": training.heartbeat_s,
        "step_timeout": training.step_timeout_s,
        "threads": training.threads,
        "time_limit": training.time_limit_s or None,
        "tensorboard": training.tensorboard,
    }


def slots_of(training: TrainingSettings) -> tuple[Slot, ...]:
    """The slots that the settings ask for, else those that the machine suggests; spread over its GPUs."""
    found = [slot.device for slot in suggest_slots(int(1 / training.gpus_per_slot), training.threads)]
    devices = found if training.device == "auto" else [training.device]
    number = training.slots or (len(found) if training.device == "auto" else 1)
    return make_slots([devices[index % len(devices)] for index in range(number)])


def known_results(log: LogReader) -> dict[str, tuple[str, Result]]:
    """Every training result of any run in the log, by job; the earliest one counts."""
    known: dict[str, tuple[str, Result]] = {}
    for branch in log.branches():
        types = (TrainingCompleted.__name__, ResultReused.__name__)
        for envelope in log.read(branch.name, after=branch.fork_position, types=types):
            result = envelope.event
            if isinstance(result, TrainingCompleted):
                known.setdefault(result.job, (f"{branch.name}:{envelope.position}", result))
    return known


def _budget(settings: CampaignSettings, views: Views) -> Budget:
    budget = settings.budget
    total = views.ledger.totals()
    roles = {*budget.money_per_agent, *budget.tokens_per_agent, *budget.hours_per_agent}
    caps = {
        str(role): Caps(
            money=budget.money_per_agent.get(role) or None,
            tokens=budget.tokens_per_agent.get(role) or None,
            time=budget.hours_per_agent.get(role, 0.0) * 3600 or None,
        )
        for role in sorted(roles)
    }
    return Budget(
        Caps(money=budget.money or None, tokens=budget.tokens or None),
        caps,
        spent=_spent(total),
        spent_by_role={agent: _spent(row) for agent, row in views.ledger.by_agent().items()},
    )


def _spent(row: Totals) -> Spent:
    """What earlier processes spent; what a server may have charged without a word counts in full."""
    tokens = row.input_tokens + row.output_tokens + row.uncertain_tokens
    return Spent(row.cost + row.uncertain_cost, tokens, row.wait_seconds)


def _chat_backends(settings: CampaignSettings, workspace: Workspace) -> dict[str, ChatBackend]:
    llm = settings.llm
    backends: dict[str, ChatBackend] = {"rule-based": RuleBasedDesigner()}
    if llm.backend == "openai":
        backends["openai"] = OpenAIChat(connection_of(settings), api=llm.api, structured=llm.structured)
    if llm.backend == "inbox":
        from pathlib import Path

        backends["inbox"] = Inbox(Path(llm.inbox) if llm.inbox else workspace.inbox)
    return backends
