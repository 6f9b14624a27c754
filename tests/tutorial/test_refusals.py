"""Bad input: one clear line, the right status, and nothing half made."""

import io
import os
import shutil
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.tutorial.engine import PROGRAMS, Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

NOBODY = 65534


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("run", "--no-such-flag", "busybox"), 125, "--no-such-flag"),
        (("ps", "--no-such-flag"), 125, "--no-such-flag"),
        (("run", "-Z", "busybox"), 125, "Z"),
        (("frobnicate",), 1, "frobnicate"),
        (("rm",), 1, "requires at least 1 argument"),
        (("rename", "one"), 1, "2 arguments"),
        (("run",), 1, "requires at least 1 argument"),
        (("run", "UPPER/Case:x", "true"), 125, "UPPER/Case"),
        (("run", "busybox:bad tag", "true"), 125, "busybox:bad tag"),
        (("run", "--name", "-x", "busybox", "true"), 125, "-x"),
        (("run", "--name", "x", "busybox", "true"), 125, "x"),
        (("run", "--name", "a/b", "busybox", "true"), 125, "a/b"),
        (("run", "--env-file", "/no/such/file", "busybox", "true"), 125, "/no/such/file"),
        (("run", "-e", "=V", "busybox", "true"), 125, "=V"),
        (("run", "-w", "relative", "busybox", "true"), 125, "relative"),
        (("run", "--restart", "always:3", "busybox", "true"), 125, "always"),
        (("run", "--restart", "sometimes", "busybox", "true"), 125, "sometimes"),
        (("run", "--restart", "on-failure:-1", "busybox", "true"), 125, "-1"),
        (("run", "--rm", "--restart", "always", "busybox", "true"), 125, "--restart"),
        (("run", "--pull", "perhaps", "busybox", "true"), 125, "perhaps"),
        (("run", "--stop-signal", "NOPE", "busybox", "true"), 125, "NOPE"),
        (("run", "--stop-timeout", "soon", "busybox", "true"), 125, "soon"),
        (("run", "--tmpfs", "relative", "busybox", "true"), 125, "relative"),
        (("run", "--network", "host", "--network", "none", "busybox", "true"), 125, "cannot be combined"),
        (("run", "--network", "nosuchnet", "busybox", "true"), 125, "network nosuchnet not found"),
        (("create", "--network", "nosuchnet", "busybox", "true"), 1, "network nosuchnet not found"),
        (("run", "--network", "bridge", "--network", "nosuchnet", "busybox", "true"), 125, "existing: bridge"),
        (("run", "--rm=perhaps", "busybox", "true"), 125, "perhaps"),
        (("run", "--cidfile", "/no/such/folder/cid", "busybox", "true"), 125, "/no/such/folder/cid"),
        (("run", "--entrypoint", "", "busybox"), 125, "command"),
        (("create", "nonesuch", "true"), 1, "nonesuch"),
        (("start", "nonesuch"), 1, "nonesuch"),
        (("stop", "nonesuch"), 1, "nonesuch"),
        (("logs", "nonesuch"), 1, "nonesuch"),
        (("wait", "nonesuch"), 1, "nonesuch"),
        (("top", "nonesuch"), 1, "nonesuch"),
        (("why", "nonesuch"), 1, "nonesuch"),
        (("audit", "nosuchname"), 1, "nosuchname"),
        (("commit", "nonesuch", "x:y"), 1, "nonesuch"),
        (("tag", "nonesuch", "x:y"), 1, "nonesuch"),
        (("rmi", "nonesuch"), 1, "nonesuch"),
        (("tag", "busybox", "Bad Name"), 1, "Bad Name"),
        (("rmi", "busybox@sha256:zz"), 1, "zz"),
        (("ps", "-f", "nosuchkey=1"), 1, "nosuchkey"),
        (("ps", "--format", "{{"), 1, ""),
        (("events", "--since", "the day before"), 125, "the day before"),
        (("import", "/no/such/archive", "x:y"), 1, "/no/such/archive"),
        (("load", "-i", "/no/such/archive"), 1, "/no/such/archive"),
        (("import", "/etc/passwd", "x:y"), 1, ""),
        (("load", "-i", "/etc/passwd"), 1, ""),
        (("load", "-i", "/etc"), 1, ""),
    ],
)
def test_a_wrong_command_line_gets_one_clear_answer(
    engine: Engine, words: tuple[str, ...], status: int, says: str
) -> None:
    """On standard error, with the wrong word in it; nothing was made."""
    images = engine.ok("images", "-q")
    done = engine.cli(*words)
    assert (done.code, done.out) == (status, ""), done
    assert says in done.err
    assert "Traceback" not in done.err
    assert "internal" not in done.err
    assert done.err.strip()
    assert engine.everything() == []
    assert engine.ok("images", "-q") == images


