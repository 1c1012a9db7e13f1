"""The composition root: what is opened, in which order, and closed in reverse."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aiohttp import web

from gateway import __version__
from gateway.automations.engine import Automations
from gateway.automations.house import keeping, preferring, whole
from gateway.automations.world import Assistant
from gateway.cache.law import is_question
from gateway.cache.layers import RedisLayer
from gateway.cache.responses import ResponseCache
from gateway.config import Settings
from gateway.edge import keys, ollama, routes, wire, wyoming
from gateway.edge.api import MAX_URL_BYTES
from gateway.edge.keys import Part
from gateway.edge.middleware import Tokens, middlewares
from gateway.edge.mqtt import MqttEdge
from gateway.errors import StartError, StoreUnavailable
from gateway.home.acting import Actor
from gateway.home.action_log import ActionLog
from gateway.home.history import History
from gateway.home.keeping import Keeping
from gateway.home.learning import Learning
from gateway.home.link import Link, client_id
from gateway.home.presence import Presence
from gateway.home.refusals import Refusals
from gateway.home.registry import Registry
from gateway.home.speech.intents import GATED, Commands
from gateway.llm.backends import Backends, Progress, choose
from gateway.llm.fleet import Fleet
from gateway.memory.backgrounds import Backgrounds
from gateway.memory.documents import Documents
from gateway.memory.embedder import LateEmbedder
from gateway.memory.fading import Fading
from gateway.memory.forgetting import Forgetting
from gateway.memory.indexing import VectorIndexes
from gateway.memory.knowledge import KnowledgeBase
from gateway.memory.measurements import Measurements
from gateway.memory.past import Past
from gateway.memory.preferences import Preferences
from gateway.memory.recall import Recall
from gateway.memory.spaces import Spaces
from gateway.metrics import Metrics
from gateway.parts import check_redis
from gateway.shapes import Scope
from gateway.store import households, members, setup, vectors
from gateway.store.address import Address
from gateway.store.epoch import EpochWatch
from gateway.store.journal import Journal
from gateway.store.pool import Database
from gateway.store.server import EmbeddedServer
from gateway.switches import Switches
from gateway.training.export import Export
from gateway.training.feedback import Feedback
from gateway.turn.act import Consents
from gateway.turn.cached import Cached
from gateway.turn.conversations import Conversations
from gateway.turn.figures import Figures
from gateway.turn.home import Home
from gateway.turn.language import Languages
from gateway.turn.pipeline import Pipeline
from gateway.turn.record import Recorder
from gateway.turn.understand import Understanding
from gateway.turn.warm import Warmer

log = logging.getLogger(__name__)

GARBAGE = (5_000, 10, 10)  # objects made between two looks at the youngest; ten of those for the next generation
TRY = {"text": "What is the capital of France?"}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Gateway:
    """An open gateway: its application, and what it found."""

    application: web.Application
    household_id: int
    backends: Backends
    notes: tuple[str, ...]


async def serve(settings: Settings, say: Say, progress: Progress | None = None) -> int:
    """Opens everything, serves until SIGINT or SIGTERM, and closes everything; the process' exit code.

    `say` tells the one who starts it how far it is, `progress` how far a model is that is being fetched. Raises
    StartError or SettingsError where it cannot start.
    """
    opened, stopped = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(_serve(settings, say, progress, opened, stopped), name="gateway")

    def stop() -> None:
        stopped.set()
        if not opened.is_set():
            serving.cancel()  # whoever gives up while a model is fetched need not wait for it

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        await serving
    except asyncio.CancelledError:
        if not stopped.is_set():
            raise
    say("Stopped.")
    return 0


async def _serve(
    settings: Settings, say: Say, progress: Progress | None, opened: asyncio.Event, stopped: asyncio.Event
) -> None:
    async with (
        open_gateway(settings, say, progress) as gateway,
        listening(gateway.application, settings) as port,
        listening_for_wyoming(gateway, settings),
    ):
        opened.set()
        for line in greeting(settings, gateway, port):
            say(line)
        await stopped.wait()
        say("Stopping: turns in flight are finished first.")


@asynccontextmanager
async def open_gateway(settings: Settings, say: Say, progress: Progress | None = None) -> AsyncIterator[Gateway]:
    """Opens every part in order and yields the gateway, ready to be listened on; closes them in reverse."""
    async with AsyncExitStack() as stack:
        data = data_folder(settings.data)
        metrics = Metrics()
        notes: list[str] = []

        address = await _postgres(settings, data, stack, say, notes)
        household_id = await setup.prepare(settings, address)
        database = await Database.open(address, settings.postgres, metrics)
        stack.push_async_callback(database.close)
        household = Scope(household_id)

        epoch = EpochWatch(address, household_id)
        await epoch.start()
        stack.push_async_callback(epoch.close)
        journal = Journal(data / "journal", database, settings.journal.max_bytes, metrics, epoch)
        await journal.start()
        stack.push_async_callback(journal.close)

        async with database.scoped(household) as connection:
            space = await vectors.current_space(connection)
            household_uid = await households.uid(connection)
        backends = await choose(settings, data, space, say, progress)
        stack.push_async_callback(backends.close)
        notes += backends.notes
        spaces = Spaces(database, epoch, household_id, backends.embedder, backends.open_embedder)
        stack.push_async_callback(spaces.close)
        notes += await spaces.start()

        late = LateEmbedder(database, spaces, epoch, metrics, settings.embedding, household_id)
        await stack.enter_async_context(late)
        indexes = VectorIndexes(database, address, household_id, settings.postgres.index_mb)
        await stack.enter_async_context(indexes)
        backgrounds = Backgrounds(database, spaces, epoch)
        await stack.enter_async_context(backgrounds)
        languages = Languages(settings.household.languages, data)
        knowledge = KnowledgeBase(
            database, spaces, backgrounds, journal, epoch, settings.embedding, late.wake, languages.of_text
        )

        async def documents_changed() -> None:
            await epoch.refresh()
            late.wake()

        documents = Documents(
            database, settings.documents, data / "documents", household_id, documents_changed, languages.of_text
        )
        await stack.enter_async_context(documents)
        zone = home_zone(settings.household.time_zone)

        def local_now() -> datetime:
            return datetime.now(zone)

        measurements = Measurements(database, settings.measurements, household_id, zone)
        await stack.enter_async_context(measurements)
        await stack.enter_async_context(Fading(database, knowledge, epoch, settings.memory, household_id))
        preferences = Preferences(database, journal, epoch)
        redis_url = settings.redis.url.get_secret_value()
        redis = RedisLayer(redis_url, household_uid, settings.cache.max_entries) if redis_url else None
        cache = ResponseCache(database, epoch, settings.cache, metrics, redis)
        await cache.start()
        stack.push_async_callback(cache.close)

        async def end_answers(scope: Scope) -> int:
            return await cache.clear(scope, everything=True)

        action_log = ActionLog(database)
        forgetting = Forgetting(database, knowledge, documents, journal, epoch, end_answers, action_log.write)
        fleet = Fleet(backends.servers, settings.llm, metrics)
        await fleet.start()
        stack.push_async_callback(fleet.close)
        warmer = Warmer(fleet, data / "heads.json", settings.llm.keep_alive)
        await warmer.start()
        stack.push_async_callback(warmer.close)
        switches = Switches(data / "switches.json")
        notes += [f"{name} is switched off (in {data / 'switches.json'})" for name in switches.off]
        registry = Registry()
        link = None
        if settings.mqtt.url.get_secret_value():
            link = Link(settings.mqtt, client_id(data / "mqtt-client-id"), metrics)
            history = History(registry, database, household, settings.home.history, utc_now)
            await stack.enter_async_context(history)
            kept_things = Keeping(registry, database, household, utc_now)
            await stack.enter_async_context(kept_things)
            learning = Learning(
                link, registry, settings.home, utc_now, kept_things, ids=data / "home-ids.json", metrics=metrics
            )
            await stack.enter_async_context(learning)
        commands = Commands(allowed=settings.home.allowed, kept=settings.home.left_to_model)
        # A second or two of work; a language that is heard before it is through is loaded then.
        warming = asyncio.create_task(
            asyncio.to_thread(_warm, commands, settings.household.languages), name="languages"
        )
        stack.push_async_callback(asyncio.wait, [warming])
        consents, actor, home = Consents(), None, None
        if link is not None:
            await stack.enter_async_context(action_log)
            actor = Actor(registry, link, settings.home, local_now, action_log)
            home = Home(
                registry,
                actor,
                # What is guarded is asked for before it is moved: none of it need be left to the model.
                Commands(allowed=GATED, kept=settings.home.left_to_model),
                consents,
                now=local_now,
                model_acts=lambda: fleet.kind != "embedded",
                reachable=lambda: link.connected,
            )
        recorder = Recorder(journal, metrics, switches, words=settings.log.words)
        pipeline = Pipeline(
            settings=settings,
            conversations=Conversations(database, journal, settings.recall),
            preferences=preferences,
            languages=languages,
            understanding=Understanding(knowledge, preferences, forgetting, commands, consents, home),
            cached=Cached(cache, epoch, settings.cache, zone, switches),
            recall=Recall(
                knowledge,
                preferences,
                Past(database, measurements, is_question),
                settings.recall,
                now=local_now,
            ),
            fleet=fleet,
            warmer=warmer,
            recorder=recorder,
            home=home,
        )

        automations: Automations | None = None
        if link is not None:
            assistant = Assistant(
                household,
                registry,
                link,
                actor,
                whole(pipeline),
                keeping(knowledge, household),
                preferring(preferences, household),
                lambda: recorder.last_question,
            )
            automations = Automations(
                settings.home.automations_file,
                data / "automations",
                assistant,
                local_now,
                settings.household.languages[0],
            )
            await stack.enter_async_context(automations)

        async def embeddings() -> str | None:
            await spaces.check()
            return str(late.progress) if late.progress else None

        parts = {
            "postgres": Part(database.check),
            "journal": Part(journal.check),
            "chat": Part(fleet.check, needed=True),
            **{f"chat at {name}": Part(check) for name, check in fleet.checks().items()},
            "embeddings": Part(embeddings),
        }
        if redis_url:
            parts["redis"] = Part(lambda: check_redis(redis_url))
        if link is not None:
            parts["mqtt"] = Part(link.check)

        async def find_member(token_hash: bytes) -> Scope | None:
            try:
                # Whoever was known a while ago is believed while the database is away: also where it only hangs.
                async with asyncio.timeout(settings.recall.seconds), database.unscoped() as connection:
                    return await members.by_token_hash(connection, token_hash)
            except TimeoutError as error:
                raise StoreUnavailable("PostgreSQL does not say whose token this is", retry_after=1) from error

        async def member_named(name: str) -> Scope | None:
            async with database.scoped(household) as connection:
                return await members.by_name(connection, name)

        feedback = Feedback(database, journal, epoch)
        if link is not None:
            refusals = Refusals(link, metrics)
            presence = Presence(
                link=link,
                refusals=refusals,
                switches=switches,
                figures=Figures(database, cache, fleet, household, zone),
                clear_cache=lambda: end_answers(household),
                warm_model=warmer.warm,
                household_uid=household_uid,
                show_words=settings.home.show_words,
            )
            await stack.enter_async_context(presence)
            recorder.listen(presence.heard)
            edge = MqttEdge(
                link=link,
                refusals=refusals,
                pipeline=pipeline,
                knowledge=knowledge,
                feedback=feedback,
                tokens=Tokens(find_member),
                household=household,
                settings=settings,
            )
            await stack.enter_async_context(edge)

        application = web.Application(
            middlewares=middlewares(settings.server, household_id, find_member),
            client_max_size=settings.server.max_body_bytes,
        )
        application[keys.SETTINGS] = settings
        application[keys.DATABASE] = database
        application[keys.HOUSEHOLD] = household_id
        application[keys.JOURNAL] = journal
        application[keys.EPOCH] = epoch
        application[keys.KNOWLEDGE] = knowledge
        application[keys.DOCUMENTS] = documents
        application[keys.MEASUREMENTS] = measurements
        application[keys.FORGETTING] = forgetting
        application[keys.PREFERENCES] = preferences
        application[keys.FEEDBACK] = feedback
        application[keys.EXPORT] = Export(database)
        application[keys.CACHE] = cache
        application[keys.CHAT] = fleet
        application[keys.SPACES] = spaces
        application[keys.REGISTRY] = registry
        application[keys.LINK] = link
        application[keys.AUTOMATIONS] = automations
        application[keys.PIPELINE] = pipeline
        application[keys.SWITCHES] = switches
        application[keys.METRICS] = metrics
        application[keys.PARTS] = parts
        application[wire.MEMBER_NAMED] = member_named
        application[ollama.MODELS] = ollama.KnownModels(fleet)
        routes.register(application)
        if link is not None:
            # Now that everyone listens: the broker begins with what it kept for us.
            await stack.enter_async_context(link)
            stack.push_async_callback(edge.finish)
        yield Gateway(application, household_id, backends, tuple(notes))


@asynccontextmanager
async def listening(application: web.Application, settings: Settings) -> AsyncIterator[int]:
    """Listens on the settings' address and yields the port; at the end lets turns in flight finish."""
    runner = web.AppRunner(
        application,
        handler_cancellation=True,  # a client that goes away cancels its generation
        shutdown_timeout=settings.server.shutdown_seconds,
        access_log=None,
        max_line_size=MAX_URL_BYTES,
    )
    await runner.setup()
    try:
        host, port = settings.server.host, settings.server.port
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
        except OSError as error:
            raise StartError(
                f"cannot listen on {host} port {port}: {error.strerror or error}; set GATEWAY_HOST or GATEWAY_PORT, or "
                "stop what listens there"
            ) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@asynccontextmanager
