"""Shared by the test folders: a trained class, real photos if available, and the list of allowed skips."""

import fcntl
import gc
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
# The longest begin first, so that at the end no worker waits for another's. Those that compute and those that wait, for
# a browser, a camera or a time-out, take turns, so that no core is idle.
LONG_FILES = [
    "tests/edge/serve/test_page.py",
    "tests/test_readme.py",
    "tests/train/test_strategy.py",
    "tests/convert/test_compress.py",
    "tests/train/test_fit.py",
    "tests/convert/test_person_commands.py",
    "tests/edge/serve/test_bounds.py",
    "tests/convert/quantisation/test_quantize.py",
    "tests/edge/apps/test_camera.py",
    "tests/convert/distillation/test_distill.py",
    "tests/edge/capture/test_supervisor.py",
    "tests/benchmarks/test_check.py",
    "tests/edge/apps/test_video.py",
    "tests/benchmarks/studies/test_scale.py",
    "tests/edge/serve/test_command.py",
    "tests/convert/pruning/test_prune.py",
    "tests/edge/sinks/test_video_file.py",
    "tests/benchmarks/test_bench.py",
    "tests/edge/apps/bench/test_bench.py",
]


def pytest_configure() -> None:
    """Makes Ctrl-C and hanging up reach the programs under test, even after a shell's `&` or `nohup`.

    A worker of pytest-xdist has one core, so TensorFlow gets one thread in it.
    """
    gc.disable()  # until everything is imported
    if os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, in their order."""
    rank = {name: number for number, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))


def pytest_collection_finish() -> None:
    """Exempts everything imported from garbage collection: TensorFlow alone has a million objects."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photos next to the checkout; `docs/data.md` describes them and where to get them."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real photos here: {SHARED_DATA} is missing (docs/data.md says how to get them)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data folder of three made-up students, and the run folder of a small U-Net trained on it."""
    pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")
    from tests.train.made_up import make_class
    from train.dataset import open_dataset
    from train.recipes import default
    from train.training import fit

    def train(folder: Path) -> None:
        recipe = default().replace(size=64, widths=(8, 16, 24), epochs=20, batch=2, ema=0.9, learning_rate=0.01)
        fit(open_dataset(make_class(folder / "class", photos=36)), recipe, folder / "run")

    folder = made_once(tmp_path_factory, "trained", train)
    return folder / "class", folder / "run"


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first process to need it fills with `make`; pytest-xdist's other workers share it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = shared / name
    with (shared / f"{name}.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not lock.seek(0, os.SEEK_END):
            make(folder)
            lock.write("made")
    return folder


def allowed_skips() -> list[re.Pattern[str]]:
    """The patterns of `allowed_skips.txt`."""
    lines = ALLOWED_SKIPS.read_text(encoding="utf-8").splitlines()
    return [re.compile(line.split("  ")[0]) for line in lines if not line.startswith("#")]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With SEG_EDGE_STRICT_SKIPS, a skip that isn't on the list fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("SEG_EDGE_STRICT_SKIPS") or reporter is None or hasattr(session.config, "workerinput"):
        return
    reasons = {str(report.longrepr[2]) for report in reporter.stats.get("skipped", ())}
    refused = sorted(r for r in reasons if not any(pattern.search(r) for pattern in allowed_skips()))
    for reason in refused:
        reporter.write_line(f"\nerror: {ALLOWED_SKIPS.name} doesn't allow: {reason}", red=True)
    if refused and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
