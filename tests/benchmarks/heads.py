"""How much of a prompt the model reads again: the gateway's stable head against Home Assistant's own prompt.

    python -m tests.benchmarks.heads ../shared/data/home-assistant-requests/2026.2.3.jsonl

The recorded requests go to the embedded model, in their order, once as they are and once as the gateway would ask.
llama.cpp's own count tells how many tokens of each prompt it had read before. Tools are left out on both sides: the
embedded model knows none.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson

from gateway.config import LlmSettings
from gateway.edge import ollama
from gateway.llm.embedded import EmbeddedChat
from gateway.memory.recall import Recalled
from gateway.shapes import CacheControl, ChatRequest, Message, Scope
from gateway.turn import prompt

Asking = Callable[[dict[str, Any]], ChatRequest]


def direct(body: dict[str, Any]) -> ChatRequest:
    """The request as Home Assistant sent it."""
    messages = tuple(
        Message(message["role"] if message["role"] != "tool" else "user", message.get("content") or "")
        for message in body["messages"]
    )
    return ChatRequest(messages=messages, model="smollm2:135m", options={"num_predict": 1})


def through(body: dict[str, Any]) -> ChatRequest:
    """The request as the gateway asks it."""
    turn = ollama.from_chat({**body, "tools": []}, Scope(1), cache_control=CacheControl.DEFAULT, max_text=8000)
    asked = prompt.build(
        turn,
        model="smollm2:135m",
        head=turn.head,
        history=turn.history,
        recalled=Recalled(),
        language="en",
        say_language=False,
    )
    messages = tuple(
        Message(message.role if message.role != "tool" else "user", message.content) for message in asked.messages
    )
    return ChatRequest(messages=messages, model="smollm2:135m", options={"num_predict": 1})


async def main() -> None:
    """Prints a line a request, and the sums."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.heads")
    parser.add_argument("requests", type=Path, nargs="+", help="recorded requests, a JSON object a line")
    for file in parser.parse_args().requests:
        lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
        bodies = [line["body"] for line in lines if line["body"]]
        print(f"\n{file.name}: tokens read anew (of all), seconds to the first token")
        columns = [await measured(bodies, asking) for asking in (direct, through)]
        print(f"{'':<44}{'direct':>22}{'gateway':>22}")
        for body, *figures in zip(bodies, *columns, strict=True):
            words = next(message["content"] for message in reversed(body["messages"]) if message["role"] == "user")
            print(f"{words[:40]:<44}" + "".join(f"{new:>8} ({all_:>5}) {took:>5.1f}" for new, all_, took in figures))
        sums = [(sum(row[0] for row in column), sum(row[2] for row in column)) for column in columns]
        print(f"{'in all':<44}" + "".join(f"{tokens:>8}         {took:>5.1f}" for tokens, took in sums))


async def measured(bodies: list[dict[str, Any]], asking: Asking) -> list[tuple[int, int, float]]:
    """For each request: tokens computed, tokens in all, seconds to the first token. A model of its own, cold."""
    chat = await EmbeddedChat.load(LlmSettings())
    try:
        rows = []
        for body in bodies:
            began = time.perf_counter()
            async with aclosing(chat.stream(asking(body))) as deltas:
                async for delta in deltas:
                    if delta.finish is not None:
                        usage = delta.finish.usage
                        reused = usage.cached_prompt_tokens or 0
                        rows.append((usage.prompt_tokens - reused, usage.prompt_tokens, time.perf_counter() - began))
        return rows
    finally:
        await chat.close()


if __name__ == "__main__":
    asyncio.run(main())
