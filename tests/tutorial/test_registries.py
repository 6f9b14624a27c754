"""Images and registries as people use them: push, pull, login, archives; with other tools as counterparts where they
are installed, and under kill -9."""

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.adapters.registry.servers import Registry, distribution
from tests.tutorial.engine import Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]
SKOPEO = shutil.which("skopeo")


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """A home of one's own, without any credentials."""
    return {"HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path / "run")}


def skopeo(*words: str) -> str:
    """What skopeo prints; the test is skipped where it is not installed."""
    if SKOPEO is None:
        pytest.skip("needs skopeo")
    done = subprocess.run([SKOPEO, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def layered(folder: Path, count: int, size: int) -> Path:
    """An OCI-free way to many layers: a docker-archive with `count` layers of `size` random bytes."""
    import hashlib
    import io

    layers = []
    for number in range(count):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo(f"data/{number}")
            info.size = size
            tar.addfile(info, io.BytesIO(os.urandom(size)))
        layers.append(out.getvalue())
    ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = json.dumps({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["sh"]},
                         "rootfs": {"type": "layers", "diff_ids": ids}}).encode()  # fmt: skip
    names = {f"{number}.tar": layer for number, layer in enumerate(layers)}
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["many:v1"], "Layers": list(names)}]).encode()
    path = folder / "many.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in {"manifest.json": manifest, "c.json": config, **names}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_what_was_pushed_is_pulled_again_under_the_same_digest(engine: Engine, registry: Registry) -> None:
    """By tag, by digest, and once more; and a container runs from it."""
    name = f"{registry.host}/team/busybox:v1"
    engine.ok("tag", "busybox", name)
    pushed = engine.ok("push", name).splitlines()
    digest = pushed[-1].split()[2]
    engine.ok("rmi", name)
    assert engine.ok("pull", name).splitlines()[-3:] == [
        f"Digest: {digest}", f"Status: Downloaded newer image for {name}", name,
    ]  # fmt: skip
    assert f"Status: Image is up to date for {name}" in engine.ok("pull", name)
    by_digest = f"{registry.host}/team/busybox@{digest}"
    assert engine.ok("pull", "-q", by_digest) == by_digest
    assert digest in engine.ok("images", "--digests", f"{registry.host}/team/busybox")
    assert engine.ok("run", "--rm", by_digest, "echo", "hello") == "hello"
    events = engine.ok("audit", "--format", "{{.Event}} {{.By}}", name).splitlines()
    assert [line.split()[0] for line in events][-4:] == ["pull-requested", "pulled", "pull-requested", "pulled"] or (
        "pulled root" in events
    )
    engine.ok("rmi", name)


def test_run_pulls_what_is_missing_unless_it_must_not(engine: Engine, registry: Registry) -> None:
    """Progress goes to standard error, and only the id to standard output."""
    name = f"{registry.host}/team/missing:v1"
    engine.ok("tag", "busybox", name)
    engine.ok("push", "-q", name)
    engine.ok("rmi", name)
    assert "No such image" in engine.refused("run", "--pull", "never", name, "true", code=125)
    done = engine.cli("run", "--rm", name, "echo", "hello")
    assert (done.code, done.out) == (0, "hello\n")
    assert done.err.startswith(f"Unable to find image '{name}' locally\nv1: Pulling from team/missing\n")
    assert "up to date" in engine.cli("run", "--rm", "--pull", "always", name, "true").err
    assert "manifest unknown" in engine.refused("run", f"{registry.host}/team/missing:v2", code=125)
    engine.ok("rmi", name)


