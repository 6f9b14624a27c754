"""A supervisor tree of its own for each test, and the proof that nothing of it is left."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.kernel.supervisor import tree
from tests.adapters.kernel.supervisor.machine import Machine, processes_of, wait_until

_APPLETS = ("sh", "cat", "sleep", "true", "false", "echo", "ls", "wc", "grep", "dd", "mkdir", "ln", "id", "tty", "stty",
            "test", "rm", "mkfifo", "touch", "mv", "env", "ps", "wget", "nslookup", "ip", "ping", "nc")


@pytest.fixture(scope="session")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer root with one layer `busybox`."""
    program = shutil.which("busybox")
    if program is None or b"ld-linux" in Path(program).read_bytes()[:8192]:
        pytest.skip("needs a statically linked busybox")
    root = tmp_path_factory.mktemp("layers")
    bin = root / "busybox" / "bin"
    bin.mkdir(parents=True)
    shutil.copy(program, bin / "busybox")
    for name in _APPLETS:
        (bin / name).symlink_to("busybox")
    return root


@pytest.fixture
def machine(tmp_path: Path, layers: Path) -> Iterator[Machine]:
    """A machine without a tree yet; nothing of it is left afterwards."""
    tmp_path.chmod(0o755)
    machine = Machine(tmp_path, layers)
    yield machine
    tree.stop_warden(machine.run_dir, kill=True)
    wait_until(lambda: not processes_of(machine.data), f"the tree has gone: {processes_of(machine.data)}")
    assert machine.groups() == []
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{machine.group_root}"))
    assert str(machine.data) not in Path("/proc/self/mountinfo").read_text()
    log = machine.data / "state" / "supervisor.log"
    assert not log.exists() or log.read_text() == ""
