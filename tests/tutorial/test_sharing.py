"""Containers that share the processes or the shared memory of another one: who may, what they see, when it ends."""

from pathlib import Path

import pytest

from tests.tutorial.engine import Engine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_who_shares_processes_sees_them_and_is_seen(engine: Engine) -> None:
    """A shell beside an image that has none; an exec in it is there as well. All other namespaces are its own."""
    engine.ok("run", "-d", "--name", "web", "busybox", "sleep", "1000")
    engine.ok("run", "-d", "--name", "tool", "--pid", "container:web", "busybox", "sleep", "2000")
    for name in ("web", "tool"):
        said = engine.ok("exec", name, "ps", "-o", "args")
        assert "sleep 1000" in said, name
        assert "sleep 2000" in said, name
    assert engine.ok("exec", "tool", "cat", "/proc/1/cmdline") == "sleep\0001000\0"
    look = "for n in ipc mnt net pid uts; do readlink /proc/self/ns/$n; done"
    spaces = {name: engine.ok("exec", name, "sh", "-c", look) for name in ("web", "tool")}
    same = [mine == other for mine, other in zip(*(text.splitlines() for text in spaces.values()), strict=True)]
    assert same == [False, False, False, True, False]
    assert engine.ok("run", "--rm", "--pid", "container:tool", "busybox", "cat", "/proc/1/cmdline") == "sleep\0001000\0"


def test_shared_memory_and_queues_are_those_of_the_one_who_shares_them(engine: Engine) -> None:
    """What one writes to /dev/shm the other reads; its size is that of the first."""
    engine.ok("run", "-d", "--name", "data", "--ipc", "shareable", "--shm-size", "3m", "busybox", "sleep", "1000")
    engine.ok("exec", "data", "sh", "-c", "echo here >/dev/shm/file; touch /dev/mqueue/queue")
    look = "cat /dev/shm/file; ls /dev/mqueue; df -k /dev/shm | tail -n 1; readlink /proc/self/ns/ipc"
    said = engine.ok("run", "--rm", "--ipc", "container:data", "--shm-size", "9m", "busybox", "sh", "-c", look)
    file, queue, size, space = said.splitlines()
    assert (file, queue, size.split()[1]) == ("here", "queue", "3072")
    assert space == engine.ok("exec", "data", "readlink", "/proc/self/ns/ipc")
    engine.ok("run", "-d", "--name", "more", "--ipc", "container:data", "busybox", "sleep", "1000")
    assert engine.ok("run", "--rm", "--ipc", "container:more", "busybox", "cat", "/dev/shm/file") == "here"
    engine.ok("rm", "-f", "data")
    assert engine.ok("exec", "more", "cat", "/dev/shm/file") == "here", "who has joined goes on without the first"
    assert engine.state("more") == "running"


def test_a_container_keeps_its_shared_memory_for_itself_unless_it_was_made_to_share(engine: Engine) -> None:
    """As in the industry: `private` is what there is without a word."""
    for name, options in {"plain": (), "private": ("--ipc", "private"), "none": ("--ipc", "none")}.items():
        engine.ok("run", "-d", "--name", name, *options, "busybox", "sleep", "1000")
        done = engine.cli("run", "--name", "never", "--ipc", f"container:{name}", "busybox", "true")
        assert done.code == 125
        assert f"cannot join IPC of container {name}: non-shareable IPC" in done.err
        assert engine.cli("inspect", "never").code == 1


