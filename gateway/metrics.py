"""What `/metrics` tells (Prometheus). One object, made by the composition root and handed to whom measures."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The gateway's figures. Counters only grow; gauges are set by their owner."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.turns = Counter(
            "gateway_turns", "Turns by edge and how they ended", ["edge", "outcome"], registry=self.registry
        )
        self.turn_seconds = Histogram(
            "gateway_turn_seconds", "A whole turn", ["edge"], buckets=SECONDS, registry=self.registry
        )
        self.step_seconds = Histogram(
            "gateway_step_seconds", "A step of a turn", ["step"], buckets=SECONDS, registry=self.registry
        )
        self.cache = Counter(
            "gateway_cache_lookups", "Cache outcomes, bypasses by reason", ["outcome", "reason"], registry=self.registry
        )
        self.cache_entries = Gauge("gateway_cache_entries", "Answers kept in memory", registry=self.registry)
        self.queue_waiting = Gauge(
            "gateway_queue_waiting", "Turns that wait for a model, by priority", ["priority"], registry=self.registry
        )
        self.queue_active = Gauge("gateway_queue_active", "Turns that models answer", registry=self.registry)
        self.queue_expected = Gauge(
            "gateway_queue_expected_seconds", "How long a turn would wait that came now", registry=self.registry
        )
        self.queue_refused = Counter(
            "gateway_queue_refused", "Turns the queue did not take, by reason", ["reason"], registry=self.registry
        )
        self.model_up = Gauge(
            "gateway_model_up", "Whether turns are given to a model server", ["server"], registry=self.registry
        )
        self.model_active = Gauge(
            "gateway_model_active", "Turns that a model server answers", ["server"], registry=self.registry
        )
        self.model_failures = Counter(
            "gateway_model_failures", "What a model server failed with", ["server", "code"], registry=self.registry
        )
        self.tokens = Counter("gateway_tokens", "Tokens, by kind", ["kind"], registry=self.registry)
        self.pool = Gauge("gateway_pool_connections", "Database connections", ["state"], registry=self.registry)
        self.pool_exhausted = Counter(
            "gateway_pool_exhausted", "Requests that got no database connection in time", registry=self.registry
        )
        self.journal_bytes = Gauge("gateway_journal_bytes", "Journal not yet in PostgreSQL", registry=self.registry)
        self.journal_records = Gauge(
            "gateway_journal_records", "Journal records not yet in PostgreSQL", registry=self.registry
        )
        self.journal_oldest = Gauge(
            "gateway_journal_oldest_seconds",
            "For how long the oldest journal record has waited for PostgreSQL",
            registry=self.registry,
        )
        self.journal_refused = Counter(
            "gateway_journal_refused", "Records that the journal could not keep", registry=self.registry
        )
        self.journal_rejected = Counter(
            "gateway_journal_rejected", "Records that PostgreSQL will never take, set aside", registry=self.registry
        )
        self.mqtt_connected = Gauge("gateway_mqtt_connected", "Whether the broker is there", registry=self.registry)
        self.mqtt_messages = Counter(
            "gateway_mqtt_messages", "MQTT messages, by direction (in, out)", ["direction"], registry=self.registry
        )
        self.mqtt_dropped = Counter(
            "gateway_mqtt_dropped", "MQTT messages that were never published", registry=self.registry
        )
        self.discovery_refused = Counter(
            "gateway_discovery_refused", "Messages of MQTT discovery that could not be used", registry=self.registry
        )
        self.unembedded = Gauge("gateway_unembedded_rows", "Memory rows still without a vector", registry=self.registry)
        self.space_missing = Gauge(
            "gateway_space_missing_rows",
            "Memory rows still without a vector in the embedding space that is being built",
            registry=self.registry,
        )
        self.mqtt_refused = Counter(
            "gateway_mqtt_refused",
            "MQTT messages that were answered by an error",
            ["topic", "code"],
            registry=self.registry,
        )
        self.requests = Counter(
            "gateway_http_requests",
            "HTTP requests by path pattern and status",
            ["path", "status"],
            registry=self.registry,
        )

        # What each turn and each request counts. To look a child up takes longer than to count; there are few of them.
        self.turns_of = cache(self.turns.labels)
        self.turn_seconds_of = cache(self.turn_seconds.labels)
        self.step_seconds_of = cache(self.step_seconds.labels)
        self.cache_of = cache(self.cache.labels)
        self.requests_of = cache(self.requests.labels)

    def render(self) -> bytes:
        """The figures in Prometheus' text format."""
        return generate_latest(self.registry)