@pytest.mark.parametrize(
    ("options", "says"),
    [(("-u", "nosuchuser"), "nosuchuser"), (("-u", "0:nosuchgroup"), "nosuchgroup"), (("-w", "/etc/passwd"), "passwd"),
     (("-h", "h" * 65), "h" * 65), (("--tmpfs", "/x:nosuchoption"), "nosuchoption")],
)
def test_what_only_the_kernel_or_the_image_can_refuse(engine: Engine, options: tuple[str, ...], says: str) -> None:
    """125 and the reason; at most a created container stays, with the reason in it, and with --rm none."""
    done = engine.cli("run", "--name", "it", *options, "busybox", "true")
    assert (done.code, done.out) == (125, "")
    assert says in done.err
    if engine.everything():
        assert engine.state("it") == "created"
        assert says in engine.ok("inspect", "-f", "{{.State.Error}}", "it")
        engine.ok("rm", "it")
    assert engine.cli("run", "--rm", *options, "busybox", "true").code == 125
    assert engine.everything() == []


def test_a_template_with_an_unknown_field_is_refused(engine: Engine) -> None:
    """It names the field."""
    engine.ok("create", "busybox", "true")
    assert "NoSuchField" in engine.refused("ps", "-a", "--format", "{{.NoSuchField}}")


def test_an_env_file_with_a_space_in_a_name_is_refused(engine: Engine, tmp_path: Path) -> None:
    """Naming file and name."""
    file = tmp_path / "env"
    file.write_text("FINE=1\nNOT FINE=2\n")
    assert "NOT FINE" in engine.refused("run", "--env-file", str(file), "busybox", "true", code=125)


def test_help_is_no_error(engine: Engine) -> None:
    """And goes to standard output."""
    done = engine.cli("run", "--help")
    assert (done.code, done.err) == (0, "")
    assert "Usage:" in done.out


def _as_nobody(engine: Engine, program: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """As a user without rights; may only read what others can (the interpreter may lie in root's home)."""
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    capability = "+dac_read_search"
    return subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", f"--inh-caps=-all,{capability}",
         f"--ambient-caps=-all,{capability}", f"--bounding-set=-all,{capability}", str(PROGRAMS / program), *words],
        env=engine.environment, capture_output=True, text=True, timeout=30, check=False, cwd="/",
    )


