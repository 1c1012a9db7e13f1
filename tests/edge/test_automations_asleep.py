"""Without a broker nothing is done by itself, and that is said."""

from __future__ import annotations

from tests.house import House


async def test_without_a_broker(house: House) -> None:
    refused = await house.client.get("/home/automations")
    assert refused.status == 404
    assert "MQTT_URL" in (await refused.json())["error"]["message"]
