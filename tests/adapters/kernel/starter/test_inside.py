"""What the first process finds: its namespaces, its marks, its files. Real containers."""

import ctypes
import errno
import mmap
import os
import platform
import resource
import shutil
import signal
import stat
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.kernel import apply, cgroups, syscalls
from tests.adapters.kernel.starter.harness import Starter

pytestmark = pytest.mark.kernel

NAMESPACES = ("mnt", "pid", "ipc", "uts", "net", "cgroup")


def status(text: str) -> dict[str, str]:
    """/proc/PID/status as a mapping."""
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def test_the_first_process_inherits_nothing_of_the_engine(box: Starter, layer: Path) -> None:
    """One table of everything that crosses an execve: descriptors, signals, umask, ids, capabilities, filter."""
    os.environ["LADING_CANARY"] = "leaked"
    script = (
        "cat /proc/self/status; echo; umask; ls /proc/1/fd; readlink /proc/1/fd/0; cat /proc/1/oom_score_adj; "
        "cut -d' ' -f1,6,18,19 /proc/1/stat 2>/dev/null || cat /proc/1/stat; env"
    )
    try:
        result = box.shell(layer, script)
    finally:
        del os.environ["LADING_CANARY"]
    found = status(result.out.partition("\n\n")[0])
    wanted = {
        "SigBlk": "0" * 16,
        "SigIgn": "0" * 16,
        "CapInh": "0" * 16,
        "CapPrm": "00000000a80425fb",
        "CapEff": "00000000a80425fb",
        "CapBnd": "00000000a80425fb",
        "CapAmb": "0" * 16,
        "NoNewPrivs": "0",
        "Seccomp": "2",
        "Groups": "0 10",
        "Uid": "0\t0\t0\t0",
        "Gid": "0\t0\t0\t0",
    }
    assert {key: found[key] for key in wanted} == wanted
    rest = result.out.partition("\n\n")[2].splitlines()
    assert rest[0] == "0022"
    assert rest[1:4] == ["0", "1", "2"]
    assert rest[4:6] == ["/dev/null", "0"]
    assert "LADING_CANARY" not in result.out


def test_the_first_process_is_pid_1_of_a_session_in_namespaces_of_its_own(box: Starter, layer: Path) -> None:
    """And its session is not the engine's."""
    script = (
        "echo $$; "
        + "; ".join(f"readlink /proc/self/ns/{name}" for name in NAMESPACES)
        + "; hostname; cat /proc/1/stat"
    )
    lines = box.shell(layer, script).lines
    assert lines[0] == "1"
    for name, inside in zip(NAMESPACES, lines[1:7], strict=True):
        assert inside != os.readlink(f"/proc/self/ns/{name}")
    assert lines[7] == "box"
    assert lines[8].split()[5] == "1"


def test_the_host_network_is_shared_on_request_only(box: Starter, layer: Path) -> None:
    """Everything else stays apart."""
    lines = box.shell(layer, "readlink /proc/self/ns/net; readlink /proc/self/ns/uts", network="host").lines
    assert lines[0] == os.readlink("/proc/self/ns/net")
    assert lines[1] != os.readlink("/proc/self/ns/uts")


def test_without_network_there_is_a_loopback_that_works(box: Starter, layer: Path) -> None:
    """Only `lo`, and it is up."""
    lines = box.shell(
        layer,
        "ls /sys/class/net; cat /proc/net/dev_mcast /proc/net/if_inet6 2>/dev/null | grep -c lo; "
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range",
    ).lines
    assert lines[0] == "lo"
    assert lines[-2:] == ["0", "0\t2147483647"]
    flags = box.probe(layer, lambda: Path("/sys/class/net/lo/flags").read_text())
    assert int(flags, 16) & 1


