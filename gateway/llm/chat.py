"""What the gateway asks of a language model, whichever answers: Ollama (`ollama.py`) or the embedded one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Literal, Protocol

from gateway.shapes import ChatRequest, Delta

ChatKind = Literal["ollama", "embedded"]


class ChatModel(Protocol):
    """A language model that answers in a stream of deltas.

    `name` is the model asked where a client names none. `kind` says who answers.
    """

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> ChatKind: ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The answer, piece by piece; the last delta, and only that one, has `finish`.

        Closing the iterator (`aclose`), or cancelling the task that reads it, ends the generation at once; wrap it in
        `contextlib.aclosing` where the reading may stop early. An empty `request.model` means `name`.

        Raises ModelUnavailable, ModelTimeout, ModelNotFound, ModelRefused or ModelError, before the first delta or
        between two of them.
        """
        ...

    async def models(self) -> list[dict[str, Any]]:
        """The models there are, as Ollama's `/api/tags` lists them: `{"name", "model", "size", "details", ...}`.

        Raises ModelUnavailable or ModelTimeout.
        """
        ...

    async def check(self) -> None:
        """Returns when the model can be asked; raises ModelError (a subclass that says why) when it can't."""
        ...

    async def close(self) -> None:
        """Ends what generates and lets go of connections and memory. Closing twice does nothing."""
        ...
