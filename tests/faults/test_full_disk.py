"""The disk under the journal is full, for real: a small file system in memory, where the test may mount one."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.edge import keys
from gateway.errors import JournalFull
from gateway.turn.phrases import phrase
from tests.faults.proxy import Proxy
from tests.house import House, speech

HANGS = 60.0
BYTES = 65_536


@pytest.fixture
def journal_folder(settings: Settings) -> Iterator[Path]:
    folder = settings.data / "journal"
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={BYTES}", "none", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here: only root may")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
async def house(journal_folder: Path, house: House) -> House:
    """The gateway, on that folder."""
    return house


def fill(folder: Path) -> Path:
    """Takes all the room that is left."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 512):
                pass
        except OSError:
            return ballast
    return ballast


async def refused(house: House) -> float:
    async with house.client.get("/metrics") as response:
        for line in (await response.text()).splitlines():
            if line.startswith("gateway_journal_refused_total"):
                return float(line.split()[1])
    raise AssertionError("no such figure")


async def test_a_full_disk_silences_nobody_and_loses_nothing_that_was_kept(
    house: House, journal_folder: Path, postgres_proxy: Proxy
) -> None:
    async with asyncio.timeout(HANGS):
        await house.say("Explain the number 0")
        postgres_proxy.refuse()
        kept = ["Explain the number 0"]
        for number in range(1, 5):
            await house.say(f"Explain the number {number}")
            kept.append(f"Explain the number {number}")
        ballast = fill(journal_folder)
        before = await refused(house)
        for number in range(5, 40):
            reply = await house.say(f"Explain the number {number}")
            assert speech(reply).startswith("I heard: "), "answered, kept or not"
            if (now := await refused(house)) == before:
                kept.append(f"Explain the number {number}")  # there was room in the last block
            before = now
        assert before > 0
        small = {"kind": "preference", "household_id": house.gateway.household_id, "key": "k", "value": 1}
        with suppress(JournalFull):  # until what is left of the last block is full as well
            while True:
                house.gateway.application[keys.JOURNAL].append(small)
        for language, text in (
            ("en", "Remember that the key is under the mat"),
            ("fr", "Retiens que la clé est sous le paillasson"),
            ("pl", "Zapamiętaj, że klucz jest pod wycieraczką"),
        ):
            assert speech(await house.say(text)) == phrase(language, "memory_full")
        async with house.client.post("/memory/add", json={"content": "Tea is at five"}) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (503, "journal_full")
            assert "Retry-After" in response.headers
        async with house.client.get("/readyz") as response:
            ready = await response.json()
        assert ready["status"] == "degraded"
        assert "the disk is full" in ready["parts"]["journal"]["message"]

        postgres_proxy.serve()
        assert await house.gateway.application[keys.JOURNAL].flush(HANGS), "it drains without room, too"
        ballast.unlink()
        await house.say("Explain the number 99")
        kept.append("Explain the number 99")
        rows = await house.logged()
        asked = [row["content"] for row in rows if row["role"] == "user" and row["content"].startswith("Explain")]
        assert asked == kept
        assert await house.admin.fetchval("SELECT count(*) FROM knowledge") == 0
        async with house.client.get("/readyz") as response:
            assert (await response.json())["parts"]["journal"]["ok"] is True
