"""Several devices or machines give the same run as one: curve, split and best epoch, even after a lost worker."""

import csv
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'seg-edge[train]'")
pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'seg-edge[train]'")
pytest.importorskip("matplotlib", reason="needs Matplotlib: pip install 'seg-edge[train]'")

import keras  # noqa: E402

from seg_edge.errors import UsageError  # noqa: E402
from tests.train.made_up import make_class  # noqa: E402
from train.dataset import open_dataset  # noqa: E402
from train.recipes import default  # noqa: E402
from train.strategy import ONE_DEVICE, check_batch, is_chief, open_strategy, run_folder  # noqa: E402
from train.training import fit  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 3
OPTIONS = ["--size", "16", "--widths", "8", "--batch", "4", "--steps", "2", "--epochs", str(EPOCHS)]
FIT_ON_TWO = """
import sys, train.quiet, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from train.fit import main
from train.options import run_command
run_command(main)
"""


def start(
    data: Path, out: Path, *options: str, script: str = "", worker: int = -1, ports: tuple[int, ...] = ()
) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "edge"), str(ROOT)])}
    if worker >= 0:
        hosts = [f"127.0.0.1:{port}" for port in ports]
        task = {"type": "worker", "index": worker}
        environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": hosts}, "task": task})
    program = ["-c", script] if script else [str(ROOT / "train/fit.py")]
    command = [sys.executable, *program, "--data", str(data), "--out", str(out), *OPTIONS, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def free_ports(count: int) -> tuple[int, ...]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = tuple(each.getsockname()[1] for each in sockets)
    for each in sockets:
        each.close()
    return ports


def read_log(out: Path) -> list[dict[str, float]]:
    if not (out / "log.csv").is_file():
        return []
    with (out / "log.csv").open(newline="") as stream:
        return [{k: float(v) for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def assert_same_run(expected: Path, actual: Path) -> None:
    first, second = read_log(expected), read_log(actual)
    assert [row["epoch"] for row in first] == list(range(1, EPOCHS + 1))
    assert len(second) == EPOCHS
    for expected_row, row in zip(first, second, strict=True):
        for name in ("loss", "val_loss"):
            assert row[name] == pytest.approx(expected_row[name], rel=1e-4)
        for name in ("dice", "val_dice"):  # a pixel or two may change class
            assert row[name] == pytest.approx(expected_row[name], abs=0.01)
    runs = [json.loads((run / "run.json").read_text()) for run in (expected, actual)]
    assert runs[0]["scores"]["epoch"] == runs[1]["scores"]["epoch"]
    assert (expected / "split.json").read_text() == (actual / "split.json").read_text()
    weights = [keras.saving.load_model(run / "model.keras", compile=False).get_weights() for run in (expected, actual)]
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_class(tmp_path_factory.mktemp("made") / "data", size=(32, 24))


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    fit(open_dataset(data), default().replace(size=16, widths=(8,), batch=4, steps=2, epochs=EPOCHS), out)
    return out


def test_two_devices_train_like_one(alone: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(data, out, "--strategy", "mirrored", script=FIT_ON_TWO)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert "2 devices, 2 photos each: batch 4, learning rate 0.006" in output
    assert_same_run(alone, out)
    saved = keras.saving.load_model(out / "model.keras", compile=False)
    assert not any(getattr(layer, "synchronized", False) for layer in saved.layers)


def test_two_workers_train_like_one_even_if_one_is_lost(alone: Path, data: Path, tmp_path: Path) -> None:
    out, ports = tmp_path / "run", free_ports(4)
    workers = [start(data, out, "--strategy", "multiworker", worker=i, ports=ports[:2]) for i in (0, 1)]
    until = time.monotonic() + 600
    while not read_log(out) and workers[0].poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    workers[1].kill()
    _, errors = workers[0].communicate(timeout=600)
    workers[1].communicate()
    assert workers[0].returncode == 1, errors
    assert errors.strip().startswith("error: a worker was lost"), errors
    assert "--resume" in errors
    assert 1 <= len(read_log(out)) < EPOCHS

    workers = [start(data, out, "--resume", worker=i, ports=ports[2:]) for i in (0, 1)]
    (chief, errors), (second, _) = [worker.communicate(timeout=600) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors
    assert "2 devices on 2 machines, 2 photos each: batch 4, learning rate 0.006" in chief
    assert "epoch 3/3" in chief
    assert "epoch" not in second
    assert_same_run(alone, out)


def test_invalid_strategies_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UsageError, match="--strategy must be one of auto, mirrored, multiworker, got 'both'"):
        open_strategy("both")
    for invalid in ("", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}'):
        monkeypatch.setenv("TF_CONFIG", invalid)
        for name in ("multiworker", "auto"):
            with pytest.raises(UsageError, match="needs the machines in the environment's TF_CONFIG"):
                open_strategy(name)
    monkeypatch.delenv("TF_CONFIG")
    if not tf.config.list_physical_devices("GPU"):
        assert open_strategy("auto") is ONE_DEVICE
    mirrored = tf.distribute.MirroredStrategy(["CPU:0"])
    assert is_chief(mirrored)
    with run_folder(tmp_path, mirrored, resume=False) as folder:
        assert folder == tmp_path
    monkeypatch.setattr(type(mirrored), "num_replicas_in_sync", 3)
    with pytest.raises(UsageError, match="3 devices can't share a batch of 8; make --batch a multiple of 3"):
        check_batch(mirrored, 8)
    with pytest.raises(UsageError, match="a multiple of 6"):
        check_batch(mirrored, 9, together=2)


def test_the_slurm_script_in_the_docs_starts_each_worker_with_its_index(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "machines.md").read_text(encoding="utf-8")
    (tmp_path / "job.sh").write_text("#!/bin/bash\n" + page.partition("#!/bin/bash\n")[2].partition("```")[0])
    stand_ins = {
        "scontrol": "printf 'alpha\\nbeta\\n'",
        "srun": 'for SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@"; done',
        ".venv/bin/python": 'echo "$TF_CONFIG"; echo "$@" >&2',
    }
    for name, line in stand_ins.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    paths = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    job = {"PATH": paths, "SLURM_JOB_ID": "1234567", "SLURM_JOB_NODELIST": "[alpha,beta]", "SCRATCH": "/scratch"}
    done = subprocess.run(["bash", "job.sh"], cwd=tmp_path, env=job, capture_output=True, text=True, check=True)
    cluster = {"worker": ["alpha:24567", "beta:24567"]}
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"cluster": cluster, "task": {"type": "worker", "index": index}} for index in (0, 1)
    ]
    assert done.stderr.splitlines() == ["train/fit.py --data /scratch/class --out /scratch/run --batch 64 --resume"] * 2
