"""The report says what was measured, what wasn't and what doesn't count, whatever a file in the folder holds."""

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

from benchmarks import history
from benchmarks.report import main, write_report
from benchmarks.reporting import plots
from benchmarks.reporting.markdown import escape
from benchmarks.reporting.plots import Spot, frontier, pareto
from seg_edge.errors import DataError
from tests.tiny import DATA

PI = DATA / "made_up_pi.json"
MAX_BYTES = 2_000_000
app = typer.Typer()
app.command()(main)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one result that counts."""
    place = tmp_path / "results"
    place.mkdir()
    write(place / "desk.json", desk())
    return place


@pytest.fixture
def results(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, for tests that are not about plots: drawing those takes most of the time."""
    for name in ("pareto", "distributions", "frames", "curve", "over_time"):
        monkeypatch.setattr(plots, name, lambda *_: "<svg/>")
    return folder


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "history"


def desk() -> dict[str, Any]:
    """A result of all that `make bench` measures, with figures that are easy to find again."""
    document: dict[str, Any] = json.loads(PI.read_text())
    del document["made_up"]
    document["machine"] |= {"name": "Desk, 2 cores", "model": "", "key": "desk"}
    document |= {"created": "2026-11-24T14:00:00+00:00", "commit": "abc123", "missing": ["isnet: not there."]}
    entries = {(entry["model"], entry["threads"]): entry for entry in document["latency"]}
    for name, role, size in (("big", "full", 124_000_000), ("selfie", "peer", 250_000)):
        document["models"][name] = document["models"]["person"] | {"role": role, "bytes": size, "sha256": name}
        for threads in document["settings"]["threads"]:
            document["latency"].append(copy.deepcopy(entries["person", threads]) | {"model": name})
    big = [entry["ratio"] for entry in document["latency"] if entry["model"] == "big"]
    for ratio in big:
        ratio |= {"median": 300.0, "interval": [280.0, 336.0], "rounds": [280.0, 336.0]}
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
    point = {"n": 9, "p5": 0.9, "p95": 5.0}
    fit = {"kind": "linear", "fixed": 0.5, "each": 0.5, "r2": 0.99, "points": 3, "text": "0.5 s to start"}
    document["scale"] = [
        {"name": f"time over {x}", "x": x, "unit_x": x, "y": "all", "unit_y": "s", "fit": fit}
        | {"points": [{"x": n, "y": 0.5 + 0.5 * n, **point} for n in (1, 3, 9)]}
        for x in ("photos", "threads")
    ]
    return document


def figures(dice: float) -> dict[str, Any]:
    keys = ("mean_dice", "mean_photo_dice", "mean_iou", "boundary_f")
    made = {
        "photos": 12,
        **dict.fromkeys(keys, dice),
        "dice": {"person": dice},
        "intervals": {key: [dice - 0.1, dice + 0.05] for key in keys},
    }
    shares = {"0.0": made, "0.2": made}
    return made | {
        "by_foreground_share": shares,
        "per_photo": [],
        "agreement": {"same_pixels": 0.9876, "mean_dice": 0.9},
    }


def write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document))


def read(results: Path, name: str = "report.html") -> str:
    return (results / name).read_text(encoding="utf-8")


