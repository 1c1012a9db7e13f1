"""The settings: `config/gateway.yaml`, the environment over it, checked once, frozen, and passed on."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from gateway.errors import SettingsError

DEFAULT_PATH = Path("config/gateway.yaml")
DEFAULT_OLLAMA_URL = "http://127.0.0.1:11434"
OPEN_TO_ANYONE = "anyone on this network may read and change this household's memory"
E5_DIMENSIONS = 384
NOMIC_DIMENSIONS = 768

Backend = Literal["auto", "ollama", "embedded"]
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]

# The owner's names for what the environment may set, each with the place of the setting.
ENVIRONMENT: Mapping[str, tuple[str, ...]] = {
    "GATEWAY_DATA": ("data",),
    "GATEWAY_HOST": ("server", "host"),
    "GATEWAY_PORT": ("server", "port"),
    "GATEWAY_WYOMING_PORT": ("wyoming", "port"),
    "GATEWAY_TRUSTED_NETWORKS": ("server", "trusted_networks"),
    "GATEWAY_ALLOWED_HOSTS": ("server", "allowed_hosts"),
    "GATEWAY_LOG_LEVEL": ("log", "level"),
    "POSTGRES_HOST": ("postgres", "host"),
    "POSTGRES_PORT": ("postgres", "port"),
    "POSTGRES_USER": ("postgres", "user"),
    "POSTGRES_PASSWORD": ("postgres", "password"),
    "POSTGRES_DB": ("postgres", "database"),
    "REDIS_URL": ("redis", "url"),
    "MQTT_URL": ("mqtt", "url"),
    "OLLAMA_URL": ("ollama", "url"),
    "LLM_BACKEND": ("llm", "backend"),
    "LLM_MODEL": ("llm", "model"),
    "EMBEDDING_BACKEND": ("embedding", "backend"),
    "EMBEDDING_MODEL": ("embedding", "model"),
    "EMBEDDING_DIMENSIONS": ("embedding", "dimensions"),
    "CACHE_TTL_SECONDS": ("cache", "ttl_seconds"),
    "CACHE_MAX_ENTRIES": ("cache", "max_entries"),
}
# Variables that may name a file holding the value, as container secrets do.
SECRETS = ("POSTGRES_PASSWORD", "REDIS_URL", "MQTT_URL")
LISTS = ("GATEWAY_TRUSTED_NETWORKS", "GATEWAY_ALLOWED_HOSTS")
# Places whose value may hold a password and is never shown.
HIDDEN = {("postgres", "password"), ("redis", "url"), ("mqtt", "url")}


class Section(BaseModel):
    """A part of the settings: no unknown keys, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ServerSettings(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    trusted_networks: tuple[str, ...] = ()
    believed_networks: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    open_to_anyone: str = ""
    max_body_bytes: Positive = 1_048_576
    max_image_bytes: Positive = 16_777_216
    max_text_characters: Positive = 8000
    max_connections: Positive = 512
    shutdown_seconds: Annotated[float, Field(ge=0)] = 10

    @field_validator("trusted_networks", "believed_networks")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ValueError(f"a list of networks such as 192.168.1.0/24 ({error})") from error
        return networks

    @field_validator("open_to_anyone")
    @classmethod
    def _in_words(cls, words: str) -> str:
        if words not in ("", OPEN_TO_ANYONE):
            raise ValueError(f'empty, or these very words: "{OPEN_TO_ANYONE}"')
        return words


class PostgresSettings(Section):
    host: str = ""
    port: Annotated[int, Field(gt=0, le=65535)] = 5432
    user: str = "ai_assistant"
    password: SecretStr = SecretStr("")
    database: str = "ai_assistant"
    pool_size: Annotated[int, Field(ge=2, le=100)] = 8
    acquire_seconds: Seconds = 5.0
    statement_seconds: Seconds = 10.0
    start_seconds: Seconds = 30.0
    index_mb: Annotated[int, Field(ge=1, le=65536)] = 256


class RedisSettings(Section):
    url: SecretStr = SecretStr("")


class MqttSettings(Section):
    url: SecretStr = SecretStr("")
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    buffer: Positive = 1000
    turns: Positive = 8

    @field_validator("url")
    @classmethod
    def _broker(cls, url: SecretStr) -> SecretStr:
        try:
            parts = urlsplit(url.get_secret_value())
            fine = parts.scheme in ("mqtt", "mqtts") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fine = False
        if url.get_secret_value() and not fine:
            raise ValueError("an address such as mqtt://127.0.0.1:1883 or mqtts://user:password@broker")
        return url


class WyomingSettings(Section):
    enabled: bool = True
    host: str = ""
    port: Annotated[int, Field(ge=0, le=65535)] = 10700
    max_connections: Positive = 64
    idle_seconds: Seconds = 300.0


class OllamaSettings(Section):
    url: str = ""
    pull: bool = True

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        return _web_address(url) if url else url


class LlmServerSettings(Section):
    url: str
    models: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    parallel: Positive = 1

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        return _web_address(url)


class LlmSettings(Section):
    backend: Backend = "auto"
    model: Annotated[str, Field(min_length=1)] = "qwen3:4b-instruct"
    system_prompt: str = "You are the voice assistant of this home. Answer truthfully, briefly and in plain text."
    context_tokens: Annotated[int, Field(ge=512)] = 8192
    keep_alive: str = "30m"
    answer_tokens: Positive = 512
    parallel: Positive = 1
    servers: tuple[LlmServerSettings, ...] = ()
    queue_size: Annotated[int, Field(ge=0)] = 16
    queue_seconds: Seconds = 30.0
    voice_queue_seconds: Seconds = 15.0
    connect_seconds: Seconds = 5.0
    first_token_seconds: Seconds = 120.0
    between_tokens_seconds: Seconds = 60.0
    total_seconds: Seconds = 300.0

    @field_validator("servers")
    @classmethod
    def _each_once(cls, servers: tuple[LlmServerSettings, ...]) -> tuple[LlmServerSettings, ...]:
        if len({server.url for server in servers}) < len(servers):
            raise ValueError("each server once; how many turns it answers at once is its parallel")
        return servers


class EmbeddingSettings(Section):
    backend: Backend = "auto"
    model: Annotated[str, Field(min_length=1)] = "nomic-embed-text"
    dimensions: Annotated[int, Field(ge=32, le=4096)] = 384
    query_seconds: Seconds = 2.0
    document_seconds: Seconds = 60.0
    batch_size: Annotated[int, Field(gt=0, le=512)] = 32


class HouseholdSettings(Section):
    name: Annotated[str, Field(min_length=1, max_length=200)] = "Home"
    languages: Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")], ...], Field(min_length=1)] = (
        "en",
        "fr",
        "pl",
    )
    time_zone: str = ""

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name:
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise ValueError("a time zone such as Europe/Warsaw, or empty") from error
        return name