def test_the_environment_is_what_was_asked_for(box: Starter, layer: Path) -> None:
    """PATH and HOSTNAME first, HOME of the user last, newlines byte for byte."""
    result = box.run(layer, "cat", "/proc/self/environ", env=("A=x\ny", "B=", "A=z\nw"))
    assert result.out.split("\0") == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=box",
        "A=z\nw",
        "B=",
        "HOME=/root",
        "",
    ]
    assert "HOME=/mine" in box.run(layer, "env", env=("HOME=/mine",)).lines
    assert "HOME=/home/ann" in box.run(layer, "env", env=("HOME=",), user="ann").lines


def test_another_user_has_no_capabilities_but_the_bounding_set(box: Starter, layer: Path) -> None:
    """Groups: those that list the name, and the primary one; output pipes can be opened again."""
    result = box.shell(
        layer, "cat /proc/self/status; echo to-stdout > /dev/stdout; echo to-stderr > /dev/stderr", user="ann"
    )
    found = status(result.out)
    wanted = {
        "Uid": "1000\t1000\t1000\t1000",
        "Gid": "1000\t1000\t1000\t1000",
        "Groups": "10 29 1000",
        "CapInh": "0" * 16,
        "CapPrm": "0" * 16,
        "CapEff": "0" * 16,
        "CapBnd": "00000000a80425fb",
        "CapAmb": "0" * 16,
    }
    assert {key: found[key] for key in wanted} == wanted
    assert "to-stdout" in result.lines
    assert "to-stderr" in result.err


@pytest.mark.parametrize(("user", "wanted"), [("4242", "4242 0 0"), ("7:8", "7 8 8"), ("ann:audio", "1000 29 29")])
def test_numbers_are_numbers_and_a_given_group_replaces_the_others(
    box: Starter, layer: Path, user: str, wanted: str
) -> None:
    """Passwd has a user *named* 4242: it is not the one."""
    assert box.shell(layer, 'echo "$(id -u) $(id -g) $(id -G)"', user=user).out.strip() == wanted


def test_an_unknown_user_does_not_start(box: Starter, layer: Path) -> None:
    """With 125 and a reason, and nothing was executed."""
    result = box.run(layer, "true", user="nosuch")
    assert result.failure == {
        "stage": "ResolveUser",
        "errno": 0,
        "exit_code": 125,
        "text": "unable to find user nosuch: no matching entries in passwd file",
    }


def test_dev_holds_exactly_the_harmless_nodes(box: Starter, layer: Path) -> None:
    """Made by us on a tmpfs of the container's own, whatever the image brings."""

    def look() -> dict[str, object]:
        found: dict[str, object] = {}
        for name in sorted(os.listdir("/dev")):
            entry = os.lstat(f"/dev/{name}")
            if stat.S_ISCHR(entry.st_mode):
                found[name] = [
                    os.major(entry.st_rdev),
                    os.minor(entry.st_rdev),
                    stat.S_IMODE(entry.st_mode),
                    entry.st_uid,
                ]
            elif stat.S_ISLNK(entry.st_mode):
                found[name] = os.readlink(f"/dev/{name}")
            else:
                found[name] = stat.S_IMODE(entry.st_mode)
        return found

    node = [0o666, 0]
    assert box.probe(layer, look) == {
        "core": "/proc/kcore",
        "fd": "/proc/self/fd",
        "full": [1, 7, *node],
        "mqueue": 0o1777,
        "null": [1, 3, *node],
        "ptmx": "pts/ptmx",
        "pts": 0o755,
        "random": [1, 8, *node],
        "shm": 0o1777,
        "stderr": "/proc/self/fd/2",
        "stdin": "/proc/self/fd/0",
        "stdout": "/proc/self/fd/1",
        "tty": [5, 0, *node],
        "urandom": [1, 9, *node],
        "zero": [1, 5, *node],
    }


def mounts(text: str) -> dict[str, tuple[str, set[str]]]:
    """Mount point → (type, options), the topmost for each."""
    return {fields[1]: (fields[2], set(fields[3].split(","))) for fields in map(str.split, text.splitlines())}


