"""The server's figures for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STAGE_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Metrics:
    """The metrics of one server.

    Args:
        path: Requests to this path are counted and timed.
        inside: Returns how many photos are waiting or being segmented.
        transfers: Returns how many requests are in progress, including uploads and downloads.
    """

    def __init__(self, path: str, inside: Callable[[], float], transfers: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._path = path
        self._requests = Counter(
            "seg_edge_requests", "Photo requests, by HTTP status.", ["status"], registry=self.registry
        )
        self._seconds = Histogram(
            "seg_edge_request_seconds",
            "From request header to end of response.",
            registry=self.registry,
            buckets=SECONDS,
        )
        self._stages = Histogram(
            "seg_edge_stage_seconds",
            "A photo's time in each stage.",
            ["stage"],
            registry=self.registry,
            buckets=STAGE_SECONDS,
        )
        Gauge("seg_edge_requests_inside", "Photos waiting or being segmented.", registry=self.registry).set_function(
            inside
        )
        Gauge(
            "seg_edge_transfers", "Requests in progress, from header to end of response.", registry=self.registry
        ).set_function(transfers)

    def stages(self, timing_ms: Mapping[str, float]) -> None:
        """Counts one photo's stages."""
        for stage, elapsed in timing_ms.items():
            self._stages.labels(stage).observe(elapsed / 1000)

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Wraps the application to count and time its requests."""

        async def metered(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"] != self._path:
                await app(scope, receive, send)
                return
            began, status = time.perf_counter(), 500

            async def watched(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, watched)
            finally:
                self._requests.labels(str(status)).inc()
                self._seconds.observe(time.perf_counter() - began)

        return metered
