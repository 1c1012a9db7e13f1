"""The scripted model as a program of its own, to be killed and stopped: `python -m tests.faults.model_server PORT`.

It says what it heard. Asked for something "slowly" it says "Once upon " and nothing more.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from tests.scripted_model import HANG, Answer, ScriptedModel, last_user


def answer(body: dict[str, Any]) -> Answer:
    heard = last_user(body)
    return Answer("Once ", "upon ", HANG) if "slowly" in heard else Answer("I heard: ", heard)


async def main(port: int) -> None:
    model = ScriptedModel(answer=answer)
    await model.start(port)
    print("listening", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
