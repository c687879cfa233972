"""`nader doctor`, `nader settings`, `nader data`: what is there, what is missing, what to do."""

import importlib
import shutil
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

import nader.training.slots as places
from nader.cli import health, machine
from nader.cli.finding import Standing
from nader.cli.machine import (
    Cores,
    Gpus,
    judge_cores,
    judge_gpus,
    judge_memory,
    judge_shared_memory,
    judge_slots,
)
from nader.settings import load_settings
from tests.cli.conftest import Nader

SEEN = (("H100", 80 << 30),)


@pytest.mark.parametrize(
    ("gpus", "standing", "said", "advice"),
    [
        (Gpus("2.4", "12.4", SEEN, "H100"), "ok", "1 GPU: H100 (80.0 GiB)", ""),
        (Gpus("2.4", "12.4", SEEN * 2, "H100"), "ok", "2 GPUs", ""),
        (Gpus("2.4", "", (), ""), "ok", "CPU (this machine shows no GPU)", ""),
        (Gpus("2.4", "", (), "", mps=True), "note", "trainings do not use the Apple GPU", ""),
        (
            Gpus("2.4+cpu", "", (), "/dev/nvidia0"),
            "problem",
            "torch 2.4+cpu is built for CPUs only",
            "install a torch",
        ),
        (
            Gpus("2.4", "12.4", (), "H100"),
            "problem",
            "torch (built for 12.4) does not see it",
            "update the driver",
        ),
        (Gpus("2.4", "12.4", (), "H100", visible=""), "problem", "CUDA_VISIBLE_DEVICES='' hides it", "unset"),
        (Gpus("2.4", "12.4", (), "H100", visible="-1"), "problem", "hides it", "unset"),
    ],
)
def test_a_gpu_that_torch_does_not_use_is_named_with_the_cause(
    gpus: Gpus, standing: str, said: str, advice: str
) -> None:
    finding = judge_gpus(gpus)
    assert (finding.standing, said in finding.what, advice in finding.advice) == (standing, True, True)


@pytest.mark.parametrize(
    ("cores", "standings"),
    [
        (Cores(8, 8.0, None, 0.5), ["ok"]),
        (Cores(8, 2.0, "8", 0.0), ["ok", "problem"]),
        (Cores(8, 2.0, "2", 0.0), ["ok"]),
        (Cores(2, 2.0, "all", 6.0), ["ok", "note"]),
        (Cores(64, 0.5, "1", 0.2), ["ok"]),
    ],
)
def test_threads_that_fight_for_cores_are_named(cores: Cores, standings: list[str]) -> None:
    assert [finding.standing for finding in judge_cores(cores)] == standings


@pytest.mark.parametrize(
    ("slots", "threads", "memory", "standing", "said"),
    [
        (2, 1, 4 << 30, "ok", "2 trainings at once, 1 thread each"),
        (16, 1, 4 << 30, "problem", "on 2 usable cores"),
        (1, 4, 4 << 30, "problem", "1 training at once, 4 threads each, on 2 usable cores"),
        (2, 1, 100 << 20, "problem", "with 100.0 MiB of memory each"),
    ],
)
def test_trainings_that_fit_neither_cores_nor_memory_are_named(
    slots: int, threads: int, memory: int, standing: str, said: str
) -> None:
    finding = judge_slots(["cpu"] * slots, threads, 2.0, memory)
    assert (finding.standing, said in finding.what) == (standing, True), finding
    assert judge_slots(["cuda:0"] * 16, 1, 2.0, 4 << 30).standing is Standing.OK


