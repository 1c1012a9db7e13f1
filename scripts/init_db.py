#!/usr/bin/env python3
"""Prepares an empty external database: the role that the gateway serves as, the extensions, the migrations.

Connects as POSTGRES_USER (who must own the database; to make the role and the extensions for the first time, a
superuser) to POSTGRES_HOST, POSTGRES_PORT, POSTGRES_DB, with POSTGRES_PASSWORD. May be run again; the gateway's own
start does the same where it may.

    POSTGRES_HOST=localhost POSTGRES_PASSWORD=... .venv/bin/python scripts/init_db.py
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gateway import config, logs
from gateway.errors import GatewayError, SettingsError
from gateway.store import setup
from gateway.store.address import Address


def main() -> int:
    """Returns the exit code: 0 done, 1 it cannot be done, 2 the settings are wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, metavar="PATH", help=f"the settings (default: {config.DEFAULT_PATH})")
    given = parser.parse_args()
    try:
        settings = config.load(given.config)
        logs.setup(settings.log)
        if not settings.postgres.host:
            raise SettingsError(
                "POSTGRES_HOST (postgres.host) is empty; allowed: the external server's name or address"
            )
        address = Address.of(settings.postgres)
        household_id = asyncio.run(setup.prepare(settings, address))
    except SettingsError as error:
        print(error.message, file=sys.stderr)
        return 2
    except GatewayError as error:
        print(error.message, file=sys.stderr)
        return 1
    print(f"The database {address.database} at {address.host} port {address.port} is ready (household {household_id}).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