def test_mounts_are_ours_with_our_flags_and_show_no_host_path(box: Starter, layer: Path) -> None:
    """The table of /proc/mounts."""
    result = box.run(layer, "cat", "/proc/mounts")
    table = mounts(result.out)
    quiet = {"nosuid", "nodev", "noexec"}
    assert table["/"][0] == "overlay"
    for point, kind, flags in (
        ("/proc", "proc", quiet),
        ("/sys", "sysfs", quiet | {"ro"}),
        ("/dev", "tmpfs", {"nosuid"}),
        ("/dev/pts", "devpts", {"nosuid", "noexec"}),
        ("/dev/shm", "tmpfs", quiet),
        ("/dev/mqueue", "mqueue", quiet),
        ("/etc/hosts", None, {"nosuid", "nodev"}),
    ):
        assert kind in (None, table[point][0]), point
        assert flags <= table[point][1], point
    assert str(box.base) not in result.out
    cgroup_mounts = [options for kind, options in table.values() if kind in ("cgroup", "cgroup2")]
    assert cgroup_mounts
    assert all({"ro", *quiet} <= options for options in cgroup_mounts)


def test_kernel_files_that_tell_about_the_host_are_empty(box: Starter, layer: Path) -> None:
    """Files read as nothing, directories list nothing, writing changes nothing."""

    def look() -> list[str]:
        leaks = []
        for path in (
            "/proc/kcore",
            "/proc/keys",
            "/proc/kmsg",
            "/proc/timer_list",
            "/proc/interrupts",
            "/proc/sched_debug",
            "/proc/timer_stats",
            "/proc/latency_stats",
        ):
            if os.path.exists(path) and os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 10):
                leaks.append(path)
        for path in (
            "/proc/acpi",
            "/proc/scsi",
            "/proc/asound",
            "/sys/firmware",
            "/sys/kernel/debug",
            "/sys/kernel/tracing",
            "/sys/devices/virtual/powercap",
        ):
            if os.path.isdir(path) and os.listdir(path):
                leaks.append(path)
        return leaks

    assert box.probe(layer, look) == []


def test_nothing_below_sys_and_no_host_switch_in_proc_opens_for_writing(box: Starter, layer: Path) -> None:
    """Root or not."""

    def look() -> list[str]:
        writable = []
        for path in (
            "/proc/sysrq-trigger",
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/hostname",
            "/proc/sys/vm/panic_on_oom",
            "/proc/irq/default_smp_affinity",
            "/proc/fs",
            "/proc/bus",
            "/sys/kernel/uevent_helper",
            "/sys/power/state",
            "/sys/kernel/mm/ksm/run",
            "/sys/fs/cgroup/memory/release_agent",
            "/sys/fs/cgroup/cgroup.procs",
            "/sys/fs/cgroup/unified/cgroup.procs",
            "/sys/fs/cgroup/memory/tasks",
            "/sys/fs/cgroup/pids/pids.max",
        ):
            if not os.path.exists(path):
                continue
            try:
                if os.path.isdir(path):
                    os.mkdir(f"{path}/made")
                else:
                    os.close(os.open(path, os.O_WRONLY))
                writable.append(path)
            except OSError as error:
                if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT):
                    writable.append(f"{path}: {error}")
        return writable

    assert box.probe(layer, look) == []


def test_the_cgroup_view_begins_at_the_container(box: Starter, layer: Path) -> None:
    """In every hierarchy it is in, and the limits can be read there."""
    lines = box.run(layer, "cat", "/proc/self/cgroup").lines
    ours = [line for line in lines if box.tree.parent in line]
    assert ours == []
    where = "pids" if "pids" in ",".join(box.tree.v1).split(",") else ""
    limit = box.probe(layer, lambda: Path(f"/sys/fs/cgroup/{where}/pids.max").read_text(), settings=("pids.max 77",))
    assert limit.strip() == "77"


