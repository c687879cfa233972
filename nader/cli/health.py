"""What `nader doctor` finds out about the installation: packages, SQLite, data sets, the model, the
workspace."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nader import __version__
from nader.cli.finding import Finding, Standing, note, ok, problem
from nader.cli.output import clean, size
from nader.embedder import embedder_said
from nader.errors import NaderError
from nader.ground import base_text, check_start, designer_of, ground_of, resolve_backend
from nader.settings import CampaignSettings

PACKAGES = ("nader", "actors", "events", "store", "prompts")
"""Our top-level import packages: four of them have names that another distribution might use too."""
_SHOWN = ("torch", "torchvision", "numpy", "pydantic", "openai", "networkx", "typer", "rich")
_EXTRAS = {"onnx": "onnx", "ray": "ray", "tensorboard": "tensorboard"}
_OLDEST_SQLITE = (3, 37, 0)
"""The first SQLite with STRICT tables."""
_ROOM = 1 << 30
"""Bytes of free disk below which a campaign may run out."""


def versions() -> Iterator[Finding]:
    """Python, this package and what it stands on."""
    yield ok("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield ok("nader", __version__)
    found, missing = [], []
    for name in _SHOWN:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    yield ok("packages", ", ".join(found))
    if missing:
        yield problem("packages", f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    absent = [extra for extra, module in _EXTRAS.items() if importlib.util.find_spec(module) is None]
    if absent:
        yield note(
            "extras",
            f"not installed: {', '.join(absent)}",
            f"pip install 'nader[{','.join(absent)}]' if wanted",
        )


def judge_shadowing(
    owners: Mapping[str, Sequence[str]], places: Mapping[str, str | None], home: Path
) -> Iterator[Finding]:
    """Whether our import packages are ours.

    Args:
        owners: import package → names of the distributions that install it.
        places: import package → folder that Python imports it from.
        home: the folder our packages lie in.
    """
    clashes = 0
    for name in PACKAGES:
        others = sorted(set(owners.get(name, ())) - {"nader"})
        place = places.get(name)
        if place is not None and Path(place).parent != home:
            clashes += 1
            yield problem(
                "import names",
                f"`import {name}` finds {place}, not ours in {home}",
                "start nader from another folder, or install it into an environment of its own",
            )
        elif others:
            clashes += 1
            yield problem(
                "import names",
                f"the distribution {others[0]} installs a package {name!r} too: their files are mixed",
                "install nader into an environment of its own",
            )
    if not clashes:
        yield ok("import names", f"{', '.join(PACKAGES)} are ours")


def shadowing() -> Iterator[Finding]:
    """Whether another distribution, or a folder in the way, shadows one of our packages."""
    places: dict[str, str | None] = {}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        folders = list(spec.submodule_search_locations or ()) if spec else []
        places[name] = folders[0] if folders else None
    home = Path(__file__).resolve().parent.parent.parent
    places = {name: str(Path(place).resolve()) if place else place for name, place in places.items()}
    yield from judge_shadowing(importlib.metadata.packages_distributions(), places, home)


def judge_sqlite(version: str) -> Finding:
    """Whether SQLite can hold the log."""
    if tuple(int(part) for part in version.split(".")) >= _OLDEST_SQLITE:
        return ok("sqlite", version)
    oldest = ".".join(map(str, _OLDEST_SQLITE))
    return problem("sqlite", f"{version} is older than {oldest}", "use a Python that brings a newer SQLite")


def vectors() -> Finding:
    """Whether sqlite-vec loads, in the SQLite that apsw brings."""
    try:
        import apsw
        import sqlite_vec

        connection = apsw.Connection(":memory:")
        connection.enable_load_extension(True)
        connection.load_extension(sqlite_vec.loadable_path())
        version = next(iter(connection.execute("select vec_version()")))[0]
        connection.close()
    except Exception as error:
        return problem(
            "sqlite-vec", f"does not load: {clean(error)}", "pip install --force-reinstall apsw sqlite-vec"
        )
    return ok("sqlite-vec", f"{version} in apsw's SQLite {apsw.sqlite_lib_version()}")


def settings_work(settings: CampaignSettings) -> Iterator[Finding]:
    """Whether a campaign by these settings would start, as `nader run` itself checks it."""
    try:
        resolved = resolve_backend(settings)
        ground = ground_of(resolved)
        check_start(resolved, base_text(resolved.search.base), ground)
    except NaderError as error:
        yield problem("settings", str(error), "change the settings, or mend what they name")
    else:
        training = resolved.training
        yield ok(
            "settings",
            f"{training.dataset} by the recipe {ground.recipe['name']}, from {resolved.search.base}",
        )
        yield ok("designer", f"`nader run` would use {_designer(resolved)}")


def _designer(settings: CampaignSettings) -> str:
    named = {
        "rule-based": "the built-in rule-based designer",
        "inbox": "the inbox: a person answers",
        "openai": f"a language model ({clean(designer_of(settings))}); `nader doctor --llm` asks it",
    }
    return named[settings.llm.backend]


def data_sets(folder: str | None) -> Iterator[Finding]:
    """Which data sets can be used."""
    from nader.training import DATASETS, data_status

    states = [data_status(name, folder or None) for name in DATASETS if not name.endswith("-full")]
    ready, absent = ([state for state in states if state.ready is wanted] for wanted in (True, False))
    if ready:
        yield ok("data", f"ready: {', '.join(state.name for state in ready)}")
    for state in absent:
        if state.name == "digits":
            yield problem("data", state.message, "pip install --force-reinstall scikit-learn")
    if names := ", ".join(state.name for state in absent if state.name != "digits"):
        yield note(
            "data",
            f"not here: {names}",
            "`nader data status` says where they were looked for and how to get them",
        )


def model(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether there is an endpoint and a key, never which."""
    has_key = bool(environment.get("OPENAI_API_KEY", "").strip())
    url = environment.get("OPENAI_BASE_URL", "").strip()
    if url:
        from nader.llm.secrets import shown_url

        yield ok("endpoint", clean(shown_url(url)))
    yield (
        ok("key", "OPENAI_API_KEY is set")
        if has_key
        else note(
            "key",
            "OPENAI_API_KEY is not set",
            "" if url else "set it, or OPENAI_BASE_URL, to design with a language model",
        )
    )


