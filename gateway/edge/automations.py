"""`/home/automations`: what the home does by itself, and what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import Field

from gateway.edge.api import Nothing, Output, answer
from gateway.edge.keys import AUTOMATIONS
from gateway.errors import NotFound

if TYPE_CHECKING:
    from gateway.automations import engine

PATH = "{automation:[a-z0-9_-]{1,64}}"


class Skipped(Output):
    at: datetime
    why: str


class Automation(Output):
    id: str
    alias: str
    description: str
    enabled: bool
    mode: str
    running: bool
    waiting: int = Field(description="Runs that wait for the one before them")
    last_run: datetime | None
    last_outcome: str | None = Field(description="done, stopped, failed or cancelled")
    skipped: Skipped | None = Field(description="Why it was last triggered without a run")


class LineMistake(Output):
    line: int = Field(description="Of the file, from 1; 0: of the file as a whole")
    message: str


class Automations(Output):
    file: str
    automations: list[Automation]
    error: list[LineMistake] = Field(
        description="What is wrong with the file as it is now; the automations are then those that it held before"
    )


class Step(Output):
    path: str
    kind: str
    what: str
    result: str | None
    error: str | None
    milliseconds: float


class Trace(Output):
    run: str
    started: datetime
    finished: datetime | None
    outcome: str = Field(description="done, stopped, failed or cancelled")
    trigger: dict[str, Any]
    conditions: list[str] = Field(description="Those that held")
    steps: list[Step] = Field(description="In the order in which they began")
    answer: str | None = Field(description="What the assistant said last")
    error: str | None


class Traces(Output):
    id: str
    traces: list[Trace] = Field(description="The last 20 runs, newest first")


async def listing(request: web.Request, _: Nothing) -> web.Response:
    """Every automation that is known, and what is wrong with their file."""
    return _listed(_automations(request))


async def reload(request: web.Request, _: Nothing) -> web.Response:
    """Reads the file anew, and answers as `listing` does."""
    automations = _automations(request)
    await automations.reload()
    return _listed(automations)


async def traces(request: web.Request, _: Nothing) -> web.Response:
    """The last runs of one."""
    automation_id = request.match_info["automation"]
    found = _automations(request).traces(automation_id)
    return answer(Traces(id=automation_id, traces=[Trace.model_validate(trace) for trace in found]))


def _automations(request: web.Request) -> engine.Automations:
    found = request.app[AUTOMATIONS]
    if found is None:
        raise NotFound("Automations need an MQTT broker: set MQTT_URL.")
    return found


def _listed(automations: engine.Automations) -> web.Response:
    listed = []
    for standing in automations.standings():
        automation, skipped = standing.automation, standing.skipped
        listed.append(
            Automation(
                id=automation.id,
                alias=automation.name,
                description=automation.description,
                enabled=automation.enabled,
                mode=automation.mode,
                running=standing.running,
                waiting=standing.waiting,
                last_run=standing.last_run,
                last_outcome=standing.last_outcome,
                skipped=Skipped(at=skipped[0], why=skipped[1]) if skipped is not None else None,
            )
        )
    mistakes = [LineMistake(line=mistake.line, message=mistake.message) for mistake in automations.mistakes]
    return answer(Automations(file=str(automations.path), automations=listed, error=mistakes))
