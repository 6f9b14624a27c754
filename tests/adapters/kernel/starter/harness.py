"""Starts containers with nothing but a plan and a clone: the smallest supervisor that can test the child."""

import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from adapters.kernel import apply, cgroups, syscalls, terminals
from domain.runtime.plan import plan
from domain.runtime.request import RunRequest

PROGRAMS = (
    "sh",
    "cat",
    "ls",
    "id",
    "sleep",
    "true",
    "env",
    "stat",
    "readlink",
    "hostname",
    "touch",
    "mkdir",
    "mknod",
    "grep",
    "pwd",
    "kill",
    "head",
    "echo",
    "chmod",
    "find",
    "ps",
    "mount",
    "sort",
    "wc",
    "dd",
    "ln",
    "rm",
)
PASSWD = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n4242:x:7:7::/:\n"
GROUP = "root:x:0:\nwheel:x:10:root,ann\naudio:x:29:ann\nann:x:1000:\n"
During = Callable[[int, cgroups.Group], None]


def make_root(directory: Path) -> Path:
    """A small root file system: a static busybox if this machine has one, else its programs with their libraries."""
    for name in ("bin", "etc", "root", "tmp"):
        (directory / name).mkdir(parents=True)
    busybox = _static_busybox()
    for name in PROGRAMS:
        if busybox:
            (directory / "bin" / name).symlink_to("busybox")
        else:
            _copy_program(directory, name)
    if busybox:
        shutil.copy(busybox, directory / "bin/busybox")
    (directory / "etc/passwd").write_text(PASSWD)
    (directory / "etc/group").write_text(GROUP)
    (directory / "tmp").chmod(0o1777)
    return directory


def _static_busybox() -> str | None:
    path = shutil.which("busybox")
    return path if path and b"/ld-" not in Path(path).read_bytes()[:4096] else None


def _copy_program(root: Path, name: str) -> None:
    """With what ldd(1) says it loads, at the same paths."""
    program = shutil.which(name)
    if program is None:
        return
    shutil.copy(Path(program).resolve(), root / "bin" / name)
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    for library in (word for word in listed.split() if word.startswith("/")):
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)


@dataclass(frozen=True)
class Result:
    """What became of one run. `failure` is what the child reported instead of executing, `probed` a probe's answer."""

    code: int
    out: str
    err: str
    failure: dict[str, Any] | None = None
    probed: Any = None

    @property
    def lines(self) -> list[str]:
        """Standard output by lines."""
        return self.out.splitlines()


class Starter:
    """Runs containers one after the other and leaves nothing behind."""

    def __init__(self, base: Path, tree: cgroups.Tree) -> None:
        self.base, self.tree, self.count = base, tree, 0

    def request(self, layer: Path, *argv: str, **options: Any) -> RunRequest:
        """A request with everything that the machine dictates filled in."""
        self.count += 1
        request = RunRequest(
            id=f"{self.count:064x}",
            attempt=1,
            argv=argv,
            env=(),
            directory=str(self.base / f"c{self.count}"),
            layer_root=str(layer.parent),
            layers=(layer.name,),
            hostname="box",
            cgroup_v2=self.tree.v2,
            cgroup_v1=self.tree.v1,
            machine=os.uname().machine,
            files={"/etc/hostname": "box\n", "/etc/hosts": "127.0.0.1 localhost\n", "/etc/resolv.conf": "# none\n"},
        )
        return replace(request, **options)

    def run(self, layer: Path, *argv: str, during: During | None = None, **options: Any) -> Result:
        """Start, wait for the end (20 s at most), clean up. `during` is called with the running pid and its group."""
        return self.start(self.request(layer, *argv, **options), during)

    def shell(self, layer: Path, script: str, **options: Any) -> Result:
        """Run a shell script."""
        return self.run(layer, "/bin/sh", "-c", script, **options)

    def probe(self, layer: Path, function: Callable[[], object], **options: Any) -> Any:
        """Call `function` in a child in which everything is done but the execve; its value is returned."""
        result = self.start(self.request(layer, "true", **options), probe=function)
        assert result.failure is None, result
        assert result.code == 0, result
        return result.probed

    def start(
        self,
        request: RunRequest,
        during: During | None = None,
        probe: Callable[[], object] | None = None,
        keep: bool = False,
    ) -> Result:
        """The same for a ready request; `keep` leaves the container's directory."""
        document = json.loads(json.dumps(plan(request).wire()))
        group = apply.run_host(document["host"], self.tree)
        try:
            return self._supervise(document, group, during, probe)
        finally:
            group.kill()
            group.remove(5.0)
            if not keep:
                shutil.rmtree(request.directory)

    def _supervise(
        self, document: dict[str, Any], group: cgroups.Group, during: During | None, probe: Callable[[], object] | None
    ) -> Result:
        out, err = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        ours, theirs = socket.socketpair()
        flags = document["flags"] | syscalls.CLONE_CLEAR_SIGHAND
        place = terminals.new_instance()
        pid, pidfd = syscalls.clone3(flags, cgroup=group.v2_fd, pidfd=True)
        if pid == 0:
            _child(document["child"], group.tasks, (out[1], err[1], theirs.fileno(), place), probe)
        os.close(place)
        os.close(out[1])
        os.close(err[1])
        theirs.close()
        with ours:
            ours.send(b"g")
            report = b"".join(iter(lambda: ours.recv(65536), b""))
        said = json.loads(report) if report else {}
        if during is not None and not said:
            during(pid, group)
        texts = _drain(out[0], err[0], pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        for fd in (out[0], err[0], pidfd):
            os.close(fd)
        return Result(128 - code if code < 0 else code, *texts, said.get("failure"), said.get("probed"))


def _child(
    steps: list[Any], tasks: list[int], fds: tuple[int, int, int, int], probe: Callable[[], object] | None
) -> NoReturn:
    """Never returns into the test that called."""
    out, err, status, place = fds
    went = []

    def ready() -> None:
        went.append(os.read(3, 1))
        if probe is not None:
            os.write(3, json.dumps({"probed": probe()}).encode())
            os._exit(0)

    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        apply.run_child(steps, apply.Context(tasks=tasks, status=status, place=place, ready=ready))
    except apply.Failure as failure:
        report = {key: getattr(failure, key) for key in ("stage", "errno", "text", "exit_code")}
        status = 3 if _is_socket(3) else status
        if not went:
            os.read(status, 1)  # a stream that is closed with something unread loses what was written, too
        os.write(status, json.dumps({"failure": report}).encode())
    except BaseException as error:
        os.write(2, repr(error).encode())
    finally:
        os._exit(125)


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


def _drain(out: int, err: int, pidfd: int) -> tuple[str, str]:
    """Both streams until they end; whoever takes 20 s is killed."""
    texts = {out: b"", err: b""}
    open_fds = {out, err}
    deadline = time.monotonic() + 20
    while open_fds:
        ready, _, _ = select.select([*open_fds], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            deadline = time.monotonic() + 5
        for fd in ready:
            part = os.read(fd, 65536)
            texts[fd] += part
            if not part:
                open_fds.discard(fd)
    return texts[out].decode(errors="surrogateescape"), texts[err].decode(errors="surrogateescape")
