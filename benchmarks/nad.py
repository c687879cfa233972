"""The paper's NAD benchmark (§4.1): does a model carry out suggestions as valid, executable blocks?

    python -m benchmarks.nad                                  rule-based designer, no model, some minutes
    python -m benchmarks.nad --base convnext --each 3         a sample
    python -m benchmarks.nad --set llm.base_url=… --set llm.model=… --modes code graph lif lde

Modes are the rows of the paper's Table 3: `code` has the model write PyTorch (run in an isolated process),
`graph` the block language without feedback, `lif` adds repair with the verifier's report, `lde` also the
design experience of the suggestions before. E is the share of executable designs, Q the share of those that a
judge (the same model, prompt `judge_modification`) finds to follow the suggestion, SR = E x Q, and tokens are
those in and out per suggestion, the judge's left out. Every mode but `code` goes through the campaign's own
Modifier; an executable design is one that PyTorch ran forward and backward at every place of a network.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import prompts
from actors.modifier import Modifier
from actors.network import skeleton_of
from actors.reflector import Reflector
from actors.runtime import Runtime, external
from events.campaign import BaseDesigned, CampaignStarted
from events.development import DesignReady
from events.reflection import ReflectionRequested
from events.research import ProposalMade
from nader.assembly import gateway_of
from nader.baseline import try_code
from nader.graph import BASE_DESIGNS, Block, Design, Role, base_design, language_reference, print_block
from nader.ground import designer_of, ground_of, resolve_backend
from nader.llm import ChatBackend, ChatReply, ChatRequest, LLMError, OpenAIChat, RuleBasedDesigner
from nader.network import Skeleton, build_network
from nader.settings import CampaignSettings, changed, load_settings
from nader.workspace import Workspace, fold
from store import Log, sha256_hex

SUGGESTIONS = Path(__file__).with_name("nad_suggestions.toml")
MODES = {
    "graph": ("modifier.rounds=1", "modifier.tries=1", "modifier.experiences=0"),
    "lif": ("modifier.experiences=0",),
    "lde": (),
}
"""Settings of each mode that goes through the Modifier."""
BATCH = 5
"""Suggestions designed at once; at `lde`, what one batch taught is shown to the next."""


@dataclass(frozen=True)
class Sample:
    """One suggestion for one base block."""

    base: str
    level: str
    suggestion: str


@dataclass(frozen=True)
class Result:
    """What came of a sample in a mode."""

    sample: Sample
    executable: bool
    follows: bool
    tokens: int
    note: str = ""


def samples(bases: Sequence[str], each: int) -> list[Sample]:
    """The first `each` suggestions of each level for each base block."""
    table = tomllib.loads(SUGGESTIONS.read_text(encoding="utf-8"))
    return [
        Sample(base, level, text)
        for base in bases
        for level in ("micro", "macro")
        for text in table[base][level][:each]
    ]


async def by_modifier(chosen: list[Sample], settings: CampaignSettings, learn: bool) -> list[Result]:
    """Each base block's suggestions through the Modifier, on a log of its own."""
    results = []
    for base in dict.fromkeys(sample.base for sample in chosen):
        with tempfile.TemporaryDirectory(prefix="nader-nad-") as folder:
            own = [sample for sample in chosen if sample.base == base]
            results += await _one_base(Workspace(Path(folder)), base, own, settings, learn)
    return results