def test_credentials_come_from_the_clients_files_and_go_there(
    engine: Engine, private: Registry, home: dict[str, str], tmp_path: Path
) -> None:
    """login, push, logout; the daemon keeps nothing, and no event holds a password."""
    name = f"{private.host}/team/app:v1"
    engine.ok("tag", "busybox", name)
    done = engine.cli("push", name, env=home)
    assert done.code == 1
    assert "no basic auth credentials" in done.err
    done = engine.cli("login", "-u", "ann", "--password-stdin", private.host, env=home, stdin="wrong\n")
    assert (done.code, "unauthorized" in done.err) == (1, True)
    done = engine.cli("login", "-u", "ann", "--password-stdin", private.host, env=home, stdin="secret\n")
    assert (done.code, done.out) == (0, "Login Succeeded\n")
    file = tmp_path / "home/.docker/config.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    engine.ok("push", "-q", name, env=home)
    engine.ok("logout", private.host, env=home)
    engine.ok("rmi", name)
    done = engine.cli("pull", name, env=home)
    assert (done.code, "lading login" in done.err) == (1, True)
    engine.ok("pull", "-q", name, env={"HOME": "/nonexistent", **podman_login(tmp_path, private.host)})
    engine.ok("rmi", name)
    log = (engine.data / "lading.db").read_bytes() + b"".join(p.read_bytes() for p in engine.data.glob("lading.db-*"))
    assert b"YW5uOnNlY3JldA" not in log


def podman_login(folder: Path, host: str) -> dict[str, str]:
    """podman's auth.json with ann's password; the variable that names it."""
    (folder / "auth.json").write_text(json.dumps({"auths": {host: {"auth": "YW5uOnNlY3JldA=="}}}))
    return {"REGISTRY_AUTH_FILE": str(folder / "auth.json")}


def test_a_credential_helper_is_run_as_the_client(
    engine: Engine, private: Registry, home: dict[str, str], tmp_path: Path
) -> None:
    """Found on the client's path, asked for the registry, with nothing of it written to the disk by us."""
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        "#!/bin/sh\nread server\necho \"$1 $server\" >>" + str(tmp_path / "asked") + "\n"
        '[ "$1" = get ] && printf \'{"ServerURL":"%s","Username":"ann","Secret":"secret"}\' "$server"\nexit 0\n'
    )
    helper.chmod(0o755)
    (tmp_path / "home/.docker").mkdir(parents=True)
    (tmp_path / "home/.docker/config.json").write_text(json.dumps({"credHelpers": {private.host: "test"}}))
    name = f"{private.host}/team/helped:v1"
    engine.ok("tag", "busybox", name)
    engine.ok("push", "-q", name, env={**home, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert (tmp_path / "asked").read_text() == f"get {private.host}\n"
    done = engine.cli("push", name, env=home)
    assert (done.code, "docker-credential-test" in done.err) == (1, True)
    engine.ok("rmi", name)


def test_archives_are_read_by_others_and_theirs_by_us(
    engine: Engine, registry: Registry, tmp_path: Path
) -> None:
    """Both forms in one file, always the same bytes; skopeo takes it to a registry, where it has our digest."""
    one, two = tmp_path / "one.tar", tmp_path / "two.tar"
    engine.ok("save", "-o", str(one), "busybox:latest")
    engine.ok("save", "-o", str(two), "busybox")
    assert one.read_bytes() == two.read_bytes()
    name = f"{registry.host}/skopeo/busybox:v1"
    for form in ("oci-archive", "docker-archive"):
        skopeo("copy", "--dest-tls-verify=false", "-q", f"{form}:{one}", f"docker://{name}")
        assert engine.ok("pull", "-q", name) == name
        assert engine.ok("run", "--rm", name, "echo", form) == form
    skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"docker-archive:{tmp_path}/s.tar:back:v1")
    assert engine.ok("load", "-i", str(tmp_path / "s.tar")) == "Loaded image: back:v1"
    engine.ok("rmi", name, "back:v1")


def test_a_foreign_image_keeps_its_digest_on_its_way_through(engine: Engine, registry: Registry) -> None:
    """What skopeo has pushed as zstd, pulled and pushed by us, is the same to skopeo."""
    source, target = f"{registry.host}/from/app:v1", f"{registry.host}/to/app:v1"
    engine.ok("tag", "busybox", source)
    engine.ok("push", "-q", source)
    engine.ok("rmi", source)
    skopeo("copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", "oci", "--dest-compress",
           "--dest-compress-format", "zstd", f"docker://{source}", f"docker://{source}-zstd")  # fmt: skip
    engine.ok("pull", "-q", f"{source}-zstd")
    engine.ok("tag", f"{source}-zstd", target)
    assert "Mounted from from/app" in engine.ok("push", target)
    digests = [json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))["Digest"]
               for name in (f"{source}-zstd", target)]  # fmt: skip
    assert digests[0] == digests[1]
    engine.ok("rmi", f"{source}-zstd", target)


