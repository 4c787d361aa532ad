"""Training on several devices or machines by `tf.distribute`: each replica computes its share of every batch.

The recipe's batch is the global one and its learning rate is unchanged: a run gives the same result as on one device.
Batch normalisation uses the statistics of the whole batch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras
import tensorflow as tf

from seg_edge.errors import DataError, UsageError
from train.losses import Loss

STRATEGIES = ("auto", "mirrored", "multiworker")
ONE_DEVICE = tf.distribute.get_strategy()
STATE = ("recipe.json", "log.csv", "model.keras", "last.weights.h5")  # of a run, to continue from
EVERYTHING = tf.distribute.InputContext()


def open_strategy(name: str) -> tf.distribute.Strategy:
    """The strategy of this name; call it before TensorFlow has computed anything.

    Args:
        name: `mirrored` uses all GPUs of this machine, or its CPU devices if there are none; `multiworker` the machines
            of `TF_CONFIG`; `auto` picks the latter if that is set, the former if there are several GPUs, else one
            device.

    Raises:
        UsageError: The name is unknown, or `TF_CONFIG` names no machines.
    """
    if name not in STRATEGIES:
        raise UsageError(f"--strategy must be one of {', '.join(STRATEGIES)}, got {name!r}.")
    if name == "multiworker" or (name == "auto" and "TF_CONFIG" in os.environ):
        _check_tf_config()
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or len(gpus) > 1:
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return ONE_DEVICE


def _check_tf_config() -> None:
    example = '{"cluster": {"worker": ["hostA:2222", "hostB:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(os.environ.get("TF_CONFIG", ""))
        workers, task = config["cluster"]["worker"], config["task"]
        is_valid = task["type"] == "worker" and isinstance(workers, list) and 0 <= int(task["index"]) < len(workers)
    except (ValueError, LookupError, TypeError):
        is_valid = False
    if not is_valid:
        raise UsageError(f"multiworker needs the machines in the environment's TF_CONFIG, as in TF_CONFIG='{example}'.")


def input_context(strategy: tf.distribute.Strategy) -> tf.distribute.InputContext:
    """The share of each batch that this process reads."""
    resolver = strategy.cluster_resolver
    workers = len(resolver.cluster_spec().as_dict().get("worker", [])) if resolver else 0
    return tf.distribute.InputContext(
        max(1, workers), resolver.task_id if workers else 0, strategy.num_replicas_in_sync
    )


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the first worker, which writes the run."""
    return input_context(strategy).input_pipeline_id == 0


def check_batch(strategy: tf.distribute.Strategy, batch: int, together: int = 1) -> None:
    """Checks that the devices can share a batch evenly.

    Args:
        strategy: Holds the devices.
        batch: Photos per step, over all devices.
        together: How many neighbours must stay on one device.

    Raises:
        UsageError: They can't.
    """
    parts = strategy.num_replicas_in_sync * together
    if batch % parts:
        raise UsageError(
            f"{strategy.num_replicas_in_sync} devices can't share a batch of {batch}; "
            f"make --batch a multiple of {parts}."
        )


def in_words(strategy: tf.distribute.Strategy, batch: int, learning_rate: float) -> str:
    """How the work is shared: `4 devices on 2 machines, 2 photos each: batch 8, learning rate 0.006`."""
    devices, machines = strategy.num_replicas_in_sync, input_context(strategy).num_input_pipelines
    on_machines = f" on {machines} machines" if machines > 1 else ""
    return (
        f"{devices} devices{on_machines}, {batch // devices} photos each: batch {batch}, learning rate {learning_rate}"
    )


def prepare_model(model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Works around two bugs of Keras 3.15 on several devices, and makes batch normalisation use the whole batch.

    - Keras draws a batch before training, to build what is already built here. That fails on several machines and with
      unevenly shared batches, and restarts the stream in another order.
    - On several machines it averages each metric over its first axis, which a scalar doesn't have.
    """
    if strategy.num_replicas_in_sync == 1:
        return
    model._maybe_symbolic_build = lambda **_: None
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
    if input_context(strategy).num_input_pipelines > 1:
        compute = model.compute_metrics
        model.compute_metrics = lambda *args, **kwargs: {
            name: tf.expand_dims(value, 0) for name, value in compute(*args, **kwargs).items()
        }


def of_one_device(loss: Loss, strategy: tf.distribute.Strategy) -> Loss:
    """The loss for each device: Keras sums over the devices, and doesn't divide a loss that is already a mean."""
    devices = strategy.num_replicas_in_sync
    return loss if devices == 1 else lambda labels, logits: loss(labels, logits) / devices


@contextlib.contextmanager
def run_folder(out: Path, strategy: tf.distribute.Strategy, resume: bool) -> Iterator[Path]:
    """The folder that this process writes: `out` for the chief, a temporary one for the other workers.

    All workers must do the same, as reading a metric or a weight waits for all of them.
    """
    if is_chief(strategy):
        yield out
        return
    with tempfile.TemporaryDirectory() as temporary:
        for name in STATE if resume else ():
            if (out / name).is_file():
                shutil.copy(out / name, temporary)
        yield Path(temporary)


def require_same(strategy: tf.distribute.Strategy, state: object) -> None:
    """Checks that all workers train the same.

    Args:
        strategy: This worker's strategy; with one machine there is nothing to compare.
        state: JSON data that must be equal on all workers.

    Raises:
        DataError: It isn't.
    """
    if input_context(strategy).num_input_pipelines == 1:
        return
    digest = int(hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:15], 16)
    gather = tf.function(lambda: tf.distribute.get_replica_context().all_gather(tf.constant([digest]), axis=0))
    first = strategy.experimental_local_results(strategy.run(gather))[0]
    if len(set(first.numpy().tolist())) > 1:
        raise DataError(
            "the workers have different photos, recipes, software or run folders; "
            "give all of them the same options, and with --resume the chief's run folder."
        )


def worker_lost(error: tf.errors.OpError, strategy: tf.distribute.Strategy) -> str:
    """What to do if the error means that another worker was lost; else empty."""
    lost = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    )
    if input_context(strategy).num_input_pipelines == 1 or not isinstance(error, lost):
        return ""
    return f"a worker was lost ({str(error.message).splitlines()[0]}); start all of them again with --resume."
