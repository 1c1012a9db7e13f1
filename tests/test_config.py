"""The settings: the file is complete and tells the truth, the environment goes over it, mistakes get one clear line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from gateway import config
from gateway.config import ENVIRONMENT, HIDDEN, LISTS, OPEN_TO_ANYONE, SECRETS, Section, Settings, load
from gateway.errors import SettingsError

FILE = Path(__file__).parent.parent / "config" / "gateway.yaml"

# A value for each variable of the environment that is not its setting's default.
OTHER = {
    "GATEWAY_DATA": "/srv/gateway",
    "GATEWAY_HOST": "0.0.0.0",  # noqa: S104 - a setting to be read, not an address to listen on
    "GATEWAY_PORT": "8181",
    "GATEWAY_WYOMING_PORT": "10701",
    "GATEWAY_TRUSTED_NETWORKS": "192.168.1.0/24, fd00::/8",
    "GATEWAY_ALLOWED_HOSTS": "assistant.home,ai",
    "GATEWAY_LOG_LEVEL": "debug",
    "POSTGRES_HOST": "postgres",
    "POSTGRES_PORT": "5433",
    "POSTGRES_USER": "someone",
    "POSTGRES_PASSWORD": "pass word",
    "POSTGRES_DB": "house",
    "REDIS_URL": "redis://redis:6379/0",
    "MQTT_URL": "mqtt://broker:1883",
    "OLLAMA_URL": "http://ollama:11434",
    "LLM_BACKEND": "ollama",
    "LLM_MODEL": "llama3.2:3b",
    "EMBEDDING_BACKEND": "ollama",
    "EMBEDDING_MODEL": "bge-m3",
    "EMBEDDING_DIMENSIONS": "512",
    "CACHE_TTL_SECONDS": "60",
    "CACHE_MAX_ENTRIES": "10",
}


def places(section: type[Section], above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Every setting of a section, by its path."""
    found: set[tuple[str, ...]] = set()
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found |= places(field.annotation, (*above, name))
        else:
            found.add((*above, name))
    return found


def value_at(values: Any, place: tuple[str, ...]) -> Any:
    for key in place:
        values = values[key] if isinstance(values, dict) else getattr(values, key)
    return values


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_file_holds_every_setting_and_no_other() -> None:
    values = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    in_file = {
        (section, key)
        for section, inner in values.items()
        for key in (inner if isinstance(inner, dict) else [""])
        if key
    } | {(section,) for section, inner in values.items() if not isinstance(inner, dict)}
    assert in_file == places(Settings)


