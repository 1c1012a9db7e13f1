"""A scripted model server of realistic pace, as a program: it begins after a while, and then says a word at a time.

    python -m tests.benchmarks.paced_model PORT COUNT_PORT

At COUNT_PORT `GET /asked` tells how many chats came so far.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvloop
from aiohttp import web

from tests.benchmarks.floor import serve
from tests.scripted_model import Answer, ScriptedModel, Step, last_user

# A model of four billion parameters on a small graphics card, its prompt's head read before.
FIRST_SECONDS = 0.2
WORD_SECONDS = 0.025
WORDS = ("It", "is", "told", "in", "the", "books", "of", "the", "library,", "which", "say", "of", "it:")


class PacedModel(ScriptedModel):
    """Answers every chat in a sentence that ends with the question."""

    asked = 0

    def paced(self, body: dict[str, Any]) -> Answer:
        """An answer that waits for the clock before each word."""
        self.asked += 1
        self.requests.clear()  # nobody looks at them, and a load has many
        loop = asyncio.get_running_loop()
        steps: list[Step] = []
        for position, word in enumerate([*WORDS, last_user(body)]):
            due = asyncio.Event()
            loop.call_later(FIRST_SECONDS + position * WORD_SECONDS, due.set)
            steps += [due, f"{word} "]
        return Answer(*steps)


async def main(port: int, count_port: int) -> None:
    """Serves until it is killed."""
    model = PacedModel()
    model.answer = model.paced
    await model.start(port)

    async def asked(_: web.Request) -> web.Response:
        return web.json_response(model.asked)

    counts = web.Application()
    counts.router.add_get("/asked", asked)
    await serve(counts, count_port)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
