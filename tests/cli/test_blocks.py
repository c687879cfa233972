"""`nader check` and `nader draw`: blocks without a campaign, and without torch."""

import io
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from nader.cli.blockfiles import pieces, role_of
from nader.cli.check import ranges
from nader.graph import Role, canonical, digest, parse, print_block
from tests.cli.conftest import Nader
from tests.conftest import REPOSITORY
from tests.graph.test_canonical import ROOK, grid

BLOCKS = REPOSITORY / "nader" / "graph" / "blocks"
CELL = "##Plain##\n0:input\n1:output\n2:Conv2d(out_channels=C,kernel_size=3)\n3:BN\n0->2\n2->3\n3->1\n"
STEM = "##Plain_stem##\n0:input\n1:output\n2:Conv2d(out_channels=dim,kernel_size=3)\n0->2\n2->1\n"
HALF = (
    "##Plain_downsample##\n0:input\n1:output\n2:Conv2d(out_channels=dim,kernel_size=3,stride=2)\n0->2\n2->1\n"
)
WRONG = """some words
##Wrong##
0:input
1:output
2:Conv2d(out_channels=C,kernel_size=3)

3:Frobnicate(2)
0->2
2->1
0->3
"""


def file(folder: Path, text: str) -> Path:
    (folder / "block.txt").write_text(text)
    return folder / "block.txt"


def test_a_valid_block_leaves_with_0_and_its_digest(nader: Nader, tmp_path: Path) -> None:
    said = nader("check", file(tmp_path, CELL))
    assert said.status == 0 and "cell Plain is valid" in said.out


def test_the_digest_is_the_campaigns_in_which_dim_is_c_in_a_cell(nader: Nader, tmp_path: Path) -> None:
    told = [
        nader("check", "--json", file(tmp_path, text)).json["files"][0]["blocks"][0]["digest"]
        for text in (CELL, CELL.replace("=C", "=dim"))
    ]
    assert told == [digest(parse(CELL), Role.CELL)] * 2
    assert told[0][:12] in nader("check", file(tmp_path, CELL)).out


@pytest.mark.parametrize(
    ("text", "parameters"),
    [(CELL, 9 * 16 * 16 + 32), (STEM, 9 * 3 * 16), (STEM.replace("=3)", "=4,stride=4)"), 16 * 3 * 16)],
)
def test_without_a_skeleton_the_cost_of_the_block_alone_is_told(
    nader: Nader, tmp_path: Path, text: str, parameters: int
) -> None:
    rows = nader("check", "--json", file(tmp_path, text)).json["files"][0]["blocks"][0]["cost"]
    assert [row["width"] for row in rows] == [16, 32, 64, 128]
    assert rows[0]["parameters"] == parameters
    assert "cost on a 32×32 map by" in nader("check", file(tmp_path, text)).out


def test_a_block_too_symmetric_to_compare_is_its_own_problem_and_stops_nothing(
    nader: Nader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "grid.txt").write_text(print_block(grid(ROOK)))
    digest.cache_clear()
    monkeypatch.setattr(canonical, "MAX_WORK", 500)
    for words in ((), ("-s", "digits")):
        said = nader("check", *words, tmp_path / "grid.txt", file(tmp_path, CELL))
        assert said.status == 1
        assert "size limit: The block is too symmetric to be compared" in said.out
        assert "cell Plain is valid" in said.out


def test_a_problem_is_named_with_its_line_and_what_would_be_right(nader: Nader, tmp_path: Path) -> None:
    path = file(tmp_path, WRONG)
    said = nader("check", path)
    assert said.status == 1
    assert f"{path}:7: unknown operator: node 3:Frobnicate(2)" in said.out
    assert "fix: The operations are" in said.out
    assert "note: line 1: 'some words' was read as prose before the block" in said.out


def test_problems_as_json_have_codes_and_lines(nader: Nader, tmp_path: Path) -> None:
    told = nader("check", "--json", file(tmp_path, WRONG)).json
    assert set(told) == {"valid", "files"} and told["valid"] is False
    (one,) = told["files"]
    assert set(one) == {"file", "valid", "blocks", "network"}
    (block,) = one["blocks"]
    assert set(block) == {
        "name", "role", "valid", "other_scale", "widths", "digest", "cost", "problems", "notes"
    }  # fmt: skip
    assert (block["name"], block["role"], block["digest"]) == ("Wrong", "cell", None)
    problem = next(p for p in block["problems"] if p["code"] == "unknown operator")
    assert set(problem) == {"code", "message", "node", "operation", "shapes", "hint", "line"}
    assert (problem["node"], problem["line"]) == (3, 7)
    assert block["notes"][0] == {"line": 1, "written": "some words", "read_as": "prose before the block"}


def test_lines_count_from_the_top_of_the_file_in_every_block(nader: Nader, tmp_path: Path) -> None:
    text = CELL + "\n" + WRONG.removeprefix("some words\n")
    told = nader("check", "--json", file(tmp_path, text)).json
    lines = [p["line"] for block in told["files"][0]["blocks"] for p in block["problems"] if p["line"]]
    assert text.splitlines().index("3:Frobnicate(2)") + 1 in lines


def test_a_block_is_checked_in_the_role_its_name_tells_or_its_place_or_the_option(
    nader: Nader, tmp_path: Path
) -> None:
    def roles(text: str, *words: str) -> list[str]:
        told = nader("check", "--json", file(tmp_path, text), *words).json
        return [block["role"] for block in told["files"][0]["blocks"]]

    assert roles(CELL + STEM + HALF) == ["cell", "stem", "downsample"]
    unnamed = CELL + STEM.replace("Plain_stem", "B") + HALF.replace("Plain_downsample", "C")
    assert roles(unnamed) == ["cell", "stem", "downsample"]
    assert roles(HALF) == ["downsample"]
    assert roles(STEM.replace("Plain_stem", "B"), "--role", "stem") == ["stem"]
    assert role_of("Resnet_Stem_quarter") is Role.STEM and role_of("system") is None
    assert len(pieces("no header at all")) == 1