@pytest.mark.parametrize(
    ("area", "said", "change"),
    [
        ("settings", "There is no recipe 'nope'", "training.recipe=nope"),
        ("settings", "cifar100", "training.dataset=cifar100"),
        ("settings", "torch finds no such GPU here", "training.device=cuda:99"),
        ("settings", "names a Ray cluster, and trainings run here", "training.address=head:6379"),
        ("settings", "search.base = 'nope'", "search.base=nope"),
        ("slots", "400 trainings at once", "training.slots=400"),
    ],
)
def test_the_doctor_looks_at_what_the_settings_ask_for(
    nader: Nader, tmp_path: Path, area: str, said: str, change: str
) -> None:
    cpu = [] if "device" in change else ["--set", "training.device=cpu"]
    told = nader("doctor", "--json", "-w", tmp_path, "--data", tmp_path, "--set", change, *cpu)
    findings = [f for f in told.json["findings"] if f["area"] == area and f["standing"] == "problem"]
    assert told.status == 1 and len(findings) == 1 and said in findings[0]["what"], told.json["findings"]


def test_the_doctor_and_the_trainings_find_the_same_gpus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As under WSL2, where torch sees a GPU and the driver's folder is not there."""
    import torch

    properties = SimpleNamespace(name="H100", total_memory=80 << 30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    wsl = places.SIGNS
    monkeypatch.setattr(places, "SIGNS", (str(tmp_path / "dxg"),))
    assert (places.usable_gpus(), machine._gpus().seen) == (0, ())
    (tmp_path / "dxg").touch()
    assert places.usable_gpus() == 2 and machine._gpus().seen == (("H100", 80 << 30),) * 2
    assert [slot.device for slot in places.suggest_slots()] == ["cuda:0", "cuda:1"]
    assert "/dev/dxg" in wsl and "/dev/kfd" in wsl


def test_little_shared_memory_and_little_memory_are_named() -> None:
    assert judge_shared_memory(64 << 20).standing is Standing.NOTE
    assert judge_shared_memory(64 << 20, on_ray=True).standing is Standing.PROBLEM
    assert "--shm-size" in judge_shared_memory(64 << 20).advice
    assert judge_shared_memory(1 << 30).standing is Standing.OK
    assert judge_shared_memory(None).standing is Standing.OK
    assert judge_memory(1 << 30).standing is Standing.NOTE
    assert judge_memory(8 << 30).standing is Standing.OK


def test_another_distribution_or_folder_that_shadows_our_packages_is_named() -> None:
    home = Path("/site")
    fine = {name: f"/site/{name}" for name in health.PACKAGES}
    (good,) = health.judge_shadowing({"events": ["nader"]}, fine, home)
    assert good.standing is Standing.OK
    (mixed,) = health.judge_shadowing({"events": ["nader", "Events"]}, fine, home)
    assert (
        mixed.standing is Standing.PROBLEM
        and "the distribution Events installs a package 'events' too" in mixed.what
    )
    (hidden,) = health.judge_shadowing({}, fine | {"store": "/here/store"}, home)
    assert hidden.standing is Standing.PROBLEM and "finds /here/store" in hidden.what


def test_an_old_sqlite_is_named() -> None:
    assert health.judge_sqlite("3.36.0").standing is Standing.PROBLEM
    assert health.judge_sqlite("3.40.1").standing is Standing.OK


def test_the_key_is_told_to_be_there_and_never_shown(
    nader: Nader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:hidden@localhost:8000/v1?token=hidden")
    said = nader("doctor", "-w", tmp_path)
    told = nader("doctor", "--json", "-w", tmp_path)
    for out in (said.out, told.out):
        assert "secret" not in out and "hidden" not in out
    areas = {finding["area"]: finding for finding in told.json["findings"]}
    assert areas["key"]["what"] == "OPENAI_API_KEY is set"
    assert areas["endpoint"]["what"] == "http://localhost:8000/v1"
    assert set(areas["key"]) == {"area", "standing", "what", "advice"}


def test_the_doctor_looks_at_everything_and_counts_what_to_mend(nader: Nader, tmp_path: Path) -> None:
    said = nader("doctor", "--json", "-w", tmp_path / "new")
    areas = {finding["area"] for finding in said.json["findings"]}
    assert areas >= {
        "python", "nader", "packages", "import names", "sqlite", "sqlite-vec", "data", "key", "designer",
        "workspace", "disk", "device", "cores", "memory", "shared memory",
    }  # fmt: skip
    problems = [finding for finding in said.json["findings"] if finding["standing"] == "problem"]
    assert said.json["ok"] is (not problems) and said.status == (1 if problems else 0)
    assert all(finding["advice"] for finding in problems)
    assert not (tmp_path / "new").exists(), "looking changes nothing"


def test_the_doctor_and_a_start_in_the_papers_skeleton_name_the_embedder(
    nader: Nader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = nader("doctor", "--json", "-w", tmp_path, "--preset", "paper-nas-bench-201")
    embedder = next(finding["what"] for finding in said.json["findings"] if finding["area"] == "embedder")
    assert "local hashed n-grams, 1,024 numbers; the paper used text-embedding-ada-002" in embedder

    async def at_once(campaign: object, as_json: bool) -> int:
        return 0

    monkeypatch.setattr(importlib.import_module("nader.cli.run"), "run_campaign", at_once)
    told = nader("run", "-w", tmp_path, "--set", "training.skeleton=nas-bench-201")
    assert told.status == 0, told.err
    line = " ".join(told.out.split())
    assert "Texts are compared by local hashed n-grams, 1,024 numbers; the paper used text-embedding" in line
    assert "Texts are compared" not in nader("run", "-w", tmp_path).out


def test_a_damaged_log_is_named(nader: Nader, tmp_path: Path) -> None:
    (tmp_path / "nader.db").write_bytes(b"no database at all" * 100)
    findings = nader("doctor", "--json", "-w", tmp_path).json["findings"]
    log = next(finding for finding in findings if finding["area"] == "log")
    assert log["standing"] == "problem" and "damaged" in log["what"]


def test_an_endpoint_that_is_asked_and_not_there_is_a_problem(nader: Nader, tmp_path: Path) -> None:
    said = nader("doctor", "--llm", "--set", "llm.base_url=http://127.0.0.1:9/v1", "--json", "-w", tmp_path)
    reached = next(finding for finding in said.json["findings"] if finding["area"] == "llm: reachable")
    assert reached["standing"] == "problem" and reached["advice"]
    assert said.status == 1


def test_every_setting_is_listed_with_what_it_does_and_where_its_value_comes_from(nader: Nader) -> None:
    told = nader("settings", "--json").json
    assert {"search.width", "budget.money", "training.seeds"} <= {row["key"] for row in told}
    assert all(row["description"] for row in told)
    width = next(row for row in told if row["key"] == "search.width")
    assert set(width) == {"key", "type", "default", "value", "description"}


def test_settings_of_a_preset_show_what_it_changes(nader: Nader) -> None:
    out = nader("settings", "--preset", "paper-nas-bench-201", "search.lookahead").out
    assert "search.lookahead = 0" in out and "(default 1)" in out


def test_the_toml_that_is_printed_reads_back_to_the_same_settings(nader: Nader, tmp_path: Path) -> None:
    for preset in ("digits", "fashion-mnist", "paper-nas-bench-201"):
        out = nader("settings", "--preset", preset, "--toml").out
        tomllib.loads(out)
        (tmp_path / "mine.toml").write_text(out)
        assert load_settings(tmp_path / "mine.toml") == load_settings(preset=preset)


def test_data_sets_are_listed_with_what_to_do(nader: Nader, tmp_path: Path) -> None:
    told = nader("data", "status", "--json", "--data", tmp_path).json
    states = {row["name"]: row for row in told}
    assert set(states["cifar10"]) == {"name", "ready", "folder", "message", "info"}
    assert states["digits"]["ready"] and not states["cifar10"]["ready"]
    assert states["cifar10"]["info"]["classes"] == 10
    assert nader("data", "status", "digits").status == 0
    missing = nader("data", "status", "cifar10", "--data", tmp_path)
    assert missing.status == 1 and "nader data get cifar10" in missing.out


def test_a_data_set_is_checked_whole(nader: Nader) -> None:
    out = nader("data", "check", "digits").out
    assert "digits is whole: 1000 training, 397 validation and 400 test images, 10 classes" in out
