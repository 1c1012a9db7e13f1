"""What is said of a message that makes no sense, or cannot be done: an error on a topic of its own, and a count."""

from __future__ import annotations

import logging

import orjson

from gateway.errors import GatewayError
from gateway.home.link import Link
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

ERROR_TOPIC = "ai-gateway/error"


class Refusals:
    """Answers messages by errors."""

    def __init__(self, link: Link, metrics: Metrics) -> None:
        self._link = link
        self._metrics = metrics

    def __call__(self, topic: str, error: GatewayError) -> None:
        """Publishes `{"topic": "ai-gateway/remember", "code": "bad_request", "error": "...", "field": "content"}`;
        `topic` is where the message came, one of those that the gateway subscribes to."""
        said = {"topic": topic, "code": error.code, "error": error.message, "field": error.field}
        self._link.publish(ERROR_TOPIC, orjson.dumps(said))
        self._metrics.mqtt_refused.labels(topic, error.code).inc()
        log.info("MQTT: a message on %s is refused: %s", topic, error.message)