def test_in_a_skeleton_the_cost_at_every_width_is_told(nader: Nader, tmp_path: Path) -> None:
    path = file(tmp_path, CELL + STEM + HALF)
    told = nader("check", "--json", "-s", "digits", "--classes", "7", path).json["files"][0]["network"]
    assert told["skeleton"] == "digits" and told["classes"] == 7 and told["completed_with"] == ""
    assert [row["width"] for row in told["widths"]] == list(range(4, 65, 4))
    assert told["widths"][0].keys() == {"width", "parameters", "macs"}
    chosen = told["choice"]
    assert chosen["parameters"] <= 100_000 and chosen["macs"] <= 1_000_000
    larger = nader("check", "--json", "-s", "digits", "--max-params", 10**9, "--max-macs", 10**9, path).json
    assert larger["files"][0]["network"]["choice"]["width"] == 64
    none = nader("check", "-s", "digits", "--max-params", 10, path)
    assert none.status == 0 and "the design already costs" in none.out


def test_a_cell_alone_is_completed_with_the_base_designs_other_blocks(nader: Nader, tmp_path: Path) -> None:
    out = nader("check", "-s", "nas-bench-201", file(tmp_path, CELL)).out
    assert "with resnet-basic's stem and downsample block" in out and "largest within the limits" in out


def test_a_block_that_works_at_some_widths_only_says_which(nader: Nader, tmp_path: Path) -> None:
    text = CELL.replace("kernel_size=3)", "kernel_size=3,groups=12)")
    said = nader("check", "-s", "digits", file(tmp_path, text))
    assert said.status == 0
    assert (
        "is valid at widths 12 to 60 by 12 only" in said.out
        and "at 5 of the skeleton's 16 widths" in said.out
    )


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((), ""),
        ((4,), "4"),
        ((4, 8), "4, 8"),
        ((4, 8, 12, 13), "4 to 12 by 4, 13"),
        ((1, 2, 3, 5, 7), "1 to 3 by 1, 5, 7"),
    ],
)
def test_ranges_of_widths_are_short(numbers: tuple[int, ...], text: str) -> None:
    assert ranges(numbers) == text


@pytest.mark.parametrize("path", sorted(BLOCKS.glob("*.txt")), ids=lambda path: path.stem)
@pytest.mark.parametrize("skeleton", ["digits", "imagenet"])
def test_the_base_designs_are_valid_with_the_stem_that_fits(nader: Nader, path: Path, skeleton: str) -> None:
    said = nader("check", "-s", skeleton, path)
    assert said.status == 0
    assert said.out.count("is a stem of another scale") == 1


def test_standard_input_is_read(nader: Nader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(CELL))
    assert nader("check", "-").status == 0


def test_bytes_that_are_no_text_are_problems_and_no_crash(nader: Nader, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(range(256)) * 100)
    said = nader("check", tmp_path / "x")
    assert said.status == 1 and said.err == ""


def test_checking_needs_no_torch() -> None:
    code = "import sys; from nader.cli import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "check", "-s", "digits", str(BLOCKS / "convnext.txt")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "False"


def test_a_drawing_is_svg_with_every_operation(nader: Nader, tmp_path: Path) -> None:
    said = nader("draw", file(tmp_path, CELL), "-o", tmp_path / "x.svg")
    assert said.status == 0
    svg = (tmp_path / "x.svg").read_text()
    assert xml.fromstring(svg).tag.endswith("svg") and "Conv2d" in svg and "BN" in svg


def test_several_blocks_give_a_file_each_named_after_them(nader: Nader, tmp_path: Path) -> None:
    hostile = STEM.replace("Plain_stem", "../../etc/passwd")
    nader("draw", file(tmp_path, CELL + hostile), "-o", tmp_path / "out" / "x.svg")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"x-Plain.svg", "x-etc-passwd.svg"}
    assert "Conv2d" in nader("draw", tmp_path / "block.txt", "-b", "Plain", "-o", "-").out
    assert "holds no block 'Plan'" in nader("draw", tmp_path / "block.txt", "-b", "Plan", "-o", "-").err


def test_a_drawing_that_cannot_be_written_is_one_sentence(nader: Nader, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    said = nader("draw", file(tmp_path, CELL), "-o", tmp_path / "taken" / "x.svg")
    assert said.status == 2 and "cannot be written" in said.err and "Traceback" not in said.err


def test_a_cycle_is_told_with_a_line(nader: Nader, tmp_path: Path) -> None:
    text = "##b##\n0:input\n1:output\n2:BN\n3:Add\n4:ReLU\n0->3\n3->4\n4->2\n2->3\n2->1\n"
    said = nader("check", file(tmp_path, text))
    assert f"{tmp_path / 'block.txt'}:4: cycle: node 2:BN: The edges form a cycle: 2->3->4->2" in said.out


def test_a_very_large_file_is_told_no_wrong_size(nader: Nader, tmp_path: Path) -> None:
    said = nader("check", file(tmp_path, "x" * 3_000_000))
    assert said.status == 1 and "The text has more than 65536 characters" in said.out


def test_draw_names_the_file_that_is_no_block(nader: Nader, tmp_path: Path) -> None:
    path = file(tmp_path, WRONG)
    said = nader("draw", path)
    assert said.status == 2
    assert said.err.startswith(f"{path}: The block has 1 problem") or f"{path}: The block has" in said.err