def test_the_root_of_a_read_only_container_cannot_be_written_but_its_tmpfs_can(box: Starter, layer: Path) -> None:
    """/dev, /dev/shm and what was asked for stay writable."""
    refused = "2>/dev/null || echo refused"
    script = f"touch /x {refused}; touch /tmp/x /dev/shm/x && echo ok; touch /etc/x {refused}"
    assert box.shell(layer, script, read_only=True, tmpfs={"/tmp": ""}).lines == ["refused", "ok", "refused"]
    assert box.shell(layer, "touch /x && echo ok").lines == ["ok"]


def test_a_tmpfs_has_its_options_and_the_mode_of_what_was_there(box: Starter, layer: Path) -> None:
    """Missing directories are made."""
    result = box.run(layer, "cat", "/proc/mounts", tmpfs={"/tmp": "size=1m", "/a/b": "exec,mode=700", "/root": ""})
    table = mounts(result.out)
    assert {"nosuid", "nodev", "noexec", "size=1024k"} <= table["/tmp"][1]
    assert "noexec" not in table["/a/b"][1]
    modes = box.probe(
        layer,
        lambda: [stat.S_IMODE(os.stat(path).st_mode) for path in ("/tmp", "/a/b", "/root")],
        tmpfs={"/tmp": "", "/a/b": "mode=700", "/root": ""},
    )
    assert modes == [0o1777, 0o700, stat.S_IMODE((layer / "root").stat().st_mode)]


def test_the_files_of_the_engine_are_bound_and_can_be_written(box: Starter, layer: Path) -> None:
    """What is written goes to the container's own file, never into the image."""
    result = box.shell(layer, "cat /etc/hostname /etc/hosts; echo more >> /etc/hosts; cat /etc/hosts")
    assert result.lines == ["box", "127.0.0.1 localhost", "127.0.0.1 localhost", "more"]
    assert not (layer / "etc/hosts").exists()


def test_the_working_directory_is_made_and_entered(box: Starter, layer: Path) -> None:
    """Root's, 0755, also for another user; links in it are followed inside."""
    assert box.shell(layer, "pwd; stat -c '%u %a' .", workdir="/new/deep", user="ann").lines == ["/new/deep", "0 755"]
    assert box.run(layer, "pwd", workdir="/root", user="ann").lines == ["/root"]
    result = box.run(layer, "true", workdir="/etc/passwd/x")
    assert result.failure is not None
    assert result.failure["exit_code"] == 125


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (("nosuch",), 127, 'exec: "nosuch": executable file not found in $PATH'),
        (("/nosuch",), 127, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
        (("./nosuch",), 127, 'exec: "./nosuch": stat ./nosuch: no such file or directory'),
        (("/etc/passwd/x",), 127, 'exec: "/etc/passwd/x": stat /etc/passwd/x: no such file or directory'),
        (("/etc/passwd",), 126, 'exec: "/etc/passwd": permission denied'),
        (("/etc",), 126, 'exec: "/etc": is a directory'),
        (("plain",), 126, 'exec: "plain": permission denied'),
        (("directory",), 127, 'exec: "directory": executable file not found in $PATH'),
        (("/bin/garbage",), 126, 'exec: "/bin/garbage": exec format error'),
        (("/bin/orphan",), 127, 'exec: "/bin/orphan": no such file or directory'),
        (("orphan",), 127, 'exec: "orphan": no such file or directory'),
    ],
)
@pytest.mark.parametrize("init", [False, True], ids=["bare", "init"])
def test_a_command_that_cannot_be_executed_says_so_before_anything_ran(
    box: Starter, root: Path, argv: tuple[str, ...], code: int, text: str, init: bool
) -> None:
    """127 for what is not there, 126 for what is no program."""
    if init and argv[0] in ("/bin/garbage", "/bin/orphan", "orphan"):
        return  # only execve finds out, in the little init's child: test_init has that
    (root / "bin/plain").write_text("data")
    (root / "bin/directory").mkdir()
    (root / "bin/garbage").write_bytes(b"\x00\x01garbage")
    (root / "bin/garbage").chmod(0o755)
    (root / "bin/orphan").write_text("#!/no/such/shell\n")
    (root / "bin/orphan").chmod(0o755)
    result = box.run(root, *argv, init=init, init_program="/bin/true")
    assert result.failure == {"stage": "Execute", "errno": 0, "text": text, "exit_code": code}