class Page(HTMLParser):
    """What a page holds: its tags, and its tables as rows of cells by caption."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self._in: str | None = None
        self._caption = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self._rows, self._caption = [], ""
        if tag == "tr":
            self._rows.append([])
        if tag in ("th", "td"):
            self._rows[-1].append("")
        if tag in ("th", "td", "caption"):
            self._in = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._in:
            self._in = None
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        if self._in == "caption":
            self._caption += data
        elif self._in:
            self._rows[-1][-1] += data

    def table(self, start: str) -> list[list[str]]:
        return next(rows for caption, rows in self.tables.items() if caption.startswith(start))


def test_a_newcomer_reads_size_speed_and_accuracy_at_the_top(results: Path, records: Path) -> None:
    write_report(results, records)
    text = read(results)
    top = text[: text.index("What the words mean</h2>")]
    assert "177 times as large" in top
    assert "205 (200–210) times as fast" in top  # 280 / 1.4 and 336 / 1.6: of each round, not of the medians
    assert "0.861 (0.761–0.911)" in top
    summary = Page(text).table("Small, fast, accurate")
    row = dict(zip(summary[0], next(row for row in summary if row[0] == "person"), strict=True))
    assert row["file"] == "0.70 MB"
    assert row["ratio, 1 thread"] == "1.50 (1.40–1.60)"
    assert row["Dice, 12 of people"] == "0.861 (0.761–0.911)"


def test_all_sections_are_there_and_linked(results: Path, records: Path) -> None:
    history.append(records / "desk.jsonl", history.entry(desk()))
    write_report(results, records)
    page = Page(read(results))
    links = {attrs["href"] for tag, attrs in page.tags if tag == "a"}
    headings = [f"#{attrs['id']}" for tag, attrs in page.tags if tag == "h2"]
    assert len(headings) == 14
    assert set(headings) <= links
    assert {link for link in links if link and link.startswith("#")} <= set(headings)
    assert "one run so far" in read(results)
    assert page.table("Still pixels")[1:] == [["person", "1.23 %"], ["big", "–"]]
    assert "isnet: not there." in read(results)
    assert "0.5 s to start (R² 0.990)" in read(results)
    markdown = read(results, "README.md")
    assert "| person | ours | 256x256 | 0.70 MB |" in markdown
    assert "(#what-the-words-mean)" in markdown
    assert "## What the words mean" in markdown
    assert "What accuracy costs" not in markdown  # it is plots alone


def test_a_made_up_pi_is_a_column_that_says_so(results: Path, records: Path) -> None:
    assert "Made up" in json.loads(PI.read_text())["about"]
    shutil.copy(PI, results / "my-pi.json")
    write_report(results, records)
    for text in (read(results), read(results, "README.md")):
        assert "Raspberry Pi 5 Model B Rev 1.0, 4 cores (made up)" in text
    table = Page(read(results)).table("The same models on each machine, on the fewest threads")
    assert table[0] == [
        "model",
        "Desk, 2 cores: 1 thread",
        "Raspberry Pi 5 Model B Rev 1.0, 4 cores (made up): 1 thread",
        "Raspberry Pi 4",
        "Raspberry Pi 5",
    ]
    person = next(row for row in table if row[0] == "person")
    assert person[1:] == ["1.50 (1.40–1.60); 6.00 ms"] * 2 + ["not measured"] * 2


def test_a_raspberry_pi_is_not_measured_until_its_file_is_there(results: Path, records: Path) -> None:
    write_report(results, records)
    assert Page(read(results)).table("The same")[0][2:] == ["Raspberry Pi 4", "Raspberry Pi 5"]
    assert read(results).count("docs/benchmarks.md#on-a-raspberry-pi") >= 3
    document = json.loads(PI.read_text())
    del document["made_up"]
    write(results / "pi.json", document)
    write_report(results, records)
    assert Page(read(results)).table("The same")[0][3:] == ["Raspberry Pi 4"]


def test_models_of_one_name_and_different_files_are_told_apart(results: Path, records: Path) -> None:
    document = json.loads(PI.read_text())
    document["models"]["person"]["sha256"] = "f" * 64
    write(results / "pi.json", document)
    write_report(results, records)
    names = [row[0] for row in Page(read(results)).table("The same")]
    assert "person 00000000" in names
    assert "person ffffffff" in names
    assert "big" in names


@pytest.mark.parametrize(
    ("change", "mark"),
    [
        ({"quick": True}, "quick, no result"),
        ({"watch": {**desk()["watch"], "valid": False, "reasons": ["it was too hot"]}}, "invalid"),
        ({"made_up": True}, "made up"),
    ],
)
def test_what_does_not_count_is_marked_and_not_summed_up(
    results: Path, records: Path, change: dict[str, Any], mark: str
) -> None:
    write(results / "desk.json", desk() | change)
    write_report(results, records)
    text = read(results)
    assert "no result yet that counts" in text
    assert "times as fast" not in text
    assert Page(text).table("The same")[0][1] == f"Desk, 2 cores ({mark}): 1 thread"
    facts = dict(row[:2] for row in Page(text).table("Where, when"))
    assert facts["counts"].startswith(f"no: {mark}")
    assert mark != "invalid" or "it was too hot" in facts["counts"]


def test_what_a_file_says_is_text_and_nothing_else(folder: Path, records: Path) -> None:
    evil = "<script>alert(1)</script> a|b [x](http://evil.example) `c` $\\frac{"
    text = PI.read_text().replace('"person"', json.dumps(evil)).replace("ondemand", evil.replace("\\", ""))
    (folder / "evil.json").write_text(text)
    write_report(folder, records)
    page, markdown = read(folder), read(folder, "README.md")
    assert not [tag for tag, _ in Page(page).tags if tag in ("script", "iframe", "object", "link")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt; a|b" in page
    assert "<script" not in page + markdown
    assert "](http" not in markdown
    rows = [line for line in markdown.splitlines() if "alert" in line and line.startswith("| &lt;")]
    assert rows
    assert escape(evil) in rows[0]
    assert "|" not in escape(evil)


def test_the_page_with_its_plots_is_small_and_loads_nothing(folder: Path, records: Path) -> None:
    history.append(records / "desk.jsonl", history.entry(desk()))
    write_report(folder, records)
    page = Page(read(folder))
    loaded = [attrs.get(key) or "" for tag, attrs in page.tags for key in ("src", "srcset", "data", "poster")]
    assert all(not source or source.startswith("data:image/") for source in loaded)
    assert not re.search(r"url\(|@import", read(folder))
    assert "default-src 'none'" in read(folder)
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 10  # 2 latency, 1 frame, 4 Pareto, 2 growth, 1 history
    assert (folder / "report.html").stat().st_size < MAX_BYTES


def test_photos_of_people_are_only_in_the_other_page(results: Path, records: Path) -> None:
    photos = results / "photos" / "desk"
    photos.mkdir(parents=True)
    for name in ("drawn", "people"):
        cv2.imwrite(str(photos / f"{name}.jpg"), np.full((300, 1200, 3), 90, np.uint8))
    written = write_report(results, records)
    assert [path.name for path in written] == ["README.md", "report.html", "report-with-photos.html"]
    assert "did worst on" in read(results)
    assert read(results).count("image/jpeg") == 1
    assert "report-with-photos.html" in read(results)
    assert read(results, "report-with-photos.html").count("image/jpeg") == 2
    assert "jpeg" not in read(results, "README.md")

    (photos / "people.jpg").unlink()
    assert [path.name for path in write_report(results, records)] == ["README.md", "report.html"]
    assert not (results / "report-with-photos.html").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "not JSON"),
        ('{"kind": "else"}', "not what 'seg-edge bench --json' writes"),
        (json.dumps(desk() | {"latency": "none"}), "latency is not as"),
        (json.dumps(desk() | {"latency": []}), "latency is not as"),
        (
            json.dumps(desk() | {"cold_start": [desk()["cold_start"][0] | {"model": "nobody"}]}),
            "cold_start[0].model is",
        ),
        (json.dumps(desk()).replace('"median": 300.0', '"median": NaN'), "latency[4].ratio.median is not as"),
        (json.dumps(desk()).replace('"mean_dice": 0.861', '"mean_dice": "<b>"'), "mean_dice is not as"),
    ],
)
def test_a_strange_file_is_one_sentence_and_nothing_is_written(
    results: Path, records: Path, content: str, sentence: str
) -> None:
    (results / "strange.json").write_text(content)
    with pytest.raises(DataError) as raised:
        write_report(results, records)
    assert sentence in str(raised.value)
    assert str(results / "strange.json") in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert not (results / "report.html").exists()
    done = CliRunner().invoke(app, ["--results", str(results), "--history", str(records)])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")


def test_a_strange_run_or_photo_is_one_sentence(results: Path, records: Path) -> None:
    history.append(records / "desk.jsonl", {"models": {"person": {}}, "commit": "", "created": ""})
    with pytest.raises(
        DataError, match=r"desk\.jsonl, line 1: models\['person'\]\.role is not as 'make bench' writes it"
    ):
        write_report(results, records)
    (records / "desk.jsonl").unlink()
    (results / "photos" / "desk").mkdir(parents=True)
    (results / "photos" / "desk" / "drawn.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="no picture"):
        write_report(results, records)


def test_an_empty_folder_says_what_to_run(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--results", str(tmp_path), "--history", str(tmp_path / "none")])
    assert done.exit_code == 0, done.output
    assert "make bench" in read(tmp_path)
    assert "not measured" in read(tmp_path, "README.md")


def test_a_plots_frontier_is_what_nothing_beats() -> None:
    def spot(name: str, cost: float, quality: float) -> Spot:
        return Spot(name, "model", cost, (cost, cost), quality, (quality, quality))

    spots = [spot("dear", 9, 0.9), spot("beaten", 5, 0.6), spot("good", 2, 0.8), spot("cheap", 1, 0.5)]
    assert [one.name for one in frontier(spots)] == ["cheap", "good", "dear"]
    same = [spot("worse", 1, 0.4), spot("better", 1, 0.6), spot("dear, no better", 2, 0.6)]
    assert [one.name for one in frontier(same)] == ["better"]
    assert ">beaten<" in pareto(spots, "cost", "quality").replace("\n", "")
