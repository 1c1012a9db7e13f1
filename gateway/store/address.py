"""Where PostgreSQL is, and as whom one connects."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg

from gateway.config import PostgresSettings

SERVING_ROLE = "ai_gateway"
CONNECT_SECONDS = 5.0
# What a connection, or the attempt at one, may fail with. (asyncpg trips over itself when one is cut at a bad moment.)
CONNECTION_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@dataclass(frozen=True, slots=True)
class Address:
    """`host` is a name, or the folder of a Unix socket. `user` owns the schema; the gateway serves as `serving`."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str

    @classmethod
    def of(cls, settings: PostgresSettings) -> Address:
        """The household's own server, as the settings name it."""
        return cls(settings.host, settings.port, settings.user, settings.password.get_secret_value(), settings.database)

    @property
    def serving(self) -> Address:
        """The same database, as the role that owns nothing and that row-level security holds.

        Its password follows from the owner's, so that every gateway of a household comes to the same one.
        """
        if self.user == SERVING_ROLE:
            return self
        password = hmac.new(self.password.encode(), SERVING_ROLE.encode(), hashlib.sha256).hexdigest()
        return replace(self, user=SERVING_ROLE, password=password)

    def arguments(self) -> dict[str, Any]:
        """What asyncpg's `connect` and `create_pool` take."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password or None,
            "database": self.database,
        }

    async def connect(self, **more: Any) -> asyncpg.Connection:
        """One connection outside any pool. Raises what asyncpg raises; the caller closes it."""
        return await asyncpg.connect(**self.arguments(), timeout=more.pop("timeout", CONNECT_SECONDS), **more)