class HistoryRule(Section):
    """Which things' past is kept, and how. `of`: domains, ids, or patterns of ids."""

    of: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    to: Literal["measurements", "events", "nothing"]
    every: Annotated[float, Field(ge=0)] = 60.0
    change: Annotated[float, Field(ge=0)] = 0.0


class HomeSettings(Section):
    allowed: tuple[str, ...] = ()
    left_to_model: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ()
    confirm_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    entities_file: Path = Path("config/entities.yaml")
    zigbee2mqtt_topics: tuple[Annotated[str, Field(pattern="^[^#+/][^#+]*$")], ...] = ("zigbee2mqtt",)
    statestream_topic: Annotated[str, Field(pattern="^[^#+/][^#+]*$")] = "homeassistant/statestream"
    history: tuple[HistoryRule, ...] = ()
    show_words: bool = False
    automations_file: Path = Path("config/automations.yaml")


class CacheSettings(Section):
    ttl_seconds: Annotated[int, Field(ge=0)] = 3600
    max_entries: Positive = 1000


class RecallSettings(Section):
    seconds: Seconds = 1.5
    preference_tokens: Annotated[int, Field(ge=0)] = 300
    knowledge_tokens: Annotated[int, Field(ge=0)] = 1000
    candidates: Annotated[int, Field(gt=0, le=200)] = 15
    min_score: Annotated[float, Field(ge=-1, le=1)] | None = None
    history_turns: Annotated[int, Field(ge=0, le=100)] = 6
    history_minutes: Positive = 30


class MemorySettings(Section):
    half_life_days: Annotated[float, Field(ge=0, le=36500)] = 365.0
    archive_below: Annotated[float, Field(ge=0, le=1)] = 0.1
    archive_days: Annotated[float, Field(ge=0, le=36500)] = 365.0


class DocumentSettings(Section):
    max_bytes: Positive = 104_857_600
    max_pages: Positive = 5000
    passage_characters: Annotated[int, Field(ge=100, le=4000)] = 500
    overlap_characters: Annotated[int, Field(ge=0, le=1000)] = 50
    read_seconds: Positive = 600
    read_megabytes: Annotated[int, Field(ge=128)] = 512


class MeasurementSettings(Section):
    keep_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    keep_events_days: Annotated[int, Field(ge=0, le=36_500)] = 0


class JournalSettings(Section):
    max_bytes: Annotated[int, Field(ge=65536)] = 67_108_864


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    words: bool = False


