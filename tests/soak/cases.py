"""What is done over and over by command lines: each case gets a tool, ours or docker's, and raises Fault."""

import hashlib
import io
import json
import os
import re
import tarfile
import time
from collections.abc import Callable
from random import Random

from tests.soak.world import Fault, Running, Tool, World, content, cut, run, sequence, shown, slowly
from tests.tutorial.engine import until

Case = Callable[[World, Tool, Random], None]
SIZES = (0, 1, 4096, 65535, 65536, 65537, 600_000)
BOTH = "i=0; while [ $i -lt 300 ]; do echo $i; echo $i >&2; i=$((i+1)); done"


def input_comes_through(world: World, tool: Tool, chance: Random) -> None:
    """What goes into `cat` comes out of it, whoever is slow."""
    size = chance.choice((*SIZES, *SIZES, *SIZES, 20_000_000))
    data = content(chance, size)
    how = chance.choice(("run", "exec", "start"))
    words = {"run": ("run", "--rm", "-i", "busybox", "cat"), "exec": ("exec", "-i", world.box, "cat")}
    if how == "start":
        id = run(tool, "create", "-i", "busybox", "cat").out.decode().strip()
        words["start"] = ("start", "-ai", id)
    reading = (lambda: 0.0) if size > 1_000_000 else slowly(chance)
    ended = run(tool, *words[how], stdin=cut(chance, data, 1 << 20), pace=slowly(chance), reading=reading)
    if how == "start":
        run(tool, "rm", id).expect()
    ended.expect(data)


def unread_input_holds_nobody_up(world: World, tool: Tool, chance: Random) -> None:
    """A process that ends without reading has its status and its last words told."""
    data = content(chance, chance.choice((1, 65536, 600_000, 3_000_000)))
    code = chance.randrange(1, 100)
    script = f"echo last; exit {code}"
    words = chance.choice((("run", "--rm", "-i", "busybox"), ("exec", "-i", world.box)))
    run(tool, *words, "sh", "-c", script, stdin=cut(chance, data, 1 << 18)).expect(b"last\n", code)


def closed_output_does_not_end_input(world: World, tool: Tool, chance: Random) -> None:
    """A process that closes its output first still gets all of its input."""
    data = content(chance, chance.choice((1, 4096, 65537, 600_000)))
    script = "echo begun; exec >&- 2>&-; test $(cat | wc -c) = " + str(len(data))
    words = chance.choice((("run", "--rm", "-i", "busybox"), ("exec", "-i", world.box)))
    run(tool, *words, "sh", "-c", script, stdin=cut(chance, data, 1 << 18), pace=slowly(chance)).expect(b"begun\n")


