"""Many photos on many machines: `segment_photos` in Ray actors, each with its own Segmenter.

All machines must see photos and results under the same paths, for example on a network file system. An actor that is
killed is restarted, and processes the photos again that it had not finished: results are written whole or not at all,
under names that depend on the photo alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from seg_edge.apps.image import USABLE_SHARE, segment_photos
from seg_edge.apps.image_jobs import ImageOptions, PhotoJob, PhotoResult
from seg_edge.errors import OutputError, SegEdgeError, UsageError
from seg_edge.photo.read import one_line_name
from seg_edge.segmenter import Segmenter
from seg_edge.system.memory import available_bytes

QUEUED = 2  # photos given to each actor, so that it never waits for the next
RETRIES = 2  # of a photo whose actor was killed


class PhotoActor:
    """One Segmenter in a Ray process."""

    def __init__(self, threads: int, folder: str, share: float):
        try:
            os.chdir(folder)
        except OSError as error:
            raise OutputError(
                f"{folder}: can't be entered on {os.uname().nodename} ({error.strerror}); share it with all machines."
            ) from error
        self.threads = threads
        self.segmenter: Segmenter | None = None
        self.memory_bytes = int((available_bytes() or 1 << 30) * USABLE_SHARE * share)
        self.share = share

    def load(self, model: Sequence[Any]) -> Segmenter:
        """The Segmenter of the model in Ray's store, made by the first call, also after a restart."""
        if self.segmenter is None:
            import ray

            self.segmenter = Segmenter(ray.get(model[0]), self.threads)
        return self.segmenter

    def is_ready(self, model: Sequence[Any]) -> bool:
        """True, once the Segmenter exists."""
        return bool(self.load(model))

    def segment(
        self, model: Sequence[Any], job: PhotoJob, options: ImageOptions, photos: frozenset[Path], is_new: bool
    ) -> PhotoResult:
        """Segments a photo.

        Args:
            model: Its reference in Ray's store.
            job: The photo.
            options: Of the command; its memory limit is for each machine.
            photos: The photos of all jobs whose paths equal one of this job's results.
            is_new: No result existed when the job was assigned; any that exists now was written by a killed actor.
        """
        memory = int(options.memory_bytes * self.share) if options.memory_bytes else self.memory_bytes
        options = replace(options, memory_bytes=memory)
        if is_new:
            options = replace(options, force=True, skip_existing=False)
        (result,) = segment_photos([job], self.load(model), options, photos)
        return result


def segment_photos_on_cluster(
    jobs: Sequence[PhotoJob], segmenter: Segmenter, options: ImageOptions, address: str, threads: int = 1
) -> Iterator[PhotoResult]:
    """Segments photos, and yields them as they are finished; a failed one yields a result with its error.

    Args:
        jobs: The photos; their paths must be valid on all machines.
        segmenter: Its model is sent to the actors.
        options: Of the command.
        address: Of a Ray cluster; `auto` is the one running on this machine, else this machine alone.
        threads: CPU threads of an actor; there are as many actors as the cluster's processors allow.

    Raises:
        UsageError: Ray isn't installed, or no cluster is at the address.
        SegEdgeError: An actor can't be started.
    """
    inputs = {job.photo.absolute() for job in jobs}
    waiting = iter(jobs)
    with _ray(address) as ray:
        model = [ray.put(segmenter.file)]
        actors = _start_actors(ray, model, threads)
        pending: dict[Any, tuple[Any, PhotoJob]] = {}

        def give(actor: Any) -> None:
            job = next(waiting, None)
            if job:
                photos = frozenset(path.absolute() for path in job.outputs.values() if path.absolute() in inputs)
                is_new = not any(path.exists() for path in job.outputs.values())
                pending[actor.segment.remote(model, job, options, photos, is_new)] = actor, job

        for _ in range(QUEUED):
            for actor in actors:
                give(actor)
        while pending:
            (done,), _ = ray.wait(list(pending), num_returns=1)
            actor, job = pending.pop(done)
            try:
                result = ray.get(done)
            except ray.exceptions.RayError as error:
                result = PhotoResult(job.photo, error=f"{one_line_name(job.photo)}: {_cause(error)}")
            give(actor)
            yield result


@contextmanager
def _ray(address: str) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # otherwise it reports usage to its makers
    # Otherwise it prints messages about dead workers to stdout, among the JSON lines, whatever `log_to_driver` is.
    os.environ |= {"RAY_DEDUP_LOGS": "1", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
    try:
        import ray
    except ImportError as error:
        raise UsageError("--ray needs Ray; install it with: pip install 'seg-edge[cluster]'") from error
    try:
        ray.init(
            None if address == "auto" else address,
            log_to_driver=False,
            logging_level="ERROR",
            **({"include_dashboard": False} if address == "auto" else {}),
        )
    except Exception as error:  # Ray raises many kinds, Exception itself among them
        raise UsageError(
            f"--ray {address}: no Ray cluster is there, or none can be started: {_cause(error)}"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _start_actors(ray: Any, model: Sequence[Any], threads: int) -> list[Any]:
    slots = [int(node["Resources"].get("CPU", 0) // threads) for node in ray.nodes() if node["Alive"]]
    if not any(slots):
        raise UsageError(
            f"--ray: --threads {threads} is more than any machine of the cluster has processors; choose fewer."
        )
    kind = ray.remote(PhotoActor).options(
        num_cpus=threads, max_restarts=-1, max_task_retries=RETRIES, scheduling_strategy="SPREAD"
    )
    actors = [kind.remote(threads, os.getcwd(), 1 / max(slots)) for _ in range(sum(slots))]
    try:
        ray.get([actor.is_ready.remote(model) for actor in actors])
    except ray.exceptions.RayError as error:
        raise SegEdgeError(f"--ray: a worker can't be started: {_cause(error)}") from error
    return actors


def _cause(error: BaseException) -> str:
    """The last line of the error's cause, without its class."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, SegEdgeError):
        return str(cause)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1].removeprefix("seg_edge.errors.").partition("Error: ")[2] or lines[0]