def test_the_filter_and_the_capabilities_refuse_what_leads_out(box: Starter, layer: Path) -> None:
    """mount, new namespaces, entering others, keys: tried for real, all EPERM; clone3 does not exist."""

    def attempt() -> dict[str, int]:
        libc = ctypes.CDLL(None, use_errno=True)
        numbers = {
            name: numbers[0 if platform.machine() == "x86_64" else 1]
            for name, numbers in {
                "mount": (165, 40),
                "umount2": (166, 39),
                "unshare": (272, 97),
                "setns": (308, 268),
                "keyctl": (250, 219),
                "add_key": (248, 217),
                "bpf": (321, 280),
                "open_tree": (428, 428),
                "fsopen": (430, 430),
                "clone3": (435, 435),
                "io_uring_setup": (425, 425),
                "perf_event_open": (298, 241),
                "open_by_handle_at": (304, 265),
            }.items()
        }
        answers = {}
        for name, number in numbers.items():
            libc.syscall(number, 0, 0, 0, 0, 0)
            answers[name] = ctypes.get_errno()
        for family in (38, 40):
            libc.socket(family, 5, 0)
            answers[f"socket {family}"] = ctypes.get_errno()
        return answers

    answers = box.probe(layer, attempt)
    assert answers.pop("clone3") == errno.ENOSYS
    assert set(answers.values()) == {errno.EPERM}, answers


@pytest.mark.skipif(platform.machine() != "x86_64", reason="int 0x80 and x32 are doors of x86-64")
def test_the_side_doors_of_x86_are_guarded(box: Starter, layer: Path) -> None:
    """int 0x80 with i386 numbers, and the x32 range."""

    def attempt() -> list[int]:
        return [_int80(number, argument) for number, argument in ((21, 0), (310, 0), (359, 38), (102, 1), (20, 0))] + [
            _x32(165)
        ]

    mount, unshare, socket_alg, socketcall, getpid, x32_mount = box.probe(layer, attempt)
    if getpid != 1:
        pytest.skip("this kernel has no i386 calls")
    assert (mount, unshare, socket_alg) == (-errno.EPERM,) * 3
    assert socketcall == -errno.ENOSYS
    assert x32_mount == -errno.ENOSYS


def _code(code: bytes) -> int:
    """Run machine code that leaves its answer in eax."""
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return int(ctypes.CFUNCTYPE(ctypes.c_int32)(address)())


def _int80(number: int, argument: int) -> int:
    """push rbx; mov eax, number; mov ebx, argument; the other arguments 0; int 0x80; pop rbx; ret"""
    return _code(
        b"\x53\xb8"
        + struct.pack("<I", number)
        + b"\xbb"
        + struct.pack("<I", argument)
        + bytes.fromhex("31c931d231f631ffcd805bc3")
    )


def _x32(number: int) -> int:
    """mov eax, number | 0x40000000; syscall; ret"""
    return _code(b"\xb8" + struct.pack("<I", number | 0x40000000) + b"\x0f\x05\xc3")