async def listening_for_wyoming(gateway: Gateway, settings: Settings) -> AsyncIterator[int | None]:
    """Listens for Wyoming, where the settings want it, and yields the port."""
    if not settings.wyoming.enabled:
        yield None
        return
    async with wyoming.listening(
        gateway.application[keys.PIPELINE],
        Scope(gateway.household_id),
        settings.server,
        host=settings.wyoming.host or settings.server.host,
        port=settings.wyoming.port,
        languages=settings.household.languages,
        data=data_folder(settings.data),
        max_connections=settings.wyoming.max_connections,
        idle_seconds=settings.wyoming.idle_seconds,
    ) as port:
        log.info("Wyoming, Home Assistant's voice protocol, on port %d", port)
        yield port


def greeting(settings: Settings, gateway: Gateway, port: int) -> list[str]:
    """What is said at the start: the address, what was found, what runs embedded, and a line to try."""
    host = settings.server.host
    near = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 (compared, not bound)
    url = f"http://[{near}]:{port}" if ":" in near else f"http://{near}:{port}"
    lines = [f"ai-gateway {__version__} answers at {url}"]
    chat, embedder = gateway.backends.chat, gateway.backends.embedder
    lines.append(f"  language model: {chat.name} ({chat.kind}); embeddings: {embedder.space.model}")
    lines += [f"  {note}" for note in gateway.notes]
    lines += [
        f"  data: {settings.data.absolute()}",
        "Ask it something:",
        f"  curl -s {url}/conversation -H 'Content-Type: application/json' -d '{json.dumps(TRY)}'",
    ]
    return lines