async def endpoint(settings: CampaignSettings) -> list[Finding]:
    """What the endpoint of the language model says of itself; a short question is asked."""
    from nader.assembly import chat_models, connection_of, embedder_of
    from nader.llm import OpenAIChat, OpenAIEmbedder
    from nader.llm.check import check_endpoint

    llm = settings.llm
    connection = connection_of(settings)
    backend = OpenAIChat(connection, api=llm.api, structured=llm.structured)
    embedder = embedder_of(settings)
    try:
        checks = await check_endpoint(
            connection,
            backend,
            chat_models(settings),
            embedder if isinstance(embedder, OpenAIEmbedder) else None,
        )
    finally:
        await connection.aclose()
    standings = {True: Standing.OK, None: Standing.NOTE, False: Standing.PROBLEM}
    return [
        Finding(f"llm: {check.name}", standings[check.ok], check.detail, check.advice) for check in checks
    ]


def workspace(folder: Path) -> Iterator[Finding]:
    """Whether the workspace can be written, has room, and who writes its log."""
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        yield problem("workspace", f"{place} may not be written", "choose another folder with --workspace")
    else:
        yield ok(
            "workspace", f"{folder}{'' if folder.exists() else ' (not there yet; `nader run` makes it)'}"
        )
    free = shutil.disk_usage(place).free
    if free < _ROOM:
        yield problem(
            "disk",
            f"only {size(free)} free at {place}",
            "make room, or choose another folder with --workspace",
        )
    else:
        yield ok("disk", f"{size(free)} free")
    yield from _log(folder / "nader.db")


def _log(path: Path) -> Iterator[Finding]:
    from store.errors import StoreError
    from store.lock import lock_holder
    from store.reader import Reader

    if not path.exists():
        return
    try:
        with Reader(path) as reader:
            runs = len(reader.branches())
    except StoreError as error:
        yield problem("log", str(error), "keep a copy of the file before anything else")
        return
    holder = lock_holder(path)
    yield ok("log", f"{runs} runs, {size(path.stat().st_size)}{f'; written by {holder}' if holder else ''}")


def terminal() -> Finding:
    """Whether the terminal shows what is printed."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    if encoding == "utf8":
        return ok("terminal", "UTF-8")
    return note("terminal", f"encoding {encoding or 'unknown'}", "set PYTHONUTF8=1 to see every character")


def look(folder: Path, settings: CampaignSettings) -> Iterator[Finding]:
    """The findings about this installation, for a campaign by these settings."""
    yield from versions()
    yield from shadowing()
    yield judge_sqlite(sqlite3.sqlite_version)
    yield vectors()
    yield from data_sets(settings.training.data_dir)
    yield from model(os.environ)
    yield from settings_work(settings)
    yield ok("embedder", embedder_said(settings))
    yield from workspace(folder)
    yield terminal()
