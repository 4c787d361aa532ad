"""The report distinguishes valid, invalid and missing results, whatever the folder's files contain."""

import copy
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("matplotlib", reason="the workstation's packages aren't installed (pip install '.[train]')")

from benchmarks import history
from benchmarks.report import main, write_report
from benchmarks.reporting.tables import escape, replace_block
from seg_edge.errors import DataError, UsageError
from tests.tiny import DATA

PI = DATA / "made_up_pi.json"
ROOT = Path(__file__).parents[2]
app = typer.Typer()
app.command()(main)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder with one valid result."""
    folder = tmp_path / "results"
    folder.mkdir()
    write(folder / "desk.json", desk())
    return folder


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "history"


def desk() -> dict[str, Any]:
    """A complete result of `make bench` with figures that are easy to find in the report."""
    document: dict[str, Any] = json.loads(PI.read_text())
    del document["made_up"]
    document["machine"] |= {"name": "Desk, 2 cores", "model": "", "key": "desk"}
    document |= {"created": "2026-11-24T14:00:00+00:00", "commit": "abc123", "missing": ["isnet: not there."]}
    entries = {(entry["model"], entry["threads"]): entry for entry in document["latency"]}
    for name, role, size in (("big", "full", 124_000_000), ("selfie", "peer", 250_000)):
        document["models"][name] = document["models"]["person"] | {"role": role, "bytes": size, "sha256": name}
        for threads in document["settings"]["threads"]:
            document["latency"].append(copy.deepcopy(entries["person", threads]) | {"model": name})
    for entry in document["latency"]:
        if entry["model"] == "big":
            entry["ratio"] |= {"median": 300.0, "interval": [280.0, 336.0], "rounds": [280.0, 336.0]}
    scored = {"person": 0.861, "big": 0.912, "selfie": 0.884}
    document["accuracy"] = [
        {
            "data": data,
            "photos": 12,
            "fingerprint": "f",
            "classes": ["background", "person"],
            "full": "big",
            "models": {name: figures(dice) for name, dice in scored.items()},
        }
        for data in ("people", "drawn")
    ]
    document["flicker"] = [
        {"data": "people", "clip": "street", "frames": 60, "models": {"person": 0.0123, "big": None}}
    ]
    points = [{"x": n, "y": 0.5 + 0.5 * n, "n": 9, "p5": 0.9, "p95": 5.0} for n in (1, 3, 9)]
    law = {"text": "0.5 s to start", "r2": 0.99}
    curve = {"name": "time over photos", "x": "photos", "unit_x": "photos", "y": "all", "unit_y": "s"}
    document["scale"] = [curve | {"points": points, "fit": law}]
    return document


def figures(dice: float) -> dict[str, Any]:
    keys = ("mean_dice", "mean_photo_dice", "mean_iou", "boundary_f")
    shared = {
        "photos": 12,
        **dict.fromkeys(keys, dice),
        "dice": {"person": dice},
        "intervals": {key: [dice - 0.1, dice + 0.05] for key in keys},
    }
    return shared | {
        "by_foreground_share": {"0.0": shared, "0.2": shared},
        "per_photo": [],
        "agreement": {"same_pixels": 0.9876, "mean_dice": 0.9},
    }


def write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document))


def read(results: Path, name: str = "report.md") -> str:
    return (results / name).read_text(encoding="utf-8")


def row(text: str, heading: str, first: str) -> list[str]:
    """The cells of the first row under a heading that starts with a given cell."""
    section = text[text.index(f"## {heading}") :]
    line = next(line for line in section.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


class Tags(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))


def test_the_summary_has_size_speed_and_accuracy(results: Path, records: Path) -> None:
    write_report(results, records)
    cells = dict(zip(row(read(results), "Summary", "model"), row(read(results), "Summary", "person"), strict=True))
    assert cells["file"] == "0.70 MB"
    assert cells["time / reference"] == "1.50 (1.40–1.60)"
    assert cells["Dice, 12 photos of people"] == "0.861 (0.761–0.911)"


def test_all_sections_are_in_both_files(results: Path, records: Path) -> None:
    history.append(records / "desk.csv", history.rows(desk()))
    write_report(results, records)
    text, page = read(results), read(results, "report.html")
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert len(titles) == 14  # there are no photos
    assert re.findall(r"<h2>(.+)</h2>", page) == titles
    assert row(text, "Flicker", "person")[1] == "1.23 %"
    assert row(text, "Flicker", "big")[1] == "–"
    assert row(text, "How accurate", "selfie")[-2:] == ["98.76 %", "0.900"]
    assert row(text, "How cost grows", "3")[1] == "2.00"
    assert "isnet: not there." in text
    assert "0.5 s to start (R² 0.990)" in text
    assert "desk: 1 run." in text


def test_the_history_is_plotted_from_the_second_run_on(results: Path, records: Path) -> None:
    for day in ("24", "25"):
        history.append(records / "desk.csv", history.rows(desk() | {"created": f"2026-11-{day}T14:00:00+00:00"}))
    write_report(results, records)
    assert "desk: 2 runs." in read(results)
    assert "plots/history-0.svg" in read(results)


def test_made_up_results_are_marked_in_their_column(results: Path, records: Path) -> None:
    assert "Made up" in json.loads(PI.read_text())["about"]
    shutil.copy(PI, results / "my-pi.json")
    write_report(results, records)
    assert row(read(results), "Machine by machine", "model")[:3] == [
        "model",
        "Desk, 2 cores: 1 thread",
        "Raspberry Pi 5 Model B Rev 1.0, 4 cores (made up): 1 thread",
    ]
    cells = row(read(results), "Machine by machine", "person")
    assert cells[1:] == ["1.50 (1.40–1.60); 6.00 ms"] * 2 + ["not measured"] * 2


def test_each_machines_instructions_for_int8_are_listed(results: Path, records: Path) -> None:
    plain = desk()
    plain["machine"] |= {"name": "Old, 2 cores", "key": "old", "features": ["sse2", "avx2"]}
    write(results / "old.json", plain)
    write_report(results, records)
    (row,) = [line for line in read(results).splitlines() if line.startswith("| 8-bit dot products")]
    assert sorted(row.strip("| ").split(" | ")[1:]) == ["asimddp", "none"]


def test_a_raspberry_pi_is_listed_as_not_measured_until_it_has_a_result(results: Path, records: Path) -> None:
    write_report(results, records)
    assert len(row(read(results), "Machine by machine", "model")) == 4
    assert read(results).count("docs/benchmarks.md#on-a-raspberry-pi") >= 3
    document = json.loads(PI.read_text())
    del document["made_up"]
    write(results / "pi.json", document)
    write_report(results, records)
    heads = row(read(results), "Machine by machine", "model")
    assert heads[3].startswith("[Raspberry Pi 4]")
    assert len(heads) == 4


def test_different_models_of_one_name_are_told_apart(results: Path, records: Path) -> None:
    document = json.loads(PI.read_text())
    document["models"]["person"]["sha256"] = "f" * 64
    write(results / "pi.json", document)
    write_report(results, records)
    for name in ("person 00000000", "person ffffffff", "big"):
        assert row(read(results), "Machine by machine", name)


@pytest.mark.parametrize(
    ("change", "mark"),
    [
        ({"quick": True}, "quick run"),
        ({"watch": {**desk()["watch"], "valid": False, "reasons": ["it was too hot"]}}, "invalid"),
        ({"made_up": True}, "made up"),
    ],
)
def test_results_that_do_not_count_are_marked_and_left_out_of_the_summary(
    results: Path, records: Path, change: dict[str, Any], mark: str
) -> None:
    write(results / "desk.json", desk() | change)
    write_report(results, records)
    text = read(results)
    assert "no valid result yet" in text
    assert row(text, "Machine by machine", "model")[1] == f"Desk, 2 cores ({mark}): 1 thread"
    counts = row(text, "Machines and files", "counts")[1]
    assert counts.startswith(f"no: {mark}")
    assert mark != "invalid" or "it was too hot" in counts


def test_text_from_files_is_escaped(results: Path, records: Path) -> None:
    evil = "<script>alert(1)</script> a|b [x](http://evil.example) `c` $\\frac{"
    text = PI.read_text().replace('"person"', json.dumps(evil)).replace("ondemand", evil.replace("\\", ""))
    (results / "evil.json").write_text(text)
    write_report(results, records)
    page, markdown = read(results, "report.html"), read(results)
    assert not [tag for tag, _ in Tags(page).all if tag in ("script", "iframe", "object", "link")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt; a|b [x](http://evil.example)" in page
    assert "<script" not in page + markdown
    assert "](http" not in markdown
    assert f"| {escape(evil)} |" in markdown
    assert "|" not in escape(evil)


def test_the_page_is_self_contained(results: Path, records: Path) -> None:
    folder = results / "photos" / "desk"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "people.jpg"), np.full((300, 1200, 3), 90, np.uint8))
    write_report(results, records)
    page = read(results, "report.html")
    pictures = [attributes for tag, attributes in Tags(page).all if tag == "img"]
    kinds = [(picture["src"] or "")[:15] for picture in pictures]
    assert kinds == ["data:image/svg+"] * 4 + ["data:image/jpeg"]
    assert all(picture["alt"] for picture in pictures)
    assert not re.search(r"url\(|@import", page)
    assert "default-src 'none'" in page
    assert len(page) < 2_000_000


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "not JSON"),
        ('{"kind": "else"}', "not what 'seg-edge bench --json' writes"),
        (json.dumps(desk() | {"latency": "none"}), "latency is invalid"),
        (json.dumps(desk() | {"latency": []}), "latency is invalid"),
        (json.dumps(desk() | {"cold_start": [desk()["cold_start"][0] | {"model": "nobody"}]}), "the model 'nobody'"),
        (json.dumps(desk()).replace('"median": 300.0', '"median": NaN'), "latency.4.ratio.median is invalid"),
        (json.dumps(desk()).replace('"mean_dice": 0.861', '"mean_dice": "<b>"'), "mean_dice is invalid"),
        (json.dumps(desk()).replace('"boundary_f": [0.76', '"boundary_f": ["0.76').replace("0.911]", '"]'), ""),
    ],
)
def test_invalid_files_give_one_sentence_and_no_report(
    results: Path, records: Path, content: str, sentence: str
) -> None:
    (results / "wrong.json").write_text(content)
    with pytest.raises(DataError) as raised:
        write_report(results, records)
    assert sentence in str(raised.value)
    assert str(results / "wrong.json") in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert not (results / "report.html").exists()
    done = CliRunner().invoke(app, ["--results", str(results), "--history", str(records)])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")


def test_an_invalid_row_of_the_history_gives_one_sentence(results: Path, records: Path) -> None:
    history.append(records / "desk.csv", history.rows(desk()))
    path = records / "desk.csv"
    path.write_text(path.read_text().replace("0.861", "good", 1))
    with pytest.raises(DataError, match=r"desk\.csv, line \d+: the column value is invalid"):
        write_report(results, records)


def test_an_empty_folder_says_what_to_run(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--results", str(tmp_path), "--history", str(tmp_path / "none")])
    assert done.exit_code == 0, done.output
    assert "run `make bench`" in read(tmp_path)
    assert "not measured" in read(tmp_path)


def test_figures_are_replaced_between_the_markers() -> None:
    page = "before\n<!-- figures: by a command -->\nold\n<!-- /figures -->\nafter\n"
    figures = history.newest_figures(history.rows(desk()))
    updated = replace_block(page, "figures", figures)
    assert updated.startswith("before\n<!-- figures: by a command -->\n| model |")
    assert updated.endswith("Measured on Desk, 2 cores, 2026-11-24.\n<!-- /figures -->\nafter\n")
    assert "old" not in updated
    assert replace_block(updated, "figures", figures) == updated
    with pytest.raises(UsageError, match="<!-- figures"):
        replace_block("no markers", "figures", figures)


def test_the_readme_has_the_figures_of_the_newest_run() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    newest = history.newest_figures(history.read(history.newest_file(history.FOLDER)))
    assert replace_block(readme, "figures", newest) == readme