def home_zone(name: str) -> tzinfo:
    """The zone of that name; empty: this machine's, with its summer time, as far as it tells."""
    if name:
        return ZoneInfo(name)
    try:
        if variable := os.environ.get("TZ", "").removeprefix(":"):
            return ZoneInfo(variable)
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return UTC


def data_folder(folder: Path) -> Path:
    """The data folder, made if need be. Raises StartError where it cannot be written."""
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StartError(
            f"the data folder {folder} cannot be made ({error.strerror}); set GATEWAY_DATA to one that can"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StartError(f"the data folder {folder} cannot be written; set GATEWAY_DATA to one that can")
    return folder


def utc_now() -> datetime:
    return datetime.now(UTC)


def _warm(home: Commands, languages: Sequence[str]) -> None:
    home.warm(languages)
    # The sentences stay for good: the garbage collector need not walk through them while somebody waits (a recognition
    # that it came into took twenty times as long).
    gc.collect()
    gc.freeze()
    # A turn makes some hundred objects and hardly a cycle: to look for garbage at every other turn finds none.
    gc.set_threshold(*GARBAGE)


async def _postgres(settings: Settings, data: Path, stack: AsyncExitStack, say: Say, notes: list[str]) -> Address:
    if settings.postgres.host:
        notes.append(f"PostgreSQL: {settings.postgres.host} port {settings.postgres.port}")
        return Address.of(settings.postgres)
    say("Starting the embedded PostgreSQL ...")
    server = EmbeddedServer(data / "postgres", database=settings.postgres.database)
    await stack.enter_async_context(server)
    notes.append("PostgreSQL: embedded (set POSTGRES_HOST for your own)")
    return server.address
