"""`/home`: what stands at home and how, what changes there as it does, and what was done there."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web
from pydantic import Field

from gateway.edge.api import JsonOutput, Input, Nothing, Output, QueryId, QueryLimit, Said, answer
from gateway.edge.keys import DATABASE, REGISTRY, SCOPE
from gateway.home.registry import Change, Registry
from gateway.home.things import Condition, Thing
from gateway.store import entities as rows