def test_nodes_of_host_devices_can_be_made_but_not_opened(box: Starter, layer: Path) -> None:
    """The device rules hold for the very first container; packages may still unpack their nodes."""

    def attempt() -> dict[str, object]:
        answers: dict[str, object] = {}
        disk = os.stat("/").st_dev
        for name, kind, major, minor in (
            ("mem", stat.S_IFCHR, 1, 1),
            ("port", stat.S_IFCHR, 1, 4),
            ("kmsg", stat.S_IFCHR, 1, 11),
            ("fuse", stat.S_IFCHR, 10, 229),
            ("kvm", stat.S_IFCHR, 10, 232),
            ("tty0", stat.S_IFCHR, 4, 0),
            ("loop", stat.S_IFBLK, 7, 0),
            ("vda", stat.S_IFBLK, 254, 0),
            ("sda", stat.S_IFBLK, 8, 0),
            ("disk", stat.S_IFBLK, os.major(disk), os.minor(disk)),
        ):
            os.mknod(f"/tmp/{name}", kind | 0o600, os.makedev(major, minor))
            try:
                os.close(os.open(f"/tmp/{name}", os.O_RDONLY | os.O_NONBLOCK))
                answers[name] = "opened"
            except OSError as error:
                answers[name] = error.errno
        for name, minor in (("null", 3), ("zero", 5)):
            os.mknod(f"/tmp/{name}", stat.S_IFCHR | 0o600, os.makedev(1, minor))
            answers[name] = os.write(os.open(f"/tmp/{name}", os.O_WRONLY), b"x")
        return answers

    answers = box.probe(layer, attempt)
    assert (answers.pop("null"), answers.pop("zero")) == (1, 1)
    assert set(answers.values()) == {errno.EPERM}, answers


def test_the_session_keyring_is_new(box: Starter, layer: Path) -> None:
    """A key of the engine's session would otherwise be possessed by the container."""

    def serial() -> int:
        return int(ctypes.CDLL(None).syscall(250 if platform.machine() == "x86_64" else 219, 0, -3, 0))

    engine = serial()
    inside = box.probe(layer, serial, seccomp="unconfined")
    if engine == -1 and inside == -1:
        pytest.skip("this kernel has no keyrings")
    assert inside > 0
    assert inside != engine


def test_signals_that_the_engine_ignores_or_blocks_work_inside(box: Starter, layer: Path) -> None:
    """Ignored ones survive execve, and so does the mask."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        found = status(box.run(layer, "cat", "/proc/self/status").out)
    finally:
        signal.signal(signal.SIGUSR1, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    assert (found["SigIgn"], found["SigBlk"]) == ("0" * 16, "0" * 16)


def test_limits_are_the_supervisors_own(box: Starter, layer: Path) -> None:
    """Nothing in a plan touches them."""
    inside = box.probe(layer, lambda: list(resource.getrlimit(resource.RLIMIT_NOFILE)))
    assert inside == list(resource.getrlimit(resource.RLIMIT_NOFILE))


@pytest.mark.parametrize(("count", "width"), [(2, 4), (120, 12), (90, 64)])
def test_many_layers_are_one_root_and_the_highest_wins(
    box: Starter, base: Path, layer: Path, count: int, width: int
) -> None:
    """Up to one page of options in one call, beyond that one layer at a time, which needs Linux 6.8."""
    if width == 64 and tuple(map(int, platform.release().split(".")[:2])) < (6, 8):
        pytest.skip("this kernel takes one page of layers")
    names = [f"{number:0{width}x}" for number in range(count)]
    for name in names:
        (layer.parent / name).mkdir()
        (layer.parent / name / "name").write_text(name)
        (layer.parent / name / f"own-{name}").touch()
    try:
        lines = box.shell(layer, "cat /name; echo; ls / | grep -c own-", layers=(layer.name, *names)).lines
        assert lines == [names[-1], str(count)]
    finally:
        for name in names:
            shutil.rmtree(layer.parent / name)


def test_what_is_written_is_in_the_writable_layer_and_survives_a_second_run(box: Starter, layer: Path) -> None:
    """The layer stays as it was; an attempt of its own gives the same container its old files."""
    request = box.request(layer, "sh", "-c", "echo one >> /root/kept; rm /etc/group; cat /root/kept")
    kept = Path(request.directory)
    assert box.start(request, keep=True).out == "one\n"
    assert (kept / "upper/root/kept").read_text() == "one\n"
    assert stat.S_ISCHR((kept / "upper/etc/group").lstat().st_mode)
    assert box.start(replace(request, attempt=2)).out == "one\none\n"
    assert not (layer / "root/kept").exists()


def test_output_is_byte_exact_and_exit_statuses_are_the_programs(box: Starter, layer: Path) -> None:
    """Both streams apart."""
    result = box.shell(layer, "echo out; echo err >&2; exit 42")
    assert (result.code, result.out, result.err) == (42, "out\n", "err\n")


def test_after_the_start_nothing_of_the_host_can_be_seen_through_the_process(box: Starter, layer: Path) -> None:
    """Seen from outside: root, working directory, executable and maps of the running process are the container's."""
    seen: dict[str, object] = {}

    def look(pid: int, _: cgroups.Group) -> None:
        seen["root"] = os.readlink(f"/proc/{pid}/root")
        seen["exe"] = os.readlink(f"/proc/{pid}/exe")
        seen["fds"] = sorted(os.listdir(f"/proc/{pid}/fd"))
        seen["mounts"] = Path(f"/proc/{pid}/mounts").read_text()
        seen["environ"] = Path(f"/proc/{pid}/environ").read_text()
        os.kill(pid, signal.SIGKILL)

    assert box.run(layer, "sleep", "60", during=look).code == 137
    assert seen["fds"] == ["0", "1", "2"]
    assert str(seen["exe"]).startswith("/bin/")
    assert str(box.base) not in str(seen["mounts"])
    assert str(seen["environ"]).startswith("PATH=")