class Settings(Section):
    """Everything that can be set, with its default."""

    data: Path = Path("data")
    server: ServerSettings = ServerSettings()
    postgres: PostgresSettings = PostgresSettings()
    redis: RedisSettings = RedisSettings()
    mqtt: MqttSettings = MqttSettings()
    wyoming: WyomingSettings = WyomingSettings()
    ollama: OllamaSettings = OllamaSettings()
    llm: LlmSettings = LlmSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    household: HouseholdSettings = HouseholdSettings()
    home: HomeSettings = HomeSettings()
    cache: CacheSettings = CacheSettings()
    recall: RecallSettings = RecallSettings()
    memory: MemorySettings = MemorySettings()
    documents: DocumentSettings = DocumentSettings()
    measurements: MeasurementSettings = MeasurementSettings()
    journal: JournalSettings = JournalSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _possible(self) -> Settings:
        embedding = self.embedding
        if embedding.backend == "embedded" and embedding.dimensions != E5_DIMENSIONS:
            raise ValueError(
                f"embedding.dimensions is {embedding.dimensions}; "
                f"allowed with embedding.backend embedded: {E5_DIMENSIONS}"
            )
        if embedding.model.split(":")[0] == "nomic-embed-text" and embedding.dimensions > NOMIC_DIMENSIONS:
            raise ValueError(
                f"embedding.dimensions is {embedding.dimensions}; "
                f"allowed with nomic-embed-text: 32 to {NOMIC_DIMENSIONS}"
            )
        if self.llm.servers and self.llm.backend == "embedded":
            raise ValueError(
                "llm.servers names servers, but llm.backend is embedded; "
                "allowed: leave llm.servers empty, or llm.backend auto or ollama"
            )
        if self.ollama.url and self.llm.backend == "embedded" and embedding.backend == "embedded":
            raise ValueError(
                f"ollama.url is {self.ollama.url}, but llm.backend and embedding.backend are both embedded; "
                "allowed: leave ollama.url empty, or one of them auto or ollama"
            )
        return self

    @property
    def ollama_explicit(self) -> bool:
        """Whether the household named its server, or several; a named one never falls back to another."""
        return bool(self.ollama.url or self.llm.servers)

    @property
    def ollama_address(self) -> str:
        """Where the Ollama is that embeds, and answers where `llm.servers` names no others: named, or by default."""
        if self.ollama.url or not self.llm.servers:
            return self.ollama.url or DEFAULT_OLLAMA_URL
        return self.llm.servers[0].url


def _web_address(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("an address that begins with http:// or https://")
    return url.rstrip("/")


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Reads `path` (default: `config/gateway.yaml` where it is) and puts the environment over it.

    Raises SettingsError with one line that names the key, its value and what is allowed.
    """
    environment = os.environ if environment is None else environment
    values = _read_file(path)
    origins: dict[tuple[str, ...], str] = {}
    for name, place in ENVIRONMENT.items():
        value = _from_environment(name, environment)
        if value is None:
            continue
        _put(values, place, [part.strip() for part in value.split(",") if part.strip()] if name in LISTS else value)
        origins[place] = name
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_one_line(error, origins)) from None


def _read_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        if not DEFAULT_PATH.exists():
            return {}
        path = DEFAULT_PATH
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error})") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise SettingsError(f"{path}:{where} is not YAML ({problem})") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: holds a {type(values).__name__}; allowed: keys and values as in {DEFAULT_PATH}")
    return values


def _from_environment(name: str, environment: Mapping[str, str]) -> str | None:
    if value := environment.get(name):
        return value
    if name in SECRETS and (file := environment.get(f"{name}_FILE")):
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{name}_FILE is {file}; allowed: a file that can be read ({error})") from error
    return None


def _put(values: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    for key in place[:-1]:
        inner = values.get(key)
        if inner is None:
            inner = values[key] = {}
        elif not isinstance(inner, dict):
            return  # validation will name the section that is no section
        values = inner
    values[place[-1]] = value


def _one_line(error: ValidationError, origins: Mapping[tuple[str, ...], str]) -> str:
    first = error.errors()[0]
    place = tuple(str(part) for part in first["loc"])
    if not place:
        return str(first["msg"]).removeprefix("Value error, ")
    name = ".".join(part if part.isprintable() else repr(part) for part in place)
    for origin, variable in origins.items():
        if place[: len(origin)] == origin:
            name = f"{variable} ({name})"
    if first["type"] == "extra_forbidden":
        parent = _section(place[:-1])
        return f"{name} is not a setting; allowed here: {', '.join(sorted(parent.model_fields))}"
    hidden = place in HIDDEN
    value = "(not shown)" if hidden else repr(first["input"])
    allowed = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{name} is {value}; allowed: {allowed}"


def _section(place: tuple[str, ...]) -> type[Section]:
    section: type[Section] = Settings
    for key in place:
        # A list's place has a number in it, which is no field: what it holds was found with its name.
        annotation = section.model_fields[key].annotation if key in section.model_fields else None
        for kind in (annotation, *get_args(annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                section = kind
    return section