def test_two_pulls_at_once_share_their_layers(fresh: Engine, registry: Registry, tmp_path: Path) -> None:
    """Each blob leaves the registry once."""
    name = f"{registry.host}/team/shared:v1"
    fresh.ok("load", "-i", str(layered(tmp_path, 4, 3_000_000)))
    fresh.ok("tag", "many:v1", name)
    fresh.ok("push", "-q", name)
    fresh.ok("rmi", name, "many:v1")
    before = len(registry.requests())
    pulls = [fresh.begin("pull", name) for _ in range(2)]
    for pull in pulls:
        out, err = pull.communicate(timeout=60)
        assert (pull.returncode, err) == (0, "")
        assert "Digest: sha256:" in out
    blobs = [line for line in registry.requests()[before:] if '"GET /v2/team/shared/blobs/' in line]
    assert len(blobs) == 5


def test_a_registry_that_dies_in_the_middle_leaves_the_store_as_it_was(fresh: Engine, tmp_path: Path) -> None:
    """One clear line; when it is back, the pull goes on where it was."""
    with distribution(tmp_path / "registry") as registry:
        name = f"{registry.host}/team/dying:v1"
        fresh.ok("load", "-i", str(layered(tmp_path, 2, 20_000_000)))
        fresh.ok("tag", "many:v1", name)
        fresh.ok("push", "-q", name)
        fresh.ok("rmi", name, "many:v1")
        ingest = fresh.data / "store/ingest"
        pull = fresh.begin("pull", name)
        until(lambda: pull.poll() is not None or any(p.stat().st_size > 1_000_000 for p in _files(ingest)), "bytes")
        os.kill(registry.process.pid, signal.SIGKILL)
        _, err = pull.communicate(timeout=90)
        if pull.returncode == 0:
            pytest.skip("the pull was faster than the kill")
        assert "cannot be reached" in err or "sent only" in err
        assert registry.host not in fresh.ok("images")
    assert any(path.stat().st_size for path in _files(ingest))


def _files(folder: Path) -> list[Path]:
    found = []
    for name in os.listdir(folder):
        if not name.endswith(".keep") and (folder / name).is_file():
            found.append(folder / name)
    return found
def test_a_killed_daemon_goes_on_where_it_was(fresh: Engine, registry: Registry, tmp_path: Path) -> None:
    """Killed again and again at any moment of a pull: one that completes gives a whole store, and nothing is left over
    of the others."""
    name = f"{registry.host}/team/killed:v1"
    fresh.ok("load", "-i", str(layered(tmp_path, 5, 4_000_000)))
    fresh.ok("tag", "many:v1", name)
    fresh.ok("push", "-q", name)
    fresh.ok("rmi", name, "many:v1")
    chance = random.Random(7)
    for _ in range(int(os.environ.get("LADING_TEST_KILLS", "6"))):
        pull = fresh.begin("pull", name)
        time.sleep(chance.uniform(0.0, 0.25))  # anywhere in it is the point
        fresh.crash()
        pull.communicate(timeout=30)
        fresh.start()
    fresh.ok("pull", "-q", name)
    events = fresh.ok("audit", "--format", "{{.Event}}", name).splitlines()
    assert events.count("pull-requested") == events.count("pulled") + events.count("pull-failed")
    assert fresh.ok("system", "check").endswith("the store is whole")
    fresh.ok("rmi", name)
    fresh.ok("image", "prune", "-af")
    for folder in ("blobs/sha256", "layers", "ingest", "tmp"):
        assert os.listdir(fresh.data / "store" / folder) == [], folder
