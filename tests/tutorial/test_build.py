"""`build`, as users see it: Dockerfiles and what comes of them, the cache, and everything that can go wrong."""

import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from domain.build import keys
from tests.adapters.registry.servers import distribution, raw
from tests.chaos.points import BUILDS
from tests.tutorial.dockerfiles import CASES, TREE, Case
from tests.tutorial.engine import PROGRAMS, Done, Engine, until
from tests.tutorial.line import Line

ANEW = "cat /proc/sys/kernel/random/uuid"
"""A command that writes something else each time."""
pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def tar_of(**files: bytes) -> bytes:
    """A small archive; `__` is a slash."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name.replace("__", "/"))
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def lay(folder: Path, files: Mapping[str, object]) -> None:
    """Make the files of a context."""
    for name, what in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if what == "tar":
            path.write_bytes(tar_of(in__side=b"inside\n"))
        elif isinstance(what, str) and what.startswith("->"):
            path.symlink_to(what[2:])
        else:
            mode, content = what if isinstance(what, tuple) else (0o644, what)
            path.write_text(str(content))
            path.chmod(mode)
    for directory in folder.rglob("*"):
        if directory.is_dir() and not directory.is_symlink():
            directory.chmod(0o755)


def build(engine: Engine, folder: Path, dockerfile: str, *options: str) -> Done:
    """Write the Dockerfile and build it as `built`."""
    (folder / "Dockerfile").write_text(dockerfile)
    return engine.cli("build", "-t", "built", *options, str(folder), timeout=90)


def built(engine: Engine, folder: Path, dockerfile: str, *options: str) -> Done:
    """The same, which must succeed."""
    done = build(engine, folder, dockerfile, *options)
    assert done.code == 0, f"{done.out}\n{done.err}"
    return done


def show(engine: Engine, command: str) -> str:
    """What a command prints in a container of the image."""
    return engine.ok("run", "--rm", "--entrypoint", "/bin/sh", "built", "-c", command)


def runs(engine: Engine, command: str) -> bool:
    """Whether a container executes something like this."""
    return any(row["state"] == "running" and command in str(row["command"]) for row in engine.rows().values())


def forget(engine: Engine) -> None:
    """Take away every image but the base, and the cache."""
    base = engine.ok("images", "-q", "busybox")
    for id in dict.fromkeys(engine.ok("images", "-q").split()):
        if id != base:
            engine.ok("rmi", "-f", id)
    engine.ok("builder", "prune", "-af")


def cached(done: Done) -> int:
    """How many steps came from the cache."""
    return done.out.count("Using cache")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_dockerfile_means(served: Engine, tmp_path: Path, case: Case) -> None:
    """Configuration, files, modes and owners are what the reference says."""
    lay(tmp_path, case.files)
    built(served, tmp_path, case.dockerfile, *case.options)
    for command, expected in case.shows.items():
        assert show(served, command) == expected, command
    config = json.loads(served.ok("inspect", "--type", "image", "built"))[0]["Config"]
    for key, value in case.config.items():
        assert config.get(key) == value, key


def test_what_was_built_before_is_not_built_again(engine: Engine, tmp_path: Path) -> None:
    """The whole image is the same one, by its id; times of files do not matter, nor does where the context lies."""
    lay(tmp_path, TREE)
    text = f"FROM busybox\nENV A=1\nRUN {ANEW} > /x\nCOPY src /d\nWORKDIR /w\nRUN {ANEW} > /y\nCMD cat /x"
    first = built(engine, tmp_path, text)
    id = engine.ok("images", "-q", "--no-trunc", "built")
    os.utime(tmp_path / "src" / "x.py", (1, 1))
    (tmp_path / "a.txt").write_text("not copied")
    again = built(engine, tmp_path, text)
    assert (cached(first), cached(again)) == (0, 4)
    assert engine.ok("images", "-q", "--no-trunc", "built") == id


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        ("RUN echo $V > /cause1", ("V", "2"), "ARG V changed"),
        ("COPY src /cause2", ("src/x.py", "changed"), "cause2/x.py changed"),
        ("COPY src /cause3", ("src/new.py", "new"), "cause3/new.py is new"),
        ("COPY many /cause4", ("many/d1/f7", "changed"), "cause4/d1/f7 changed"),
    ],
)
def test_a_miss_names_its_cause(
    served: Engine, tmp_path: Path, before: str, after: tuple[str, str], cause: str
) -> None:
    """Which file, which argument; what follows says that its base has changed."""
    lay(tmp_path, TREE)
    lay(tmp_path, {f"many/d{n % 2}/f{n}": "" for n in range(keys.MOST_FILES + 9)})
    text = f"FROM busybox\nARG V=1\n{before}\nRUN echo next > /next{cause[:5].strip()}"
    assert "it was not built before" in built(served, tmp_path, text).out
    options: tuple[str, ...] = ()
    if after[0] == "V":
        options = ("--build-arg", "=".join(after))
    else:
        (tmp_path / after[0]).write_text(after[1])
    done = built(served, tmp_path, text, *options)
    assert f" ---> Not in the cache: {cause}" in done.lines
    assert " ---> Not in the cache: base changed" in done.lines


def test_labels_and_commands_do_not_spoil_what_follows(engine: Engine, tmp_path: Path) -> None:
    """Only what a step depends on counts."""
    built(engine, tmp_path, f"FROM busybox\nLABEL a=1\nCMD one\nRUN {ANEW} > /labels")
    kept = show(engine, "cat /labels")
    done = built(engine, tmp_path, f"FROM busybox\nLABEL a=2\nCMD two\nEXPOSE 80\nRUN {ANEW} > /labels")
    assert cached(done) == 1
    assert show(engine, "cat /labels") == kept
    assert cached(built(engine, tmp_path, f"FROM busybox\nENV a=2\nRUN {ANEW} > /labels")) == 0


def test_without_the_cache_everything_is_built_anew(engine: Engine, tmp_path: Path) -> None:
    """And the next build finds the new results."""
    text = f"FROM busybox\nRUN {ANEW} > /anew"
    built(engine, tmp_path, text)
    first = show(engine, "cat /anew")
    assert cached(built(engine, tmp_path, text, "--no-cache")) == 0
    second = show(engine, "cat /anew")
    assert cached(built(engine, tmp_path, text)) == 1
    assert first != second == show(engine, "cat /anew")


def test_the_image_before_is_never_changed(engine: Engine, tmp_path: Path) -> None:
    """Whatever a step does to its files."""
    before = engine.ok("run", "--rm", "busybox", "sh", "-c", "find / -xdev | sort | md5sum")
    built(engine, tmp_path, "FROM busybox\nRUN rm -rf /etc/os-release && echo x > /bin/new && chmod 700 /bin")
    assert engine.ok("run", "--rm", "busybox", "sh", "-c", "find / -xdev | sort | md5sum") == before


def test_a_failing_step_ends_with_its_own_status(engine: Engine, tmp_path: Path) -> None:
    """The line is named and its output shown; nothing of it is left."""
    done = build(engine, tmp_path, "FROM busybox\n\nRUN echo out; echo err >&2; exit 3")
    assert done.code == 3
    assert {"out", "err"} <= set(done.lines)
    assert (
        "Dockerfile:3:1: The command '/bin/sh -c echo out; echo err >&2; exit 3' returned a non-zero code: 3"
        in done.err
    )
    assert engine.everything() == []


def test_a_failing_step_is_kept_when_that_is_asked(engine: Engine, tmp_path: Path) -> None:
    """With what it has written."""
    done = build(engine, tmp_path, "FROM busybox\nRUN echo found > /x; exit 3", "--rm=false")
    (id,) = engine.everything()
    assert id[:12] in done.err
    assert engine.ok("export", id, "-o", str(tmp_path / "x.tar")) == ""
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert archive.extractfile("x").read() == b"found\n"  # type: ignore[union-attr]


def test_quiet_says_the_id_and_in_trouble_the_last_lines(engine: Engine, tmp_path: Path) -> None:
    """For scripts."""
    done = built(engine, tmp_path, "FROM busybox\nRUN echo quiet > /quiet", "-q", "--iidfile", str(tmp_path / "id"))
    assert done.lines == [engine.ok("images", "-q", "--no-trunc", "built")]
    assert (tmp_path / "id").read_text() == done.lines[0]
    failed = build(engine, tmp_path, "FROM busybox\nRUN seq 100; exit 4", "-q")
    assert (failed.code, failed.out) == (4, "")
    assert failed.err.splitlines()[:20] == [str(n) for n in range(81, 101)]


def test_several_names_and_the_last_lines(engine: Engine, tmp_path: Path) -> None:
    """As scripts read them."""
    done = built(engine, tmp_path, "FROM busybox\nRUN echo named > /named", "-t", "other:2")
    id = engine.ok("images", "-q", "other:2")
    assert done.lines[-3:] == [
        f"Successfully built {id}",
        "Successfully tagged built:latest",
        "Successfully tagged other:2",
    ]
    engine.ok("rmi", "other:2")


def test_arguments_that_nobody_asks_for_are_told(engine: Engine, tmp_path: Path) -> None:
    """A typo has no other sign."""
    done = built(engine, tmp_path, "FROM busybox", "--build-arg", "VERSOIN=1")
    assert "[Warning] One or more build-args [VERSOIN] were not consumed" in done.lines


@pytest.mark.parametrize(
    ("dockerfile", "says"),
    [
        ("FROM busybox\nRNU x", "Dockerfile:2:1: unknown instruction: RNU (did you mean RUN?)"),
        (
            "FROM busybox\nCOPY nothing /x",
            "Dockerfile:2:1: COPY failed: file not found in build context or excluded by",
        ),
        ("FROM busybox\nCOPY ../x /x", "forbidden path outside the build context"),
        ("FROM busybox\nCOPY out /x", "file not found in build context"),
        ("FROM busybox\nCOPY absolute /x", "file not found in build context"),
        ("FROM busybox\nCOPY pipe /x", "pipe is neither a file, nor a directory, nor a link"),
        ("FROM busybox\nCOPY . /x", "is neither a file, nor a directory, nor a link"),
        ("FROM busybox\nCOPY a.txt /etc/os-release/", "cannot copy to non-directory: /etc/os-release"),
        ("FROM busybox\nCOPY --chown=nosuch a.txt /x", "unable to find user nosuch"),
        ("FROM busybox\nUSER nosuch\nRUN true", "unable to find user nosuch"),
        ("FROM nosuchimage", "Dockerfile:1:1: nosuchimage is not here, and "),
        ("FROM busybox AS x\nFROM busybox\nCOPY --from=y /x /y", "Dockerfile:3:1: y is not here, and "),
        ("RUN x", "no build stage in current context"),
        ("", "the Dockerfile (Dockerfile) cannot be empty"),
        ("FROM busybox\nCOPY hidden /x", "line 2 (hidden) hides it"),
    ],
)
def test_what_cannot_be_built_is_refused(served: Engine, tmp_path: Path, dockerfile: str, says: str) -> None:
    """With the place and the reason, and without a trace."""
    lay(
        tmp_path,
        {
            **TREE,
            "out": "->../../../../../../etc/passwd",
            "absolute": "->/etc/shadow",
            "hidden": "x",
            ".dockerignore": "# rules\nhidden\n",
        },
    )
    os.mkfifo(tmp_path / "pipe")
    done = build(served, tmp_path, dockerfile)
    assert done.code == 1
    assert says in done.err
    assert "Traceback" not in done.err
    until(lambda: not served.everything(), "nothing is left of it")


def test_a_context_may_hold_what_nobody_copies(engine: Engine, tmp_path: Path) -> None:
    """Pipes, sockets and links that lead nowhere must not hang or break a build that does not want them."""
    lay(tmp_path, TREE)
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        built(engine, tmp_path, "FROM busybox\nCOPY a.txt /x")
    assert show(engine, "cat /x") == "a"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.mkdir(), "is not a regular file, but a directory"),
        (lambda path: path.symlink_to("/etc/shadow"), "is a link that leads out of the context: /etc/shadow"),
        (lambda path: os.mkfifo(path), "is not a regular file, but a other"),
        (lambda path: None, "no such file or directory"),
    ],
    ids=["directory", "link", "pipe", "missing"],
)
def test_a_dockerfile_that_is_none_is_refused(served: Engine, tmp_path: Path, make: object, says: str) -> None:
    """What it leads to is not read."""
    make(tmp_path / "Dockerfile")  # type: ignore[operator]
    done = served.cli("build", str(tmp_path))
    assert done.code == 1
    assert says in done.err


def test_a_dockerfile_may_be_a_link_inside_of_its_context(engine: Engine, tmp_path: Path) -> None:
    """People keep several of them side by side."""
    (tmp_path / "Dockerfile.prod").write_text("FROM busybox\nRUN echo prod > /x")
    (tmp_path / "Dockerfile").symlink_to("Dockerfile.prod")
    assert engine.cli("build", "-t", "built", ".", cwd=tmp_path).code == 0
    assert show(engine, "cat /x") == "prod"


def test_a_dockerfile_from_elsewhere_and_from_standard_input(engine: Engine, tmp_path: Path) -> None:
    """With a context, and without."""
    lay(tmp_path, {"context/a.txt": "a\n", "other/D": "FROM busybox\nCOPY a.txt /x\n"})
    assert engine.cli("build", "-t", "built", "-f", "other/D", "context", cwd=tmp_path).code == 0
    assert show(engine, "cat /x") == "a"
    done = engine.cli("build", "-t", "built", "-f", "-", str(tmp_path / "context"), stdin="FROM busybox\nCOPY . /y\n")
    assert done.code == 0
    assert show(engine, "ls /y") == "a.txt"
    assert engine.cli("build", "-t", "built", "-", stdin="FROM busybox\nRUN echo alone > /x\n").code == 0
    assert show(engine, "cat /x") == "alone"
    assert "no build context" in engine.cli("build", "-", stdin="FROM busybox\nCOPY a /x\n").err


@pytest.mark.parametrize("pack", [lambda data: data, __import__("gzip").compress, __import__("lzma").compress])
def test_a_context_may_come_as_an_archive(served: Engine, pack: object) -> None:
    """Packed or not; its own `.dockerignore` counts."""
    data = tar_of(Dockerfile=b"FROM busybox\nCOPY . /d\n", a=b"a\n", b=b"b\n", **{".dockerignore": b"b\n"})
    argv = [str(PROGRAMS / "lading"), "build", "-t", "built", "-"]
    done = subprocess.run(argv, env=served.environment, input=pack(data), capture_output=True, timeout=60, check=False)  # type: ignore[operator]
    assert done.returncode == 0, done.stderr
    assert show(served, "ls -A /d") == ".dockerignore\nDockerfile\na"


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("../x", tarfile.REGTYPE, "a name that cannot be one"),
        ("a/../../x", tarfile.REGTYPE, "a name that cannot be one"),
        ("x" * 300, tarfile.REGTYPE, "a name that is too long"),
        ("l", tarfile.LNKTYPE, "a hard link to nothing"),
    ],
)
def test_a_hostile_archive_is_refused(served: Engine, name: str, kind: bytes, says: str) -> None:
    """Before any of it is used."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "../../../../etc/passwd"
        archive.addfile(entry)
    argv = [str(PROGRAMS / "lading"), "build", "-"]
    done = subprocess.run(
        argv, env=served.environment, input=out.getvalue(), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert says in done.stderr.decode()


def test_a_program_builds_over_the_bus(engine: Engine) -> None:
    """As docs/programs.md has it: the context goes there as a stream, what is told comes back in pieces."""
    context = tar_of(Dockerfile=b"FROM busybox\nCOPY a /x\nRUN echo told\n", a=b"from a program\n")
    told: dict[bytes, bytes] = {}
    with closing(Line(engine.socket)) as line:
        line.subscribe("_INBOX.@.1", 1)
        words = ("1", "session=mine", "", "build", "-t", "built", "-")
        line.publish("lading.@.call.@", "".join(f"{word}\0" for word in words).encode(), "_INBOX.@.1")
        while b"X" not in told:
            _, message = line.hear()
            kind, rest = message[:1], message[1:]
            if kind == b"I":
                line.publish("lading.@.io.@.mine", b"d" + context)
                line.publish("lading.@.io.@.mine", b"e")
            told[kind] = told.get(kind, b"") + rest
    assert told[b"X"] == b"0", told
    assert b"told\n" in told[b"O"]
    assert b"Successfully tagged built:latest" in told[b"O"]
    assert show(engine, "cat /x") == "from a program"


def test_nothing_is_sent_that_nobody_needs(engine: Engine, tmp_path: Path) -> None:
    """A context of any size costs nothing when no step takes files from it."""
    lay(tmp_path, TREE)
    assert "Sending build context to lading daemon  0B" in built(engine, tmp_path, "FROM busybox\nRUN true").lines


def test_a_build_is_called_off_by_an_interrupt(engine: Engine, tmp_path: Path) -> None:
    """What was finished stays in the cache; no container is left, and the history says who has ended it."""
    text = "FROM busybox\nRUN echo kept > /kept\nRUN echo now; sleep 600"
    (tmp_path / "Dockerfile").write_text(text)
    process = engine.begin("build", str(tmp_path))
    until(lambda: runs(engine, "sleep 600"), "the step runs")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    until(lambda: not engine.everything(), "its container is gone")
    assert cached(built(engine, tmp_path, "FROM busybox\nRUN echo kept > /kept")) == 1
    assert "builder cancel" in engine.ok("events", "--since", "0", "--until", "0s", "-f", "type=builder")


def test_a_build_ends_with_its_client(engine: Engine, tmp_path: Path) -> None:
    """Nobody would see the result."""
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN sleep 600")
    process = engine.begin("build", str(tmp_path))
    until(lambda: runs(engine, "sleep 600"), "the step runs")
    process.kill()
    process.wait(30)
    until(lambda: not engine.everything(), "its container is gone")


def test_a_crash_of_the_engine_leaves_nothing_but_the_cache(engine: Engine, tmp_path: Path) -> None:
    """The next engine says so in the history, takes away the container, and goes on from the cache."""
    text = "FROM busybox\nRUN echo crash > /crash\nRUN echo  > /y; sleep 600"
    (tmp_path / "Dockerfile").write_text(text)
    process = engine.begin("build", str(tmp_path))
    until(lambda: runs(engine, "sleep 600"), "the second step runs")
    engine.crash()
    process.wait(30)
    engine.start()
    until(lambda: not engine.everything(), "its container is gone")
    told = engine.ok("events", "--since", "0", "--until", "0s", "-f", "type=builder").splitlines()[-1]
    assert "builder cancel" in told
    assert told.endswith("(by=engine)")
    assert cached(built(engine, tmp_path, "FROM busybox\nRUN echo crash > /crash")) == 1
    assert "the chain is whole" in engine.ok("audit", "verify")


@pytest.mark.parametrize("point", BUILDS)
def test_a_kill_at_any_point_leaves_nothing_but_the_cache(engine: Engine, tmp_path: Path, point: str) -> None:
    """The next build goes on from there; when names and cache are gone, so is everything on the disk."""
    lay(tmp_path, TREE)
    text = f"FROM busybox\nRUN echo {point} > /x\nCOPY a.txt /{point}\nRUN --mount=target=/c true"
    engine.restart(f"{point}=kill")
    assert build(engine, tmp_path, text).code != 0
    engine.start()
    until(lambda: not engine.everything(), "its containers are gone")
    told = engine.ok("events", "--since", "0", "--until", "0s", "-f", "type=builder").splitlines()[-1]
    assert ("builder build" if point == "build.finished" else "builder cancel") in told
    built(engine, tmp_path, text)
    assert show(engine, f"cat /x /{point}") == f"{point}\na"
    forget(engine)
    store = engine.data / "store"
    assert [len(list((store / name).iterdir())) for name in ("layers", "tmp", "ingest")] == [1, 0, 0]
    assert not list((engine.data / "tmp").iterdir())
    assert "the chain is whole" in engine.ok("audit", "verify")


def test_the_history_of_a_build_tells_every_step(engine: Engine, tmp_path: Path) -> None:
    """Its inputs by name, its time, and how it ended; values of arguments are in none of it."""
    built(engine, tmp_path, "FROM busybox\nARG PASSWORD\nRUN echo audited > /x", "--build-arg", "PASSWORD=hunter2")
    id = engine.ok("events", "--since", "0", "--until", "0s", "-f", "type=builder", "--format", "{{.ID}}").splitlines()[
        -1
    ]
    records = [json.loads(line) for line in engine.ok("audit", "--json", id[:12]).splitlines()]
    assert [record["event"] for record in records] == [
        "build-requested",
        "build-step-done",
        "build-step-done",
        "build-step-started",
        "build-step-done",
        "build-finished",
    ]
    inputs = dict(records[3]["data"]["inputs"])
    assert {"base", "command", "ARG PASSWORD"} <= inputs.keys()
    assert records[4]["took_ns"] > 0
    assert "hunter2" not in json.dumps(records)


def test_the_cache_can_be_emptied(engine: Engine, tmp_path: Path) -> None:
    """What images have stays until all is asked for; then the next build repeats everything."""
    built(engine, tmp_path, "FROM busybox\nRUN head -c 3000000 /dev/zero | tr '\\0' x > /pruned")
    engine.ok("rmi", "built")
    assert "Total reclaimed space: " in engine.ok("builder", "prune", "-f")
    assert cached(built(engine, tmp_path, "FROM busybox\nRUN head -c 3000000 /dev/zero | tr '\\0' x > /pruned")) == 0
    engine.ok("builder", "prune", "-f")
    assert cached(built(engine, tmp_path, "FROM busybox\nRUN head -c 3000000 /dev/zero | tr '\\0' x > /pruned")) == 1
    engine.ok("builder", "prune", "-af")
    assert engine.ok("builder", "prune", "-af") == "Total reclaimed space: 0B"
    assert show(engine, "wc -c < /pruned") == "3000000"


def sent(done: Done) -> str:
    """How much of the context has come."""
    return next(line for line in done.out.splitlines() if line.startswith("Sending build context")).split()[-1]


def test_of_a_context_only_what_has_changed_is_sent(engine: Engine, tmp_path: Path) -> None:
    """A change is seen that leaves size and times as they were; with --no-cache, and after the cache was emptied,
    everything comes again."""
    (tmp_path / "data").write_bytes(b"1" * 3_000_000)
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY data kept /\n")

    def again(*options: str) -> Done:
        done = engine.cli("build", "-t", "built", *options, str(tmp_path), timeout=90)
        assert done.code == 0, f"{done.out}\n{done.err}"
        return done

    assert sent(again()).endswith("MB")
    if os.major(tmp_path.stat().st_dev):  # of files in memory or behind a server everything comes each time
        done = until(lambda: told if not sent(told := again()).endswith("MB") else None, "files are old", pause=0.2)
        assert cached(done) == 1
        engine.ok("builder", "prune", "-f")
        assert sent(again()).endswith("MB")
    before = (tmp_path / "data").stat()
    (tmp_path / "data").write_bytes(b"2" * before.st_size)
    os.utime(tmp_path / "data", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cached(again()) == 0
    assert show(engine, "head -c 1 /data; cat /kept") == "2kept"
    assert sent(again("--no-cache")).endswith("MB")


def test_a_removed_image_is_built_from_the_cache(engine: Engine, tmp_path: Path) -> None:
    """Removing a name does not remove what builds have found out."""
    built(engine, tmp_path, "FROM busybox\nRUN echo removed > /removed")
    engine.ok("rmi", "built")
    assert cached(built(engine, tmp_path, "FROM busybox\nRUN echo removed > /removed")) == 1
    assert show(engine, "cat /removed") == "removed"


def test_two_builds_at_once_do_one_thing_once(engine: Engine, tmp_path: Path) -> None:
    """The second waits for the step, and finds it.

    CVE-2024-36621.
    """
    (tmp_path / "Dockerfile").write_text(f"FROM busybox\nRUN sleep 1; {ANEW} > /once")
    processes = [engine.begin("build", "-q", str(tmp_path)) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len({process.stdout.read() for process in processes}) == 1  # type: ignore[union-attr]


def test_independent_stages_are_built_at_the_same_time(engine: Engine, tmp_path: Path) -> None:
    """Each waits for a sign of the other, which comes only if both run."""
    shared = tmp_path / "shared"
    shared.mkdir()
    text = (
        "".join(f"FROM busybox AS s{n}\nRUN sleep 2\n" for n in range(3))
        + "FROM busybox\n"
        + "".join(f"COPY --from=s{n} /etc/os-release /s{n}\n" for n in range(3))
    )
    (tmp_path / "Dockerfile").write_text(text.replace("sleep 2", "sleep 2 # at once"))
    process = engine.begin("build", "-q", str(tmp_path))
    until(lambda: sum(row["state"] == "running" for row in engine.rows().values()) == 1, "a step runs")
    assert process.wait(60) == 0


def test_the_files_of_a_result_can_be_brought_out(engine: Engine, tmp_path: Path) -> None:
    """Into a directory that is made, into an archive, and through a pipe; no image is made."""
    text = "FROM scratch\nCOPY src /out/\nCOPY tool /\n"
    lay(tmp_path, {f"context/{name}": what for name, what in TREE.items()})
    (tmp_path / "context" / "Dockerfile").write_text(text)
    before = engine.ok("images", "-aq")
    done = engine.cli("build", "-o", "a/b", "context", cwd=tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "a/b/out/sub/z.py").read_text() == "z\n"
    assert os.readlink(tmp_path / "a/b/out/link") == "x.py"
    assert (tmp_path / "a/b/tool").stat().st_mode & 0o777 == 0o755
    engine.ok("build", "-o", f"type=tar,dest={tmp_path}/x.tar", str(tmp_path / "context"))
    argv = [str(PROGRAMS / "lading"), "build", "-o", "-", str(tmp_path / "context")]
    piped = subprocess.run(argv, env=engine.environment, capture_output=True, timeout=60, check=True).stdout
    for data in ((tmp_path / "x.tar").read_bytes(), piped):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert {"out/sub/z.py", "tool"} <= set(archive.getnames())
    assert engine.ok("images", "-aq") == before


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server of files on this host."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file.txt").write_bytes(b"served\n")
    (folder / "site.tar").write_bytes(tar_of(in__side=b"inside\n"))
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_is_added_from_an_address(engine: Engine, tmp_path: Path, address: str) -> None:
    """For its owner alone, with its name where a directory is named, packed unless it is said, checked if asked."""
    good = hashlib.sha256(b"served\n").hexdigest()
    built(
        engine,
        tmp_path,
        f"FROM busybox\nADD {address}/file.txt /x\nADD --checksum=sha256:{good} {address}/file.txt /d/\n"
        f"ADD {address}/site.tar /p/\nADD --unpack {address}/site.tar /u/\n",
    )
    assert show(engine, "cat /x /d/file.txt /u/in/side; stat -c '%a %u' /x; ls /p") == (
        "served\nserved\ninside\n600 0\nsite.tar"
    )
    wrong = build(engine, tmp_path, f"FROM busybox\nADD --checksum=sha256:{'0' * 64} {address}/file.txt /x")
    assert f"is sha256:{good}, but should be sha256:000" in wrong.err
    assert "the server answers 404" in build(engine, tmp_path, f"FROM busybox\nADD {address}/none /x").err


def test_secrets_reach_their_step_and_nothing_else(engine: Engine, tmp_path: Path) -> None:
    """Neither layers nor history, events, keys or the disk hold them; another secret does not spoil the cache."""
    (tmp_path / "token").write_text("hunter2-in-a-file")
    text = (
        "FROM busybox\nRUN --mount=type=secret,id=t cp /run/secrets/t /dev/shm/t && wc -c < /run/secrets/t > /len && "
        "stat -c %a /run/secrets/t >> /len\n"
        "RUN --mount=type=secret,id=v,env=TOKEN echo ${#TOKEN} >> /len && ls -a /run >> /len 2>&1 || true\n"
    )
    options = ("--secret", f"id=t,src={tmp_path}/token", "--secret", "id=v,env=MINE")
    (tmp_path / "Dockerfile").write_text(text)
    done = engine.cli("build", "-t", "built", *options, str(tmp_path), env={"MINE": "hunter2-in-a-variable"})
    assert done.code == 0, done.err
    assert show(engine, "head -3 /len; test -e /run/secrets; echo $?") == "17\n400\n21\n1"
    found = subprocess.run(
        ["grep", "-rl", "--binary-files=text", "hunter2-in", str(engine.data), str(engine.run_dir)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""
    (tmp_path / "token").write_text("another one")
    assert cached(engine.cli("build", *options, str(tmp_path), env={"MINE": "x"})) == 2
    refused = build(engine, tmp_path, "FROM busybox\nRUN --mount=type=secret,id=no,required true")
    assert "secret no is required and not there" in refused.err


def test_a_cache_directory_lasts_between_builds(engine: Engine, tmp_path: Path) -> None:
    """And is no part of the image; pruning everything takes it away."""
    text = "FROM busybox\nRUN --mount=type=cache,target=/cache,id=n echo x >> /cache/n && wc -l < /cache/n > /lines{}\n"
    built(engine, tmp_path, text.format(1))
    built(engine, tmp_path, text.format(2))
    assert show(engine, "cat /lines2; ls -d /cache 2>/dev/null; echo $?") == "2\n1"
    engine.ok("builder", "prune", "-af")
    built(engine, tmp_path, text.format(3))
    assert show(engine, "cat /lines3") == "1"


def foreign(engine: Engine, folder: Path) -> None:
    """An image `foreign` like the base, that says it is for another platform."""
    engine.ok("save", "busybox", "-o", str(folder / "base.tar"))
    with tarfile.open(folder / "base.tar") as archive:
        files = {entry.name: archive.extractfile(entry).read() for entry in archive if entry.isfile()}  # type: ignore[union-attr]
    (entry,) = json.loads(files["manifest.json"])
    config = json.dumps(json.loads(files[entry["Config"]]) | {"architecture": "s390x"}).encode()
    told = [{"Config": "config.json", "RepoTags": ["foreign:latest"], "Layers": ["layer.tar"]}]
    parts = {"config.json": config, "layer.tar": files[entry["Layers"][0]], "manifest.json": json.dumps(told).encode()}
    with tarfile.open(folder / "foreign.tar", "w") as archive:
        for name, data in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    engine.ok("load", "-i", str(folder / "foreign.tar"))


def test_what_another_platform_executes_is_not_built_here(engine: Engine, tmp_path: Path) -> None:
    """Everything else is: an image for another platform with the files of a stage for this one. An image that is here
    for one platform is not taken for another, unless its registry has that; then its name stays what it was."""
    here = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    built(engine, tmp_path, f"FROM --platform=linux/{here} busybox", "--platform", f"linux/{here}")
    foreign(engine, tmp_path)
    text = (
        "FROM --platform=$BUILDPLATFORM busybox AS make\nARG TARGETPLATFORM BUILDPLATFORM\n"
        "RUN echo $TARGETPLATFORM $BUILDPLATFORM > /x\nFROM {0}\nCOPY --from=make /x /x\nWORKDIR /w\nCMD cat /x\n"
    )
    for base in ("foreign", "scratch"):
        built(engine, tmp_path, text.format(base), "--platform", "linux/s390x")
        image = json.loads(engine.ok("inspect", "--type", "image", "built"))[0]
        assert (image["Os"], image["Architecture"]) == ("linux", "s390x")
    refused = build(engine, tmp_path, "FROM foreign\nRUN true", "--platform", "s390x")
    assert "Dockerfile:2:1: RUN needs a kernel that executes programs for linux/s390x" in refused.err
    assert "one platform at a time" in build(engine, tmp_path, "FROM busybox", "--platform", "amd64,arm64").err
    with distribution(tmp_path / "registry") as registry:
        listed = []
        for name in ("busybox", "foreign"):
            engine.ok("tag", name, f"{registry.host}/base:{name}")
            engine.ok("push", f"{registry.host}/base:{name}")
            accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
            _, data = raw("GET", f"http://{registry.host}/v2/base/manifests/{name}", headers=accept)
            listed.append(
                {
                    "mediaType": accept["Accept"],
                    "size": len(data),
                    "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
                    "platform": {"os": "linux", "architecture": here if name == "busybox" else "s390x"},
                }
            )
        kind = "application/vnd.docker.distribution.manifest.list.v2+json"
        index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": listed}).encode()
        raw("PUT", f"http://{registry.host}/v2/base/manifests/1", index, {"Content-Type": kind})
        name = f"{registry.host}/base:1"
        engine.ok("pull", name)
        before = engine.ok("images", "-q", name)
        for _ in range(2):
            built(engine, tmp_path, f"FROM {name}\nCOPY Dockerfile /", "--platform", "linux/s390x")
            assert engine.ok("inspect", "--type", "image", "-f", "{{.Architecture}}", "built") == "s390x"
        assert engine.ok("images", "-q", name) == before
        missing = build(engine, tmp_path, f"FROM {name}", "--platform", "linux/riscv64")
        assert "It offers: linux/" in missing.err
        engine.ok("rmi", "foreign", name, *(f"{registry.host}/base:{one}" for one in ("busybox", "foreign")))


def test_steps_are_taken_from_an_image_that_was_built_elsewhere(engine: Engine, tmp_path: Path) -> None:
    """By what it says of itself: the same image comes of it, and what follows is kept here. What was asked for and is
    not there does not end the build."""
    lay(tmp_path, TREE)
    text = f"FROM busybox\nRUN {ANEW} > /x\nCOPY src /d\nRUN {ANEW} > /y\n"
    built(engine, tmp_path, text)
    id = engine.ok("images", "-q", "--no-trunc", "built")
    engine.ok("save", "built", "-o", str(tmp_path / "saved"))
    forget(engine)
    engine.ok("load", "-i", str(tmp_path / "saved"))
    engine.ok("tag", "built", "lender")
    os.utime(tmp_path / "src" / "x.py", (1, 1))
    done = built(engine, tmp_path, text, "--cache-from", "127.0.0.1:1/x,lender", "--cache-to", "type=inline")
    assert "no steps can be taken from 127.0.0.1:1/x" in done.err
    assert cached(done) == 3
    assert engine.ok("images", "-q", "--no-trunc", "built") == id
    longer = built(engine, tmp_path, f"{text}RUN echo more > /z")
    assert cached(longer) == 3
    assert cached(built(engine, tmp_path, text, "--cache-from", "lender", "--no-cache")) == 0
    assert "cannot be written to" in build(engine, tmp_path, text, "--cache-to", "type=local,dest=x").err
    build_id = engine.ok("events", "--since", "0", "--until", "0s", "-f", "type=builder", "--format", "{{.ID}}")
    key = json.loads(engine.ok("audit", "--json", build_id.splitlines()[-2]).splitlines()[2])["data"]["key"]
    told = [json.loads(line) for line in engine.ok("audit", "--json", "cache", key[:12]).splitlines()]
    assert [one["event"] for one in told].count("build-cache-stored") >= 1
    assert sum(one["event"] == "build-step-done" for one in told) >= 2
    assert "nothing is kept under the key" in engine.refused("audit", "cache", "0" * 64)
    forget(engine)
    strip(tmp_path / "saved", tmp_path / "foreign")
    engine.ok("load", "-i", str(tmp_path / "foreign"))
    assert cached(built(engine, tmp_path, text, "--cache-from", "built")) == 3
    (tmp_path / "src" / "x.py").write_text("other")
    engine.ok("builder", "prune", "-af")
    engine.ok("load", "-i", str(tmp_path / "foreign"))
    assert cached(built(engine, tmp_path, text, "--cache-from", "built")) == 1


def strip(saved: Path, target: Path) -> None:
    """The same image as one of another builder: nothing in it says by which keys its steps were kept."""
    with tarfile.open(saved) as archive, tarfile.open(target, "w") as out:
        (image,) = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
        config = json.loads(archive.extractfile(image["Config"]).read())  # type: ignore[union-attr]
        config = {name: value for name, value in config.items() if not name.startswith("lading.")}
        for name, data in (
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps([{**image, "Config": "config.json"}]).encode()),
            *((name, archive.extractfile(name).read()) for name in image["Layers"]),  # type: ignore[union-attr]
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """The socket of an agent that has no keys and says so."""
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    if client.recv(5) == b"\0\0\0\1\x0b":
                        client.sendall(b"\0\0\0\5\x0c\0\0\0\0")

        thread = threading.Thread(target=answer)
        thread.start()
        yield path
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def asked(path: str, message: bytes) -> bytes:
    """What an agent answers behind a path that may be longer than an address can be."""
    folder = os.open(os.path.dirname(path), os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
            client.sendall(message)
            return client.recv(100)
    finally:
        os.close(folder)


def test_an_agent_can_be_asked_by_a_step_that_wants_it(engine: Engine, tmp_path: Path, agent: Path) -> None:
    """For its keys and for signatures, and for nothing else; no trace of it stays, and no other step has it."""
    text = (
        "FROM busybox\nRUN --mount=type=ssh,uid=7 stat -c '%a %u' $SSH_AUTH_SOCK > /x; touch /dev/shm/on; "
        "while [ -e /dev/shm/on ]; do sleep 0.01; done\nRUN echo [$SSH_AUTH_SOCK] >> /x; ls /run >> /x 2>&1\n"
    )
    (tmp_path / "Dockerfile").write_text(text)
    process = engine.begin("build", "-t", "built", "--ssh", "default", str(tmp_path), env={"SSH_AUTH_SOCK": str(agent)})
    until(lambda: runs(engine, "/dev/shm/on"), "the step runs")
    (pid,) = [int(str(row["pid"])) for row in engine.rows().values() if row["state"] == "running"]
    mark = Path(f"/proc/{pid}/root/dev/shm/on")
    until(mark.exists, "the step waits")
    inside = f"/proc/{pid}/root/run/buildkit/ssh_agent.0"
    assert asked(inside, b"\0\0\0\1\x0b") == b"\0\0\0\5\x0c\0\0\0\0"
    assert asked(inside, b"\0\0\0\1\x13") == b"\0\0\0\1\5"
    mark.unlink()
    assert process.wait(60) == 0
    assert show(engine, "cat /x; test -e /run/buildkit; echo $?").splitlines()[:2] == ["600 7", "[]"]
    assert show(engine, "test -e /run/buildkit; echo $?") == "1"
    want = "FROM busybox\nRUN --mount=type=ssh,required true"
    assert "the ssh agent default is required and not there" in build(engine, tmp_path, want).err
    assert "SSH_AUTH_SOCK is not set" in build(engine, tmp_path, want, "--ssh", "default").err
    assert "is a file" in build(engine, tmp_path, want, "--ssh", "default=/etc/passwd").err
    assert "there is no agent to ask for keys" in engine.cli("build", "git@github.com:a/b.git").err


def test_limits_hold_for_steps(engine: Engine, tmp_path: Path) -> None:
    """A step that takes more memory than it may have fails like a container that does."""
    done = build(engine, tmp_path, "FROM busybox\nRUN tail /dev/zero", "-m", "16m", "--memory-swap", "16m")
    assert done.code == 137


def test_a_context_may_come_from_an_address(engine: Engine, tmp_path: Path, address: str) -> None:
    """An archive, or a Dockerfile alone."""
    served = tmp_path / "served"
    (served / "context.tar").write_bytes(tar_of(Dockerfile=b"FROM busybox\nCOPY a /x\n", a=b"from afar\n"))
    (served / "D").write_text("FROM busybox\nRUN echo alone > /x\n")
    for name, text in (("context.tar", "from afar"), ("D", "alone")):
        engine.ok("build", "-t", "built", f"{address}/{name}")
        assert show(engine, "cat /x") == text
    refused = engine.cli("build", f"{address}/none").err
    assert "the server answers 404" in refused
    assert "ADD" not in refused


def git(folder: Path, *words: str) -> str:
    """What git prints; the test is skipped where it is not installed."""
    program = shutil.which("git")
    if program is None:
        pytest.skip("needs git")
    who = {f"GIT_{one}_{what}": "ann" for one in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {"PATH": os.defpath, "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", **who}
    return subprocess.run(
        [program, *words], cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """A repository that is served on this host, with a branch and a directory."""
    folder = tmp_path / "repositories" / "app.git"
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main", ".")
    lay(
        folder,
        {
            "Dockerfile": "FROM busybox\nCOPY . /d\n",
            "a": "main\n",
            "in/Dockerfile": "FROM busybox\nCOPY a /x\n",
            "in/a": "inside\n",
            "out": "->/etc/passwd",
        },
    )
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "checkout", "-q", "-b", "other")
    (folder / "a").write_text("other\n")
    git(folder, "commit", "-q", "-a", "-m", "two")
    git(folder, "checkout", "-q", "main")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = ["git", "daemon", "--export-all", "--reuseaddr", f"--base-path={folder.parent}", "--listen=127.0.0.1",
            f"--port={port}"]  # fmt: skip
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as server:
        try:
            until(lambda: listens(port), "git daemon listens")
            yield f"git://127.0.0.1:{port}/app.git"
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def test_a_repository_is_a_context_and_can_be_added(engine: Engine, tmp_path: Path, repository: str) -> None:
    """At a branch, in a directory, without its history; what it leads to outside is not there."""
    engine.ok("build", "-t", "built", repository)
    assert show(engine, "cat /d/a; ls -A /d; readlink /d/out") == "main\nDockerfile\na\nin\nout\n/etc/passwd"
    engine.ok("build", "-t", "built", f"{repository}#other:in")
    assert show(engine, "cat /x") == "inside"
    text = f"FROM busybox\nADD {repository}#other /r\nADD --keep-git-dir {repository} /g/"
    built(engine, tmp_path, text)
    assert show(engine, "cat /r/a /g/a; ls -d /g/.git; ls -d /r/.git 2>/dev/null; true") == "other\nmain\n/g/.git"
    assert cached(built(engine, tmp_path, f"FROM busybox\nADD {repository}#other /r")) == 1
    assert "git: " in engine.cli("build", f"{repository}#nosuch").err
    assert "lead out of the repository" in engine.cli("build", f"{repository}#main:../..").err
    assert not list((engine.data / "tmp").iterdir())


def test_what_a_build_needs_is_pulled(engine: Engine, tmp_path: Path) -> None:
    """What stages begin with, and what files are taken from; with --pull also what is here."""
    with distribution(tmp_path / "registry") as registry:
        name = f"{registry.host}/base:1"
        engine.ok("tag", "busybox", name)
        engine.ok("push", name)
        engine.ok("rmi", name)
        done = built(engine, tmp_path, f"FROM busybox AS x\nFROM busybox\nCOPY --from={name} /etc/os-release /x")
        assert "Downloaded newer image" in done.err
        assert "up to date" in built(engine, tmp_path, f"FROM {name}", "--pull").err
        engine.ok("rmi", name)


def test_steps_have_the_network_of_containers(engine: Engine, tmp_path: Path) -> None:
    """Or what is said for all of them, or for one."""
    text = "FROM busybox\nRUN ls /sys/class/net > /a\nRUN --network=none ls /sys/class/net > /b"
    built(engine, tmp_path, text)
    assert show(engine, "cat /a | tr '\\n' ' '; cat /b") == "eth0 lo lo"
    built(engine, tmp_path, text, "--network", "none")
    assert show(engine, "cat /a") == "lo"