def last_words(world: World, tool: Tool, chance: Random) -> None:
    """Output right before the end is there, all of it, with the status."""
    size = chance.choice((0, 1, 5, 4096, 65536, 300_000, 300_000, 20_000_000))
    code = chance.randrange(100)
    script = f"yes 12345 | head -c {size}; printf end >&2; exit {code}"
    words = chance.choice((("run", "--rm", "busybox"), ("exec", world.box), ("run", "--rm", "-i", "busybox")))
    wanted = (b"12345\n" * (size // 6 + 1))[:size]
    reading = (lambda: 0.0) if size > 1_000_000 else slowly(chance)
    run(tool, *words, "sh", "-c", script, reading=reading, stdin=() if "-i" in words else None).expect(
        wanted, code, b"end")


def ends_at_once(world: World, tool: Tool, chance: Random) -> None:
    """One line, and it is over."""
    words = chance.choice((("run", "--rm", "busybox"), ("exec", world.box), ("exec", "-i", world.box)))
    stdin = () if "-i" in words else None
    run(tool, *words, "echo", "word", stdin=stdin).expect(b"word\n")


def streams_stay_apart(world: World, tool: Tool, chance: Random) -> None:
    """Both outputs are whole, in their order."""
    words = chance.choice((("run", "--rm", "busybox"), ("exec", world.box)))
    ended = run(tool, *words, "sh", "-c", BOTH, reading=slowly(chance))
    for name, text in (("out", ended.out), ("err", ended.err)):
        sequence(text.splitlines(), name, 0, 299)


def terminal_output(world: World, tool: Tool, chance: Random) -> None:
    """With a terminal, too, nothing is lost at the end."""
    lines = chance.choice((1, 10, 2000, 20000))
    words = chance.choice((("run", "--rm", "-t", "busybox"), ("exec", "-t", world.box)))
    ended = run(tool, *words, "seq", "1", str(lines), reading=slowly(chance))
    ended.expect(b"".join(b"%d\r\n" % n for n in range(1, lines + 1)))


def follows_from_any_moment(world: World, tool: Tool, chance: Random) -> None:
    """`logs --tail N -f` begins somewhere, loses nothing and repeats nothing, across rotation, until the end."""
    lines = 6000
    driver = chance.choice((("--log-driver", "local"), ("--log-driver", "json-file"), ()))
    pause = chance.choice(("", "usleep 2000;"))
    step = 50
    script = f"i=1; while [ $i -le {lines} ]; do seq $i $((i+{step - 1})); i=$((i+{step})); {pause} done"
    id = run(tool, "run", "-d", *driver, "--log-opt", "max-size=8k", "--log-opt", "max-file=50", "busybox", "sh", "-c",
             script).out.decode().strip()
    followers = []
    for _ in range(3):
        tail = chance.choice(("0", "1", "10", "all"))
        followers.append((tail, Running(tool, "logs", "-f", "--tail", tail, id, reading=slowly(chance))))
        time.sleep(chance.random() * 0.1)
    try:
        for tail, follower in followers:
            ended = follower.end()
            numbers = ended.out.splitlines()
            if tail == "all":
                sequence(numbers, f"tail {tail}", 1, lines)
            elif numbers or tail != "0":
                sequence(numbers, f"tail {tail}", None, lines)
            if ended.err:
                raise Fault(f"said: {shown(ended.err)}")
        tail = str(chance.randrange(1, 200))
        sequence(run(tool, "logs", "--tail", tail, id).out.splitlines(), "the last", lines - int(tail) + 1, lines)
    finally:
        run(tool, "rm", "-f", id)


def waits_race_exits(world: World, tool: Tool, chance: Random) -> None:
    """Whoever waits hears the status, before, at and after the end."""
    code = chance.randrange(100)
    id = run(tool, "run", "-d", "busybox", "sh", "-c", f"usleep {chance.randrange(30000)}; exit {code}").out
    name = id.decode().strip()
    waits = [Running(tool, "wait", name) for _ in range(3)]
    for wait in waits:
        wait.end().expect(b"%d\n" % code)
    run(tool, "rm", name).expect()


def attaches_while_it_starts_and_ends(world: World, tool: Tool, chance: Random) -> None:
    """Several who attach to one container see the same to its end, and its status."""
    name = f"a{chance.randrange(1 << 60):x}"
    run(tool, "run", "-d", "--name", name, "-i", "busybox", "sh", "-c", "read x; seq 1 3000; exit 7").expect(None)
    watchers = [Running(tool, "attach", "--no-stdin", name, reading=slowly(chance)) for _ in range(2)]
    typist = Running(tool, "attach", name, stdin=(), keep_open=True)
    wanted = b"".join(b"%d\n" % n for n in range(1, 3001))
    try:
        until(lambda: sum("attached" in step for step in world.engine.steps(name)) == 3, "all are attached", 60)
        time.sleep(world.moment)  # they see everything a little later
        assert typist.process.stdin is not None
        os.write(typist.process.stdin.fileno(), b"go\n")
        for each in (typist, *watchers):
            each.end().expect(wanted, 7)
    finally:
        run(tool, "rm", "-f", name)


def started_and_attached(world: World, tool: Tool, chance: Random) -> None:
    """`start -a` shows a run from its first byte on, and only that one, with its status."""
    lines, code = chance.choice((1, 1000)), chance.randrange(100)
    script = f"seq 1 {lines}; exit {code}"
    id = run(tool, "create", "busybox", "sh", "-c", script).out.decode().strip()
    wanted = b"".join(b"%d\n" % n for n in range(1, lines + 1))
    try:
        for _ in range(3):
            run(tool, "start", "-a", id).expect(wanted, code)
    finally:
        run(tool, "rm", "-f", id)


def copies_through_pipes(world: World, tool: Tool, chance: Random) -> None:
    """`cp -` both ways."""
    data = content(chance, chance.choice((*SIZES, 5_000_000)))
    name = f"f{chance.randrange(1 << 60):x}"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    pieces = cut(chance, archive.getvalue(), 1 << 18)
    run(tool, "cp", "-", f"{world.box}:/tmp", stdin=pieces, pace=slowly(chance)).expect(b"", 0, None)
    ended = run(tool, "cp", f"{world.box}:/tmp/{name}", "-", reading=slowly(chance)).expect(None)
    run(world.lading, "exec", world.box, "rm", f"/tmp/{name}").expect()
    with tarfile.open(fileobj=io.BytesIO(ended.out)) as tar:
        member = tar.extractfile(name)
        found = b"" if member is None else member.read()
    if found != data:
        raise Fault(f"{shown(found)} for {shown(data)}")


def exports_through_pipes(world: World, tool: Tool, chance: Random) -> None:
    """`export` and `save` to a slow reader are whole archives."""
    verb, subject = chance.choice((("export", world.box), ("save", "busybox")))
    ended = run(tool, verb, subject, reading=slowly(chance)).expect(None)
    with tarfile.open(fileobj=io.BytesIO(ended.out)) as tar:
        for member in tar:
            if not member.isfile() or (file := tar.extractfile(member)) is None:
                continue
            if len(body := file.read()) != member.size:
                raise Fault(f"{member.name} has {len(body)} of {member.size} bytes")
            found = re.search(r"sha256/([0-9a-f]{64})$", member.name)
            if found is not None and hashlib.sha256(body).hexdigest() != found[1]:
                raise Fault(f"{member.name} has another content")


def builds_from_a_pipe(world: World, tool: Tool, chance: Random) -> None:
    """A context that comes in pieces is whole."""
    data = content(chance, chance.choice((1, 65537, 600_000)))
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    recipe = f'FROM busybox\nCOPY data /data\nRUN test "$(md5sum < /data)" = "{digest}  -"\n'.encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, body in (("Dockerfile", recipe), ("data", data)):
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    tool = Tool(tool.name, tool.program, {**tool.environment, "DOCKER_BUILDKIT": "0"})
    pieces = cut(chance, archive.getvalue(), 1 << 18)
    ended = run(tool, "build", "-q", "-", stdin=pieces, pace=slowly(chance)).expect(None, 0, None)
    run(tool, "rmi", "-f", ended.out.decode().strip()).expect(None, 0, None)


def events_once_and_in_order(world: World, tool: Tool, chance: Random) -> None:
    """Who listens hears everything that happens to a container exactly once, in order, whatever else happens."""
    name = f"e{chance.randrange(1 << 60):x}"
    words = ["events", "--format", "{{json .}}"]
    words += chance.choice(((), ("--filter", f"container={name}"), ("--filter", "type=container")))
    listener = Running(tool, *words)
    other = Running(tool, "events", "--format", "{{json .}}", "--filter", f"container={name}")
    time.sleep(0.6)
    run(tool, "run", "--rm", "--name", name, "busybox", "true").expect()
    run(tool, "run", "-d", "--name", name, "busybox", "sleep", "100").expect(None)
    run(tool, "pause", name).expect(None)
    run(tool, "unpause", name).expect(None)
    run(tool, "rm", "-f", name).expect(None)
    for each in (listener, other):
        try:
            wanted = ["create", "start", "die", "destroy", "create", "start", "pause", "unpause", "die", "destroy"]
            deadline = time.monotonic() + 10
            found: list[str] = []
            while len(found) < len(wanted) and time.monotonic() < deadline:
                time.sleep(0.02)
                found = [word for word in _actions(bytes(each.out), name) if word not in ("attach", "kill")]
            if found != wanted:
                raise Fault(f"heard {found}")
        finally:
            each.process.kill()
            each.process.wait()


def _actions(text: bytes, name: str) -> list[str]:
    found = []
    for line in text.splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue  # the last one is not whole yet
        if told["Type"] == "container" and told["Actor"]["Attributes"].get("name", "").startswith(name):
            found.append(told["Action"])
    return found


CASES: dict[str, Case] = {
    case.__name__: case for case in (
        input_comes_through, unread_input_holds_nobody_up, closed_output_does_not_end_input, last_words, ends_at_once,
        streams_stay_apart, terminal_output, follows_from_any_moment, waits_race_exits,
        attaches_while_it_starts_and_ends, started_and_attached, copies_through_pipes, exports_through_pipes,
        builds_from_a_pipe, events_once_and_in_order,
    )
}