@pytest.mark.parametrize(
    ("words", "status"), [(("ps",), 1), (("run", "busybox", "true"), 125), (("daemon", "stop"), 1)]
)
def test_nobody_may_not_talk_to_the_daemon(engine: Engine, words: tuple[str, ...], status: int) -> None:
    """It amounts to being root."""
    done = _as_nobody(engine, "lading", *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "ermission" in done.stderr or "only root" in done.stderr
    assert engine.everything() == []


def test_nobody_cannot_be_the_daemon(engine: Engine) -> None:
    """One line says what is needed."""
    done = _as_nobody(engine, "ladingd")
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert "root" in done.stderr


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def _tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _truncated(path: Path) -> None:
    _tar(path, (_member("file"), b"x" * 100_000))
    os.truncate(path, 50_000)


def _noise(path: Path) -> None:
    path.write_bytes(os.urandom(100_000))


def _through_link(path: Path) -> None:
    target = path.parent / "outside"
    target.mkdir()
    _tar(path, (_member("link", tarfile.SYMTYPE, str(target)), b""), (_member("link/evil"), b"evil"))


def _dots(path: Path) -> None:
    _tar(path, (_member("../../../../../../../../evil-dots"), b"evil"))


def _absolute(path: Path) -> None:
    _tar(path, (_member("/evil-absolute"), b"evil"))


@pytest.mark.parametrize("make", [_truncated, _noise])
@pytest.mark.parametrize("verb", [("import",), ("load", "-i")])
def test_a_broken_archive_leaves_nothing(
    engine: Engine, tmp_path: Path, make: Callable[[Path], None], verb: tuple[str, ...]
) -> None:
    """Neither an image nor a file in the store."""
    path = tmp_path / "archive.tar"
    make(path)
    before = engine.stored_layers()
    words = (*verb, str(path), *(("evil:1",) if verb == ("import",) else ()))
    done = engine.cli(*words)
    assert (done.code, done.out) == (1, "")
    assert len(done.err.strip().splitlines()) == 1
    assert engine.cli("inspect", "evil:1").code == 1
    until(lambda: engine.stored_layers() == before, "nothing is left in the store")


@pytest.mark.parametrize("make", [_through_link, _dots, _absolute])
def test_a_hostile_archive_writes_nothing_outside(
    engine: Engine, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """It is refused, or what it holds lands inside the image."""
    path = tmp_path / "archive.tar"
    make(path)
    done = engine.cli("import", str(path), "evil:1")
    assert "Traceback" not in done.err
    assert not (tmp_path / "outside" / "evil").exists()
    assert not Path("/evil-dots").exists()
    assert not Path("/evil-absolute").exists()
    if done.code == 0:
        engine.ok("rmi", "evil:1")
    else:
        assert len(done.err.strip().splitlines()) == 1


def test_a_store_of_a_newer_version_is_left_alone(fresh: Engine) -> None:
    """The daemon says so in one line; so does a client that wanted to start it; nothing in it changes."""
    fresh.stop()
    with closing(sqlite3.connect(fresh.data / "lading.db", isolation_level=None)) as database:
        (version,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    done = subprocess.run([str(PROGRAMS / "ladingd")], env=fresh.environment, capture_output=True, text=True,
                          timeout=30, check=False)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert "newer" in done.stderr
    client = fresh.cli("ps", env={"LADING_AUTOSTART": "1"})
    assert client.code == 1
    assert len(client.err.strip().splitlines()) == 1
    assert "newer" in client.err
    with closing(sqlite3.connect(fresh.data / "lading.db", isolation_level=None)) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
        database.execute("UPDATE alembic_version SET version_num = ?", (version,))
    fresh.start()
    assert fresh.cli("audit", "verify").code == 0


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("config.toml", "no_such_key = 1\n", "no_such_key"),
        ("config.toml", "data_root = \n", "config.toml"),
        ("config.toml", 'data_root = "relative"\n', "relative"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path: Path, name: str, text: str, says: str) -> None:
    """File and key, in one line."""
    path = tmp_path / name
    path.write_text(text)
    done = subprocess.run([str(PROGRAMS / "ladingd")], env={"LADING_CONFIG": str(path), "PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [("LADING_DATA_ROOT", "/etc/passwd"), ("LADING_RUN_DIR", "/etc/passwd"), ("LADING_FAILPOINTS", "x=explode"),
     ("LADING_DATA_ROOT", "/proc/lading"), ("LADING_RUN_DIR", "/tmp/" + "r" * 120)],
)
def test_a_wrong_environment_is_named(tmp_path: Path, variable: str, value: str) -> None:
    """One line, and the daemon ends."""
    (tmp_path / "config.toml").touch()
    environment = {
        "LADING_CONFIG": str(tmp_path / "config.toml"), "PATH": "/usr/bin:/bin",
        "LADING_DATA_ROOT": str(tmp_path / "d"), "LADING_RUN_DIR": str(tmp_path / "r"), variable: value,
    }
    try:
        done = subprocess.run([str(PROGRAMS / "ladingd")], env=environment, capture_output=True, text=True, timeout=30,
                              check=False)
    finally:
        if value.startswith("/tmp/"):
            shutil.rmtree(value, ignore_errors=True)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_noise_in_the_database_is_named(fresh: Engine) -> None:
    """Two pages of noise: the daemon refuses in one line, or it starts and verify names the damage."""
    fresh.cli("run", "--name", "it", "busybox", "true")
    fresh.stop()
    database = fresh.data / "lading.db"
    with database.open("r+b") as file:
        file.seek(database.stat().st_size // 4096 // 2 * 4096)
        file.write(os.urandom(8192))
    done = fresh.cli("audit", "verify", env={"LADING_AUTOSTART": "1"})
    assert done.code != 0
    assert "Traceback" not in done.out + done.err
    assert (done.out + done.err).strip()
