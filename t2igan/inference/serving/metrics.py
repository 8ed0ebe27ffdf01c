"""What a server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from t2igan.inference.serving.queueing import Group

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The counters of one server; several may live in one process."""

    def __init__(self) -> None:
        """Makes them, all at zero."""
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("t2igan_requests", "Requests answered", ["route", "status"], registry=registry)
        # To find counters by their labels takes several times as long as to count.
        self._of_route: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._of_model: dict[str, Counter] = {}
        self.seconds = Histogram(
            "t2igan_request_seconds", "From arrival to answer", ["route"], buckets=_SECONDS, registry=registry
        )
        self.refused = Counter("t2igan_refused", "Requests refused, by reason", ["code"], registry=registry)
        self.left = Counter("t2igan_clients_left", "Clients that left before their pictures", registry=registry)
        self.images = Counter("t2igan_images", "Pictures drawn", ["model"], registry=registry)
        self.batches = Histogram(
            "t2igan_batch_images", "Pictures a batch", buckets=[2**i for i in range(7)], registry=registry
        )
        self.draw_seconds = Histogram("t2igan_draw_seconds", "A batch", buckets=_SECONDS, registry=registry)
        self.failures = Counter("t2igan_device_failures", "Batches that the device failed", registry=registry)
        self.queue = Gauge("t2igan_queue_images", "Pictures that wait", registry=registry)
        self.ready = Gauge("t2igan_ready", "1 = takes requests: compiled, healthy, not draining", registry=registry)

    def gauges(self, waiting_images: Callable[[], float], ready: Callable[[], bool]) -> None:
        """Says where to read what is not counted but looked up."""
        self.queue.set_function(waiting_images)
        self.ready.set_function(lambda: float(ready()))

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Takes note of a request."""
        found = self._of_route.get((route, status))
        if found is None:
            found = self.requests.labels(route, str(status)), self.seconds.labels(route)
            self._of_route[route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def drawn(self, group: Group, images: int, seconds: float, failed: bool) -> None:
        """Takes note of a batch."""
        if failed:
            self.failures.inc()
            return
        counter = self._of_model.get(group.model)
        if counter is None:
            counter = self._of_model[group.model] = self.images.labels(group.model)
        counter.inc(images)
        self.batches.observe(images)
        self.draw_seconds.observe(seconds)

    def text(self) -> bytes:
        """Returns everything in Prometheus's text format."""
        return generate_latest(self._registry)