@pytest.mark.parametrize("kind", ["pid", "ipc"])
def test_nothing_is_shared_with_a_container_that_is_not_there_or_does_not_run(engine: Engine, kind: str) -> None:
    """It may be created meanwhile; a start says why not, and finds who runs by then."""
    done = engine.cli("run", f"--{kind}", "container:nobody", "busybox", "true")
    assert (done.code, "No such container: nobody" in done.err) == (125, True)
    id = engine.ok("create", "--name", "later", "--ipc", "shareable", "busybox", "sleep", "1000")
    done = engine.cli("run", "--name", "guest", f"--{kind}", "container:later", "busybox", "true")
    assert done.code == 125
    assert f"cannot join {kind.upper()} of a non running container: {id}" in done.err
    assert engine.state("guest") == "created"
    mode = {"pid": "PidMode", "ipc": "IpcMode"}[kind]
    assert engine.ok("inspect", "--format", f"{{{{.HostConfig.{mode}}}}}", "guest") == f"container:{id}"
    engine.ok("start", "later")
    assert engine.ok("start", "-a", "guest") == ""
    engine.ok("rename", "later", "other")
    engine.ok("start", "-a", "guest")
    created = next(event for event in engine.history("guest") if event["type"] == "created.v1")
    assert created["data"]["spec"]["isolation"][kind] == f"container:{id}"


def test_who_shares_processes_ends_with_the_one_whose_they_are(engine: Engine) -> None:
    """Its first process is killed by the kernel; a restart finds the processes of the next run."""
    engine.ok("run", "-d", "--name", "web", "busybox", "sleep", "1000")
    engine.ok("run", "-d", "--name", "tool", "--pid", "container:web", "busybox", "sleep", "2000")
    engine.ok("stop", "-t", "0", "web")
    engine.reaches("tool", "exited")
    assert engine.ok("inspect", "--format", "{{.State.ExitCode}}", "tool") == "137"
    assert engine.cli("start", "tool").code == 1
    engine.ok("start", "web")
    engine.ok("start", "tool")
    assert engine.ok("exec", "tool", "cat", "/proc/1/cmdline") == "sleep\0001000\0"
    engine.ok("rm", "-f", "tool")
    assert engine.state("web") == "running"
    assert "2000" not in engine.ok("exec", "web", "ps", "-o", "args")


def test_the_end_of_a_guest_is_the_end_of_all_it_has_started(engine: Engine) -> None:
    """Its first process is not number 1, so the kernel would let them live."""
    engine.ok("run", "-d", "--name", "web", "busybox", "sleep", "1000")
    done = engine.cli("run", "--name", "tool", "--pid", "container:web", "busybox", "sh", "-c", "sleep 3000 & exit 7")
    assert done.code == 7
    assert "3000" not in engine.ok("exec", "web", "ps", "-o", "args")
    assert engine.ok("run", "--rm", "-t", "--pid", "container:web", "--init", "busybox", "tty") == "/dev/pts/0"


def test_a_program_shares_by_the_same_words(engine: Engine) -> None:
    """Names are resolved for programs, too; and what is wrong is said."""
    id = engine.ok("run", "-d", "--name", "web", "busybox", "sleep", "1000")
    wish = {"image": "busybox", "command": ["sleep", "9"], "isolation": {"pid": "container:web"}}
    answer = engine.ask("run", request=wish)
    assert answer["ok"], answer
    assert engine.ok("inspect", "--format", "{{.HostConfig.PidMode}}", answer["container"]) == f"container:{id}"
    refused = engine.ask("run", request={**wish, "isolation": {"ipc": "container:web"}})
    assert (refused["ok"], "non-shareable" in refused["message"]) == (False, True)


def test_guests_survive_the_daemon(engine: Engine) -> None:
    """As every container does, with their exit status."""
    engine.ok("run", "-d", "--name", "web", "busybox", "sleep", "1000")
    engine.ok("run", "-d", "--name", "tool", "--pid", "container:web", "busybox", "sh", "-c",
              "while ! [ -e /go ]; do sleep 0.05; done; exit 9")
    pid = engine.pid("tool")
    engine.kill("daemon")
    engine.start()
    assert engine.pid("tool") == pid
    assert Path(f"/proc/{pid}").exists()
    engine.ok("exec", "tool", "touch", "/go")
    assert engine.ok("wait", "tool") == "9"
