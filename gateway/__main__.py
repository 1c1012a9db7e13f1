"""`python -m gateway`: serve, and the operator's commands. 0: well; 1: it cannot be done; 2: the settings are wrong."""

from __future__ import annotations

import argparse
import hashlib
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from gateway import __version__, config, logs
from gateway.config import Settings
from gateway.errors import GatewayError, PayloadTooLarge, SettingsError
from gateway.metrics import Metrics
from gateway.shapes import Scope
from gateway.store import members, migrations, setup, vectors
from gateway.store.examination import household_database
from gateway.store.pool import Database

if TYPE_CHECKING:
    from gateway.memory.documents import Documents

Command = Callable[[Settings, argparse.Namespace], Coroutine[Any, Any, int]]

TOKEN_BYTES = 32  # of randomness: nobody guesses it, so an unsalted hash keeps it safe
NAME_CHARACTERS = 200
TAG_CHARACTERS = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that `arguments` (default: the process' own) name, and returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        settings = config.load(given.config)
        logs.setup(settings.log)
        command: Command = given.command
        return uvloop.run(command(settings, given))
    except SettingsError as error:
        print(error.message, file=sys.stderr)
        return 2
    except GatewayError as error:
        print(error.message, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway",
        description="A gateway between the home's voice assistant and its language model: it acts, remembers, caches.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    with_config = argparse.ArgumentParser(add_help=False)
    for place, default in ((parser, None), (with_config, argparse.SUPPRESS)):
        # Before the command's name or after it; there without a default, which would hide the other.
        place.add_argument(
            "--config",
            type=Path,
            metavar="PATH",
            default=default,
            help=f"the settings (default: {config.DEFAULT_PATH})",
        )
    parser.set_defaults(command=_serve)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    serve = commands.add_parser("serve", parents=[with_config], help="answer turns, until Ctrl-C or SIGTERM (default)")
    serve.set_defaults(command=_serve)

    migrate = commands.add_parser("migrate", parents=[with_config], help="bring the database's schema to this version")
    migrate.add_argument("--down", type=_count, default=0, metavar="N", help="take back the last N migrations instead")
    migrate.set_defaults(command=_migrate)

    doctor = commands.add_parser("doctor", parents=[with_config], help="try every part, and say what to do")
    doctor.set_defaults(command=_doctor)

    ingest = commands.add_parser("ingest", parents=[with_config], help="take documents in: files, or folders of them")
    ingest.add_argument("paths", type=Path, nargs="+", metavar="PATH")
    ingest.add_argument(
        "--folder", type=_name, metavar="NAME", help="keep them in this folder (default: the path's own)"
    )
    ingest.add_argument(
        "--tag", type=_tag, action="append", default=[], metavar="TAG", help="may be given several times"
    )
    ingest.add_argument("--member", type=_name, metavar="NAME", help="this member's own (default: everyone's)")
    ingest.set_defaults(command=_ingest)

    spaces = commands.add_parser(
        "spaces", parents=[with_config], help="which embedding models the memory has vectors of; lists them"
    )
    spaces.set_defaults(command=_spaces)
    of_spaces = spaces.add_subparsers(title="commands", metavar="COMMAND")
    use = of_spaces.add_parser("use", parents=[with_config], help="search this one from now on; the other is set aside")
    use.add_argument("id", type=_id, metavar="ID")
    use.set_defaults(command=_spaces_use)
    drop = of_spaces.add_parser("drop", parents=[with_config], help="throw away one that is not in use")
    drop.add_argument("id", type=_id, metavar="ID")
    drop.set_defaults(command=_spaces_drop)

    automations = commands.add_parser("automations", help="what the home does by itself: check the file, try one")
    of_automations = automations.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = of_automations.add_parser("check", parents=[with_config], help="whether the file is right; names the lines")
    check.set_defaults(command=_automations_check)
    run = of_automations.add_parser(
        "run", parents=[with_config], help="try one: says what it would do, and does nothing"
    )
    run.add_argument("id", metavar="ID")
    run.add_argument("--payload", default="", metavar="TEXT", help="the message that triggers it")
    run.add_argument("--topic", metavar="TOPIC", help="that message's topic (default: the trigger's)")
    run.add_argument("--from", dest="before", metavar="STATE", help="what the thing was before, for a state trigger")
    run.add_argument("--to", metavar="STATE", help="what it became")
    for option, words in (
        ("state", "how a thing stands (light.hall=on)"),
        ("known", "one of its topics (weather=rain)"),
    ):
        run.add_argument(
            f"--{option}", type=_pair, action="append", default=[], metavar="NAME=TEXT", help=f"{words}; several times"
        )
    run.add_argument("--at", type=_moment, metavar="TIME", help="when it is (2026-03-01T07:30; default: now)")
    run.add_argument("--question", metavar="TEXT", help="the last question that was asked")
    run.add_argument("--answer", default="(the assistant's answer)", metavar="TEXT", help="what the assistant answers")
    run.set_defaults(command=_automations_run)

    member = commands.add_parser("member", help="people with a token, and so a memory, of their own")
    actions = member.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add = actions.add_parser("add", parents=[with_config], help="make a member; shows the token, this once")
    add.add_argument("name", type=_name)
    add.set_defaults(command=_member_add)
    listing = actions.add_parser("list", parents=[with_config], help="who there is")
    listing.set_defaults(command=_member_list)
    revoke = actions.add_parser("revoke", parents=[with_config], help="end a member's token; what they told stays")
    revoke.add_argument("name", type=_name)
    revoke.set_defaults(command=_member_revoke)
    return parser


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2026-03-01T07:30") from None


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=TEXT")
    return name, value


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of migrations")
    return int(text)


def _id(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no id")
    return int(text)


def _name(text: str) -> str:
    if not text.strip() or len(text) > NAME_CHARACTERS or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no name of 1 to {NAME_CHARACTERS} printable characters")
    return text.strip()


def _tag(text: str) -> str:
    if "," in text or len(text) > TAG_CHARACTERS:
        raise argparse.ArgumentTypeError(f"{text!r} is no tag of 1 to {TAG_CHARACTERS} characters without commas")
    return _name(text)


async def _serve(settings: Settings, _: argparse.Namespace) -> int:
    from gateway import app  # the whole gateway, which no other command needs

    # A bar is for a person; a log hears of every tenth.
    bars = _Bars() if sys.stdout.isatty() else None
    return await app.serve(settings, lambda line: print(line, flush=True), bars)


class _Bars:
    """Shows how far the models are that are being fetched, while one is."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), transient=True
        )
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, completed: int, total: int) -> None:
        if what not in self._tasks:
            self._bars.start()
            self._tasks[what] = self._bars.add_task(what)
        self._bars.update(self._tasks[what], completed=completed, total=total or None)
        if self._bars.finished:
            self._bars.stop()


async def _migrate(settings: Settings, given: argparse.Namespace) -> int:
    async with household_database(settings) as address:
        if given.down:
            owner = await setup.connect_owner(address, settings.postgres.start_seconds)
            try:
                taken_back = await migrations.migrate(owner, down=given.down)
            finally:
                await owner.close()
            print("\n".join(f"took back: {name}" for name in taken_back) or "There is nothing to take back.")
            return 0
        await setup.prepare(settings, address)
    print("The database is up to date.")
    return 0


async def _doctor(settings: Settings, _: argparse.Namespace) -> int:
    from gateway import doctor

    return await doctor.run(settings)


async def _ingest(settings: Settings, given: argparse.Namespace) -> int:
    from gateway.app import data_folder
    from gateway.memory.documents import Documents, files_below
    from gateway.turn.language import Languages

    for path in given.paths:
        if not path.exists():
            print(f"{path} is not there", file=sys.stderr)
            return 1
    files = [(file, given.folder or folder) for path in given.paths for file, folder in files_below(path)]
    if not files:
        print("There is no document that could be read.", file=sys.stderr)
        return 1
    data = data_folder(settings.data)
    language_of = Languages(settings.household.languages, data).of_text
    async with household_database(settings) as address:
        household_id = await setup.prepare(settings, address)
        database = await Database.open(address, settings.postgres, Metrics())
        try:
            scope = await _whose(database, Scope(household_id), given.member)
            if scope is None:
                print(f"{given.member} is no member; python -m gateway member list tells who is", file=sys.stderr)
                return 1
            # A gateway that runs hears of what changed from the database.
            documents = Documents(database, settings.documents, data / "documents", household_id, _nothing, language_of)
            return await _take_in(documents, scope, files, given.tag)
        finally:
            await database.close()


async def _nothing() -> None:
    pass


async def _whose(database: Database, household: Scope, name: str | None) -> Scope | None:
    if name is None:
        return household
    async with database.scoped(household) as connection:
        return await members.by_name(connection, name)


async def _take_in(
    documents: Documents, scope: Scope, files: Sequence[tuple[Path, str | None]], tags: Sequence[str]
) -> int:
    known = failed = passages = 0
    with Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    ) as bar:
        task = bar.add_task("", total=len(files))
        for path, folder in files:
            bar.update(task, description=path.name[:40])
            try:
                document, new = await documents.take_in(scope, path, folder=folder, tags=tags)
            except PayloadTooLarge as error:
                print(f"{path}: {error.message}", file=sys.stderr)
                failed += 1
            else:
                if document.state == "failed":
                    print(f"{path} {document.reason}", file=sys.stderr)
                failed += document.state == "failed"
                known += not new
                passages += document.passages if new else 0
            bar.advance(task)
    taken = len(files) - known - failed
    print(f"{taken} taken in ({passages} passages), {known} known already, {failed} failed.")
    if passages:
        print("Found by their words at once, by their meaning when the gateway, running, has made their vectors.")
    return 1 if failed else 0


async def _automations_check(settings: Settings, _: argparse.Namespace) -> int:
    from gateway.automations.reading import read

    file = settings.home.automations_file
    found = read(file)  # a mistake ends it with the lines
    if not file.exists():
        print(f"{file} is not there: nothing is done by itself.")
        return 0
    for automation in found:
        print(f"{automation.id}: {automation.name}{'' if automation.enabled else ' (not enabled)'}")
    print(f"{file} is right: {len(found)} automations, {sum(one.enabled for one in found)} enabled.")
    return 0


async def _automations_run(settings: Settings, given: argparse.Namespace) -> int:
    from gateway.app import home_zone
    from gateway.automations.reading import read
    from gateway.automations.trial import Assumed, attempt
    from gateway.home.guarding import Guard

    found = {automation.id: automation for automation in read(settings.home.automations_file)}
    if given.id not in found:
        print(f"there is no automation {given.id}; there are: {', '.join(found) or 'none'}", file=sys.stderr)
        return 1
    zone = home_zone(settings.household.time_zone)
    assumed = Assumed(
        payload=given.payload,
        topic=given.topic,
        before=given.before,
        to=given.to,
        states=dict(given.state),
        topics=dict(given.known),
        question=given.question,
        answer=given.answer,
        language=settings.household.languages[0],
    )
    at = given.at.replace(tzinfo=zone) if given.at is not None else None
    trace = await attempt(found[given.id], assumed, Guard.of(settings.home), lambda: at or datetime.now(zone), print)
    if trace is None:
        return 1
    print(f"{trace.outcome}{f': {trace.error}' if trace.error else ''}")
    return 1 if trace.outcome == "failed" else 0


@asynccontextmanager
async def _as_owner(settings: Settings) -> AsyncIterator[tuple[Any, int]]:
    """A connection as the schema's owner to the prepared database, and the household's id."""
    async with household_database(settings) as address:
        household_id = await setup.prepare(settings, address)
        owner = await setup.connect_owner(address, settings.postgres.start_seconds)
        try:
            yield owner, household_id
        finally:
            await owner.close()


async def _spaces(settings: Settings, _: argparse.Namespace) -> int:
    async with _as_owner(settings) as (owner, household_id):
        found = await vectors.sizes(owner, household_id)
    if not found:
        print("There is no embedding space yet: the first start of the gateway makes it.")
        return 0
    table = Table(box=None, pad_edge=False)
    for column in ("id", "model", "dimensions", "state", "vectors", "missing", "size"):
        table.add_column(column, justify="left" if column in ("model", "state") else "right")
    for size in found:
        space, state = size.stored.space, size.stored.state.replace("_", " ")
        row = (size.stored.id, space.model, space.dimensions, state, size.vectors, size.missing)
        table.add_row(*map(str, row), f"{size.bytes / 1e6:.1f} MB")
    Console(markup=False, highlight=False, soft_wrap=True).print(table)
    return 0


async def _spaces_use(settings: Settings, given: argparse.Namespace) -> int:
    async with _as_owner(settings) as (owner, household_id):
        await vectors.go_to(owner, household_id, given.id)
        found = await vectors.sizes(owner, household_id)
    used = next(size for size in found if size.stored.id == given.id)
    print(f"The memory is searched with {used.stored.space.model}, {used.stored.space.dimensions} wide, from now on.")
    if used.missing:
        print(f"Without a vector in it: {used.missing}; found by their words until a running gateway has made them.")
    return 0


async def _spaces_drop(settings: Settings, given: argparse.Namespace) -> int:
    async with _as_owner(settings) as (owner, household_id):
        await vectors.drop(owner, household_id, given.id)
    print(f"The space {given.id} and its vectors are gone.")
    return 0


async def _member_add(settings: Settings, given: argparse.Namespace) -> int:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    async with _as_owner(settings) as (owner, household_id):
        await members.add(owner, household_id, given.name, hashlib.sha256(token.encode()).digest())
    print(f"{given.name} is a member. The token, shown this once:\n\n    {token}\n")
    print(f"Sent as:  Authorization: Bearer {token}")
    return 0


async def _member_list(settings: Settings, _: argparse.Namespace) -> int:
    async with _as_owner(settings) as (owner, household_id):
        found = await members.listing(owner, household_id)
    if not found:
        print("There is no member yet: python -m gateway member add NAME")
        return 0
    table = Table("name", "role", "since", "token", box=None, pad_edge=False)
    for member in found:
        ended = f"revoked {member.revoked_at:%Y-%m-%d}" if member.revoked_at else "valid"
        table.add_row(member.name, member.role, f"{member.created_at:%Y-%m-%d}", ended)
    Console(markup=False, highlight=False).print(table)
    return 0


async def _member_revoke(settings: Settings, given: argparse.Namespace) -> int:
    async with _as_owner(settings) as (owner, household_id):
        ended = await members.revoke(owner, household_id, given.name)
    if not ended:
        print(f"{given.name} has no token; python -m gateway member list tells who has", file=sys.stderr)
        return 1
    print(f"The token of {given.name} has ended.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