def test_no_mount_appears_on_the_host_even_where_everything_is_shared(box: Starter, layer: Path) -> None:
    """systemd makes / shared: a mount made before that is undone would appear outside, and stay."""

    def outside() -> str:
        return "".join(
            sorted(line.split(" ", 1)[1] for line in Path("/proc/self/mountinfo").read_text().splitlines(True))
        )

    pid = os.fork()
    if pid == 0:
        try:
            syscalls.unshare(syscalls.CLONE_NEWNS)
            syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
            syscalls.mount("", "/", "", syscalls.MS_REC | 1 << 20)  # MS_SHARED
            before = outside()
            seen: list[str] = []

            def look(child: int, _: cgroups.Group) -> None:
                seen.append(outside())
                seen.append(Path(f"/proc/{child}/mountinfo").read_text())
                os.kill(child, signal.SIGKILL)

            box.run(layer, "sleep", "60", during=look)
            os._exit(0 if seen[0] == before == outside() and "shared:" not in seen[1] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_working_directory_outside_of_the_root_is_noticed(tmp_path: Path) -> None:
    """Whatever led there; the C library's getcwd would only say that there is none."""
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir("/")
            os.chroot(tmp_path)
            apply.run_child([["ChangeDirectory", "."]], apply.Context())
        except apply.Failure as failure:
            os._exit(0 if "outside" in failure.text else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_child_is_opaque_from_its_first_step(box: Starter, layer: Path) -> None:
    """Until the execve it is a copy of the supervisor."""
    assert box.probe(layer, lambda: syscalls.prctl(3)) in (0, 2)


@pytest.mark.skipif(os.path.exists("/sys/kernel/security/apparmor"), reason="this host has AppArmor")
def test_without_the_profile_it_shall_have_nothing_is_executed(box: Starter, layer: Path) -> None:
    """A process that would run unconfined instead must not run at all."""
    failure = box.run(layer, "true", apparmor="strict").failure
    assert failure is not None
    assert (failure["stage"], failure["exit_code"]) == ("ChangeProfile", 125)
    assert "AppArmor profile 'strict' cannot be used" in failure["text"]