@pytest.mark.parametrize("place", sorted(places(Settings)), ids=".".join)
def test_the_file_tells_each_default(place: tuple[str, ...]) -> None:
    assert value_at(load(FILE, {}), place) == value_at(Settings(), place)


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_the_file_names_the_variable_beside_its_key(name: str) -> None:
    key = ENVIRONMENT[name][-1]
    assert re.search(rf"^ *{key}:.*#.*\b{name}\b", FILE.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_variable_has_a_place() -> None:
    assert set(ENVIRONMENT.values()) <= places(Settings)
    assert set(OTHER) == set(ENVIRONMENT)
    assert set(SECRETS) | set(LISTS) <= set(ENVIRONMENT)
    secrets = {place for place in places(Settings) if isinstance(value_at(Settings(), place), SecretStr)}
    assert secrets == HIDDEN
    assert {ENVIRONMENT[name] for name in SECRETS} == HIDDEN


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_the_environment_goes_over_the_file(name: str) -> None:
    place = ENVIRONMENT[name]
    found = value_at(load(FILE, {name: OTHER[name]}), place)
    if isinstance(found, SecretStr):
        found = found.get_secret_value()
    if isinstance(found, tuple):
        assert found == tuple(part.strip() for part in OTHER[name].split(","))
    else:
        assert str(found) == OTHER[name]
    assert found != value_at(load(FILE, {}), place)


def test_an_empty_variable_is_none() -> None:
    assert load(FILE, dict.fromkeys(ENVIRONMENT, "")) == load(FILE, {})


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_may_come_from_a_file(name: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("  mqtt://:sesame@broker\n", encoding="utf-8")
    found = value_at(load(FILE, {f"{name}_FILE": str(secret)}), ENVIRONMENT[name])
    assert found.get_secret_value() == "mqtt://:sesame@broker"


def test_a_secret_does_not_show() -> None:
    settings = load(FILE, {"POSTGRES_PASSWORD": "sesame", "REDIS_URL": "redis://:sesame@redis"})
    assert "sesame" not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


def test_what_is_left_out_keeps_its_default(tmp_path: Path) -> None:
    assert load(written(tmp_path, "server:\n  port: 9090\n"), {}).server.port == 9090
    assert load(written(tmp_path, "# nothing\n"), {}) == Settings()
    assert load(written(tmp_path, ""), {}) == Settings()


def test_without_a_file_there_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(environment={}) == Settings()
    (tmp_path / "config").mkdir()
    (tmp_path / config.DEFAULT_PATH).write_text("cache: {ttl_seconds: 5}", encoding="utf-8")
    assert load(environment={}).cache.ttl_seconds == 5


def test_the_servers_that_answer_and_the_one_that_embeds(tmp_path: Path) -> None:
    text = "llm: {servers: [{url: 'http://desk:11434/', models: [mistral], parallel: 2}, {url: 'http://attic'}]}"
    settings = load(written(tmp_path, text), {})
    assert [(one.url, one.models, one.parallel) for one in settings.llm.servers] == [
        ("http://desk:11434", ("mistral",), 2),
        ("http://attic", (), 1),
    ]
    assert (settings.ollama_address, settings.ollama_explicit) == ("http://desk:11434", True)
    named = load(written(tmp_path, text), {"OLLAMA_URL": "http://ollama:11434"})
    assert named.ollama_address == "http://ollama:11434"
    assert (Settings().ollama_address, Settings().ollama_explicit) == (config.DEFAULT_OLLAMA_URL, False)


def test_nothing_changes_after_loading() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.server.port = 1  # type: ignore[misc]


def test_words_open_the_gateway(tmp_path: Path) -> None:
    path = written(tmp_path, f"server: {{open_to_anyone: '{OPEN_TO_ANYONE.replace(chr(39), chr(39) * 2)}'}}")
    assert load(path, {}).server.open_to_anyone == OPEN_TO_ANYONE


@pytest.mark.parametrize(
    "text,environment,line",
    [
        # an unknown key
        ("colour: red", {}, r"colour is not a setting; allowed here: cache, data, .*wyoming"),
        ("server: {prot: 80}", {}, r"server\.prot is not a setting; allowed here: .*\bport\b.*"),
        # a wrong type
        ("server: {port: many}", {}, r"server\.port is 'many'; allowed: a valid integer.*"),
        ("server: 8080", {}, r"server is 8080; allowed: .*"),
        # an address that is none
        ("mqtt: {url: broker}", {}, r"mqtt\.url is \(not shown\); allowed: an address such as mqtt://.*"),
        ("", {"MQTT_URL": "http://broker"}, r"MQTT_URL \(mqtt\.url\) is \(not shown\); allowed: an address such as .*"),
        ("", {"MQTT_URL": "mqtt://:1883"}, r"MQTT_URL .*"),
        ("", {"MQTT_URL": "mqtt://broker:sesame"}, r"MQTT_URL \(mqtt\.url\) is \(not shown\); .*"),
        ("cache: {ttl_seconds: 1.5}", {}, r"cache\.ttl_seconds is 1\.5; allowed: a valid integer.*"),
        ("household: {languages: en}", {}, r"household\.languages is 'en'; allowed: .*"),
        ("log: {words: often}", {}, r"log\.words is 'often'; allowed: a valid boolean.*"),
        ("", {"GATEWAY_PORT": "eighty"}, r"GATEWAY_PORT \(server\.port\) is 'eighty'; allowed: a valid integer.*"),
        # a value out of its range
        ("server: {port: 65536}", {}, r"server\.port is 65536; allowed: less than or equal to 65535"),
        ("", {"EMBEDDING_DIMENSIONS": "8"}, r"EMBEDDING_DIMENSIONS \(embedding\.dimensions\) is '8'; allowed: .*32"),
        ("", {"LLM_BACKEND": "cloud"}, r"LLM_BACKEND \(llm\.backend\) is 'cloud'; allowed: 'auto', 'ollama' or 'emb.*"),
        ("llm: {model: ''}", {}, r"llm\.model is ''; allowed: .*"),
        ("household: {languages: []}", {}, r"household\.languages is \[\]; allowed: .*"),
        ("household: {languages: [english]}", {}, r"household\.languages\.0 is 'english'; allowed: .*"),
        (
            "household: {time_zone: Mars/Olympus}",
            {},
            r"household\.time_zone is 'Mars/Olympus'; allowed: a time zone .*",
        ),
        ("server: {trusted_networks: [home]}", {}, r"server\.trusted_networks is \['home'\]; allowed: a list of net.*"),
        ("", {"OLLAMA_URL": "ollama:11434"}, r"OLLAMA_URL \(ollama\.url\) is 'ollama:11434'; allowed: .*http://.*"),
        ("server: {open_to_anyone: 'yes'}", {}, r"server\.open_to_anyone is 'yes'; allowed: empty, or these very .*"),
        ("recall: {min_score: 2}", {}, r"recall\.min_score is 2; allowed: .*"),
        # combinations
        (
            "embedding: {backend: embedded, dimensions: 768}",
            {},
            r"embedding\.dimensions is 768; allowed with embedding\.backend embedded: 384",
        ),
        (
            "",
            {"EMBEDDING_DIMENSIONS": "1024"},
            r"embedding\.dimensions is 1024; allowed with nomic-embed-text: 32 to 768",
        ),
        (
            "llm: {backend: embedded}\nembedding: {backend: embedded}",
            {"OLLAMA_URL": "http://ollama:11434/"},
            r"ollama\.url is http://ollama:11434, but llm\.backend and embedding\.backend are both embedded; all.*",
        ),
        (
            "llm: {backend: embedded, servers: [{url: 'http://desk:11434'}]}",
            {},
            r"llm\.servers names servers, but llm\.backend is embedded; allowed: .*",
        ),
        ("llm: {servers: [{url: desk}]}", {}, r"llm\.servers\.0\.url is 'desk'; allowed: .*http://.*"),
        (
            "llm: {servers: [{url: 'http://a', port: 1}]}",
            {},
            r"llm\.servers\.0\.port is not a setting; allowed here: .*",
        ),
        ("llm: {servers: [{url: 'http://a', parallel: 0}]}", {}, r"llm\.servers\.0\.parallel is 0; allowed: .*"),
        (
            "llm: {servers: [{url: 'http://a'}, {url: 'http://a/'}]}",
            {},
            r"llm\.servers is .*; allowed: each server once.*",
        ),
        # no settings at all
        ("- a list", {}, r".*gateway\.yaml: holds a list; allowed: keys and values as in config/gateway\.yaml"),
        ("server: [", {}, r".*gateway\.yaml: line 1 is not YAML \(.*\)"),
        ("data: 2026-13-32", {}, r".*gateway\.yaml: is not YAML \(.*\)"),
        ("a\x00b", {}, r".*gateway\.yaml: .*is not YAML \(.*\)"),
        ("", {"POSTGRES_PASSWORD_FILE": "/nowhere/secret"}, r"POSTGRES_PASSWORD_FILE is /nowhere/secret; allowed: .*"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path: Path, text: str, environment: dict[str, str], line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(written(tmp_path, text), environment)
    assert re.fullmatch(line, caught.value.message), caught.value.message


@pytest.mark.parametrize("place", sorted(HIDDEN), ids=".".join)
def test_a_mistake_in_a_secret_does_not_show_it(tmp_path: Path, place: tuple[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(written(tmp_path, f"{place[0]}: {{{place[1]}: [sesame]}}"), {})
    assert caught.value.message.startswith(f"{'.'.join(place)} is (not shown); allowed: ")
    assert "sesame" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^.*nothing\.yaml: cannot be read \(.*\)$"):
        load(tmp_path / "nothing.yaml", {})


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner)
)
_keys = st.sampled_from(sorted(Settings.model_fields)) | st.text(max_size=4)
_inner_keys = st.sampled_from(sorted({place[-1] for place in places(Settings)}))
_files = st.dictionaries(_keys, _values | st.dictionaries(_inner_keys, _values, max_size=3), max_size=3)


@given(values=_files)
def test_whatever_the_file_holds_there_are_settings_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("config", numbered=True) / "gateway.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    line = "valid"
    try:
        load(path, {})
    except SettingsError as error:
        line = error.message
    assert len(line.splitlines()) == 1