async def _one_base(
    workspace: Workspace, base: str, own: list[Sample], settings: CampaignSettings, learn: bool
) -> list[Result]:
    settings = changed(settings, [f"search.base={base}"])
    skeleton = skeleton_of(settings, ground_of(settings).image)
    log = await Log.open(workspace.log, create=True, synchronous="NORMAL")
    try:
        await _begin(log, base, settings)
        for number in range(0, len(own), BATCH):
            proposals = [
                external(
                    _proposal(sample, number // BATCH + 1, index), about=f"r{number // BATCH + 1}-{index}"
                )
                for index, sample in enumerate(own[number : number + BATCH], 1)
            ]
            await log.append("nad", proposals)
            await _work(log, workspace, settings)
            if learn:
                asked = [_reflection(p.correlation or "", number // BATCH + 1) for p in proposals]
                await log.append("nad", asked)
                await _work(log, workspace, settings)
        return await _judged(log, own, settings, skeleton)
    finally:
        await log.close()


async def _begin(log: Log, base: str, settings: CampaignSettings) -> None:
    """The first events of a log in which the base block stands."""
    design = base_design(base)
    text = design.to_text().encode("utf-8")
    await log.create_branch("nad", run="nad")
    started = CampaignStarted(
        settings=settings.model_dump(mode="json"),
        ground=ground_of(settings),
        designer=designer_of(settings),
        base=sha256_hex(text),
        base_source=base,
        nader_version="benchmark",
    )
    entered = BaseDesigned(
        candidate="base",
        design=sha256_hex(text),
        digest=design.digest,
        width=16,
        params=0,
        macs=0,
        source=base,
    )
    events = [external(started), external(entered, about="base")]
    await log.append("nad", events, blobs={sha256_hex(text): text})


def _proposal(sample: Sample, round: int, index: int) -> ProposalMade:
    return ProposalMade(
        candidate=f"r{round}-{index}",
        round=round,
        index=index,
        parent="base",
        inspiration=f"nad-{round}-{index}",
        suggestion=sample.suggestion,
        paper="",
        visible=round - 1,
    )


def _reflection(candidate: str, round: int):
    return external(ReflectionRequested(candidate=candidate, round=round), about=candidate)


async def _work(log: Log, workspace: Workspace, settings: CampaignSettings) -> None:
    """Modifier and Reflector, until nothing is asked of them any more."""
    views, history = fold(log, "nad")
    gateway, embedding = gateway_of(settings, workspace, views)
    asked = (ProposalMade.__name__, ReflectionRequested.__name__)

    def over() -> str | None:
        return None if any(e.type in asked for e in history.open_requests()) else "answered"

    actors = [Modifier(settings.modifier.concurrency), Reflector(), gateway, embedding]
    try:
        await Runtime(log, "nad", history, views, actors, over=over).run()
    finally:
        await gateway.close()


async def _judged(
    log: Log, own: list[Sample], settings: CampaignSettings, skeleton: Skeleton
) -> list[Result]:
    """Executability in PyTorch, the judge's verdict, and tokens, of every proposal in the log."""
    _, history = fold(log, "nad")
    tokens: dict[str, int] = {}
    for envelope in history.events:
        if envelope.type == "ChatCompleted":
            told, about = envelope.data(), envelope.correlation or ""
            tokens[about] = tokens.get(about, 0) + told["input_tokens"] + told["output_tokens"]
    judge, results = chat_backend(settings), []
    asked = [e for e in history.events if e.type == ProposalMade.__name__]
    try:
        for sample, envelope in zip(own, asked, strict=True):
            terminal = history.answer_to(envelope.position)
            used = tokens.get(envelope.correlation or "", 0)
            if terminal is None or not isinstance(terminal.event, DesignReady):
                category = terminal.event.category if terminal is not None else "open"  # type: ignore[attr-defined]
                results.append(Result(sample, False, False, used, category))
                continue
            design = Design.from_text(log.blob(terminal.event.design).decode("utf-8"))
            problem = runs(design, skeleton, terminal.event.width)
            follows = not problem and await _follows(judge, settings, sample, design.cell)
            results.append(Result(sample, not problem, follows, used, problem))
    finally:
        await judge.aclose()
    return results


def runs(design: Design, skeleton: Skeleton, width: int) -> str:
    """Empty, or why PyTorch does not run the network forward and backward."""
    import torch

    try:
        network = build_network(design, skeleton, width, 10)
        image = skeleton.image
        network(torch.randn(2, image.channels, image.height, image.width)).sum().backward()
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return ""


def chat_backend(settings: CampaignSettings) -> ChatBackend:
    """The model of the settings, or the rule-based designer."""
    if settings.llm.backend != "openai":
        return RuleBasedDesigner()
    from nader.assembly import connection_of

    return OpenAIChat(connection_of(settings), api=settings.llm.api, structured=settings.llm.structured)


async def _follows(judge: ChatBackend, settings: CampaignSettings, sample: Sample, cell: Block) -> bool:
    """Whether the judge finds the suggestion carried out; an answer of no use counts as no."""
    variables = {
        "language": language_reference(Role.CELL),
        "block": print_block(base_design(sample.base).cell),
        "suggestion": sample.suggestion,
        "modified": print_block(cell),
    }
    try:
        reply = await _ask(judge, settings, "judge_modification", variables)
        return bool(prompts.parse_answer("judge_modification", reply.text).follows)  # type: ignore[attr-defined]
    except (LLMError, prompts.AnswerError):
        return False


async def _ask(
    model: ChatBackend, settings: CampaignSettings, name: str, variables: dict[str, str]
) -> ChatReply:
    llm = settings.llm
    request = ChatRequest(
        prompt=name,
        messages=tuple(prompts.load(name).render(**variables)),
        model=llm.model,
        temperature=llm.temperature,
        max_tokens=llm.max_tokens,
        seed=settings.seed,
        role="modifier",
    )
    return await model.chat(request)


async def by_code(chosen: list[Sample], settings: CampaignSettings) -> list[Result]:
    """The baseline: the model writes PyTorch, which is tried in an isolated process and judged as text."""
    model, results = chat_backend(settings), []
    try:
        for sample in chosen:
            block = print_block(base_design(sample.base).cell)
            try:
                reply = await _ask(
                    model, settings, "direct_code", {"block": block, "inspiration": sample.suggestion}
                )
                code = prompts.parse_answer("direct_code", reply.text).text  # type: ignore[attr-defined]
            except (LLMError, prompts.AnswerError) as error:
                results.append(Result(sample, False, False, 0, str(error)[:200]))
                continue
            tokens = reply.input_tokens + reply.output_tokens
            verdict = await asyncio.to_thread(try_code, code)
            follows = False
            if verdict.executable:
                variables = {"language": "The modified block is PyTorch code.", "block": block}
                variables |= {"suggestion": sample.suggestion, "modified": code}
                try:
                    judged = await _ask(model, settings, "judge_modification", variables)
                    follows = prompts.parse_answer("judge_modification", judged.text).follows  # type: ignore[attr-defined]
                except (LLMError, prompts.AnswerError):
                    follows = False
            results.append(Result(sample, verdict.executable, follows, tokens, verdict.message))
    finally:
        await model.aclose()
    return results


def row(mode: str, level: str, results: Sequence[Result]) -> str:
    """One line of the table."""
    ready = [r for r in results if r.executable]
    share = len(ready) / len(results)
    quality = sum(r.follows for r in ready) / len(ready) if ready else 0.0
    tokens = sum(r.tokens for r in results) / len(results)
    figures = f"{share:>8.2f}{quality:>8.2f}{share * quality:>8.2f}{tokens:>10.0f}"
    return f"{mode:8}{level:8}{len(results):>8}{figures}"


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", nargs="+", default=list(BASE_DESIGNS), choices=BASE_DESIGNS)
    parser.add_argument("--each", type=int, default=10, help="suggestions of each level (default: all ten)")
    parser.add_argument("--modes", nargs="+", default=["graph", "lif", "lde"], choices=["code", *MODES])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    parser.add_argument("--failures", action="store_true", help="also say what failed")
    given = parser.parse_args()
    settings = resolve_backend(load_settings(sets=["training.skeleton=nas-bench-201", *given.set]))
    if "code" in given.modes and settings.llm.backend != "openai":
        parser.error(
            "the mode `code` needs a language model: --set llm.base_url=… or a key in the environment"
        )
    chosen = samples(given.base, given.each)
    print(f"designer: {designer_of(settings)}\n")
    print(f"{'mode':8}{'level':8}{'samples':>8}{'E':>8}{'Q':>8}{'SR':>8}{'tokens':>10}")
    for mode in given.modes:
        if mode == "code":
            results = asyncio.run(by_code(chosen, settings))
        else:
            results = asyncio.run(by_modifier(chosen, changed(settings, MODES[mode]), mode == "lde"))
        for level in ("micro", "macro"):
            print(row(mode, level, [r for r in results if r.sample.level == level]), flush=True)
        for result in (r for r in results if given.failures and not r.executable):
            print(f"  {result.sample.base}: {result.sample.suggestion} -> {result.note}")


if __name__ == "__main__":
    main()
