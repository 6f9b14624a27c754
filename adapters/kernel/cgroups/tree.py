"""One group for each run, `<parent>/<id>.<attempt>`, in every hierarchy that matters, whatever versions this host has.

Version 2 gives killing, freezing, the device filter and being born inside; version 1, where its controllers are still
there, gives limits and counters. On a hybrid host a container is in both. The first directory made is the fence.
"""

import os
import select
import time
from collections.abc import Sequence
from errno import EBUSY, EINVAL, ENODEV, ENOENT

from adapters.kernel import settings
from adapters.kernel.cgroups import devices
from adapters.kernel.syscalls import failed
from domain.runtime.control import Control, numbers

_LIMITING = frozenset({"cpu", "cpuacct", "memory", "pids", "blkio", "cpuset"})
_WITHOUT_V2 = frozenset({"devices", "freezer"})
_WANTED_V2 = ("cpu", "memory", "pids", "io", "cpuset")
_NO_CONTROLLERS = frozenset({"rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode"})  # mount options
_GONE = (ENOENT, ENODEV)  # the directory, or an open file of a removed group


def detect(parent: str, mountinfo: str = "/proc/self/mountinfo") -> "Tree":
    """What this host offers; `parent` names our directory in each hierarchy. Changes nothing. Raises KernelError."""
    with open(mountinfo, encoding="utf-8", errors="surrogateescape") as file:
        mounts = [_mount(line) for line in file]
    unified = next((point for kind, point, _ in mounts if kind == "cgroup2"), "")
    useful = _LIMITING if unified else _LIMITING | _WITHOUT_V2
    legacy: dict[str, str] = {}
    for kind, point, controllers in mounts:
        if kind == "cgroup" and useful & set(controllers.split(",")):
            legacy.setdefault(controllers, point)
    if not unified and "freezer" not in ",".join(legacy).split(","):
        raise failed("mount", "/sys/fs/cgroup", ENOENT)
    return Tree(parent, unified, tuple((point, controllers) for controllers, point in legacy.items()))


def _mount(line: str) -> tuple[str, str, str]:
    """(type, mount point, controllers) of a mountinfo line; see proc_pid_mountinfo(5)."""
    before, _, after = line.rstrip("\n").partition(" - ")
    kind, _, options = after.split(" ", 2)
    words = options.split(",") if kind == "cgroup" else []
    controllers = [word for word in words if word not in _NO_CONTROLLERS and "=" not in word]
    return kind, before.split(" ")[4], ",".join(controllers)


class Tree:
    """Our directory in each hierarchy: `unified` is a mount point or "", `legacy` (mount point, controllers) pairs."""

    __slots__ = ("_v2_controllers", "legacy", "parent", "unified")

    def __init__(self, parent: str, unified: str, legacy: tuple[tuple[str, str], ...]) -> None:
        self.parent, self.unified, self.legacy = parent, unified, legacy
        self._v2_controllers: frozenset[str] | None = None

    @property
    def v2(self) -> bool:
        """Whether there is a version 2 hierarchy."""
        return bool(self.unified)

    @property
    def v1(self) -> tuple[str, ...]:
        """The version 1 hierarchies by their controllers, in the order of `Group.tasks`."""
        return tuple(controllers for _, controllers in self.legacy)

    def roots(self) -> list[str]:
        """Our directory in every hierarchy; version 2, whose groups are the fence, first."""
        points = ([self.unified] if self.unified else []) + [point for point, _ in self.legacy]
        return [f"{point}/{self.parent}" for point in points]

    def prepare(self) -> None:
        """Make the parents, enable controllers, deny devices by default; twice is fine. Raises KernelError."""
        for root in self.roots():
            try:
                os.mkdir(root, 0o755)
            except FileExistsError:
                pass
            except OSError as error:
                raise failed("mkdir", root, error.errno or 0) from error
        self._share_processors()
        if self.unified:
            self._enable_controllers()
            devices.restrict_v2(f"{self.unified}/{self.parent}")
        else:
            devices.open_v1(self.directory("devices", ""))

    def _share_processors(self) -> None:
        """Version 1 lets nobody into a group whose processors and memory nodes nobody has chosen: ours has all, and
        those in it begin with what it has."""
        for point, controllers in self.legacy:
            if "cpuset" not in controllers.split(","):
                continue
            ours = f"{point}/{self.parent}"
            for file in ("cpuset.cpus", "cpuset.mems"):
                if not settings.read(f"{ours}/{file}").strip():
                    settings.write(f"{ours}/{file}", settings.read(f"{point}/{file}").strip())
            settings.write(f"{ours}/cgroup.clone_children", "1")

    def _enable_controllers(self) -> None:
        """From the top down, each for itself: one that is busy or absent must not cost us the others."""
        for directory in (self.unified, f"{self.unified}/{self.parent}"):
            for controller in sorted(self.v2_controllers & frozenset(_WANTED_V2)):
                try:
                    settings.write(f"{directory}/cgroup.subtree_control", f"+{controller}")
                except OSError:  # not available here, or processes sit in the group: limits of it will be refused
                    continue

    @property
    def v2_controllers(self) -> frozenset[str]:
        """What version 2 controls on this host."""
        if self._v2_controllers is None:
            names = settings.read(f"{self.unified}/cgroup.controllers").split() if self.unified else []
            self._v2_controllers = frozenset(names)
        return self._v2_controllers

    def control(self) -> Control:
        """What groups of ours can limit; call it after `prepare`."""
        versions = {name: 1 for controllers in self.v1 for name in controllers.split(",")}
        versions |= {name: 2 for name in self.v2_controllers if name not in versions}
        files: set[str] = set()
        for name in versions:
            ours = self.directory(name, "")
            if os.path.isdir(ours):
                files.update(file for file in os.listdir(ours) if file.startswith(f"{name}."))
        cpus, mems = self._allowed("cpus"), self._allowed("mems")
        return Control(versions, frozenset(files), cpus or frozenset(os.sched_getaffinity(0)), mems or frozenset({0}))

    def _allowed(self, what: str) -> frozenset[int]:
        """Processors (`cpus`) or memory nodes (`mems`) that our groups may have; empty if nobody says so."""
        directory = self.directory("cpuset", "")
        for file in (f"cpuset.{what}.effective", f"cpuset.effective_{what}"):
            if directory and os.path.exists(f"{directory}/{file}"):
                text = settings.read(f"{directory}/{file}").strip()
                return numbers(text) if text else frozenset()
        return frozenset()

    def directory(self, controller: str, group: str) -> str:
        """The directory of `group` where `controller` rules; "" when nothing does."""
        for point, controllers in self.legacy:
            if controller in controllers.split(","):
                return f"{point}/{self.parent}/{group}".rstrip("/")
        return f"{self.unified}/{self.parent}/{group}".rstrip("/") if controller in self.v2_controllers else ""

    def create(self, id: str, attempt: int, limits: Sequence[str] = ()) -> "Group":
        """Make the groups of one run. Raises FileExistsError: this attempt was acted on. Raises: KernelError."""
        group = Group(self, f"{id}.{attempt}")
        made: list[str] = []
        try:
            for directory in group.directories():
                os.mkdir(directory, 0o755)
                made.append(directory)
            if not self.unified:
                devices.restrict_v1(self.directory("devices", group.name))
            group.write(limits)
            group.open_fds()
        except OSError as error:
            group.close_fds()
            for directory in reversed(made):
                os.rmdir(directory)
            if isinstance(error, FileExistsError) and not made:
                raise
            raise failed("mkdir", error.filename or group.name, error.errno or 0) from error
        return group

    def open(self, id: str, attempt: int) -> "Group":
        """A group that exists. Raises: FileNotFoundError."""
        group = Group(self, f"{id}.{attempt}")
        if not any(map(os.path.isdir, group.directories())):
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), group.name)
        group.open_fds()
        return group

    def of(self, id: str) -> list["Group"]:
        """Every group of one container, without descriptors. The fence is made first and deleted last, so one look at
        where it lies is enough."""
        root = self.roots()[0]
        try:
            names = os.listdir(root)
        except FileNotFoundError:
            return []
        return [Group(self, name) for name in sorted(names)
                if name.startswith(f"{id}.") and os.path.isdir(f"{root}/{name}")]

    def groups(self) -> list[tuple[str, int]]:
        """(id, attempt) of every group that exists in any hierarchy."""
        found = set()
        for root in self.roots():
            for name in os.listdir(root) if os.path.isdir(root) else ():
                id, _, attempt = name.rpartition(".")
                if id and attempt.isdigit() and os.path.isdir(f"{root}/{name}"):
                    found.add((id, int(attempt)))
        return sorted(found)


class Group:
    """The groups of one run. `v2_fd` and `tasks` are descriptors that belong to this object until `close_fds`."""

    __slots__ = ("name", "tasks", "tree", "v2_fd")

    def __init__(self, tree: Tree, name: str) -> None:
        self.tree, self.name = tree, name
        self.v2_fd = -1
        self.tasks: list[int] = []

    def directories(self) -> list[str]:
        """In every hierarchy, the fence first."""
        return [f"{root}/{self.name}" for root in self.tree.roots()]

    def open_fds(self) -> None:
        """Open the version 2 directory and the version 1 `tasks` files, or what is left of them."""
        legacy = self.directories()
        if self.tree.v2:
            self.v2_fd = _open_if_there(legacy.pop(0), os.O_RDONLY | os.O_DIRECTORY)
        self.tasks = [fd for d in legacy if (fd := _open_if_there(f"{d}/tasks", os.O_WRONLY)) >= 0]

    def close_fds(self) -> None:
        """Close what `open_fds` opened."""
        for fd in (self.v2_fd, *self.tasks):
            if fd >= 0:
                os.close(fd)
        self.v2_fd, self.tasks = -1, []

    def write(self, lines: Sequence[str]) -> None:
        """Write `file value` lines into the files of the group. One that does not fit to what another file still says
        is tried again after the others: memory and swap bound each other, so do a quota and its period.

        Raises: OSError, naming the file; FileNotFoundError for one that no group here has.
        """
        late = [line for line in lines if not self._fits(line)]
        for line in late:
            self._put(line)

    def _fits(self, line: str) -> bool:
        try:
            self._put(line)
        except OSError as error:
            if error.errno not in (EINVAL, EBUSY):
                raise
            return False
        return True

    def _put(self, line: str) -> None:
        file, _, value = line.partition(" ")
        path = f"{self.tree.directory(file.partition('.')[0], self.name)}/{file}"
        try:
            settings.write(path, value)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error

    def allow_devices(self, rules: Sequence[str], program: str) -> None:
        """Replace the rules of the parent for this group: `rules` for version 1, `program` for version 2.
        Raises: KernelError."""
        if self.tree.v2:
            devices.attach_v2(self._v2, bytes.fromhex(program))
        else:
            devices.restrict_v1(self.tree.directory("devices", self.name), rules)

    def freeze(self, timeout: float = 5.0) -> None:
        """Returns when the kernel reports every process frozen. Raises: FileNotFoundError, TimeoutError."""
        if self.tree.v2:
            settings.write(f"{self._v2}/cgroup.freeze", "1")
            self._await_event("frozen 1", timeout)
            return
        state = f"{self._freezer}/freezer.state"
        deadline = time.monotonic() + timeout
        while True:  # FREEZING may never end by itself when a process forks meanwhile: write again
            settings.write(state, "FROZEN")
            if settings.read(state).strip() == "FROZEN":
                return
            if time.monotonic() > deadline:
                self.thaw()
                raise TimeoutError(f"{self.name} does not freeze")
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let every process run again. Raises: FileNotFoundError."""
        if self.tree.v2:
            settings.write(f"{self._v2}/cgroup.freeze", "0")
            self._await_event("frozen 0", 5.0)
        else:
            settings.write(f"{self._freezer}/freezer.state", "THAWED")

    def kill(self) -> None:
        """SIGKILL for every process, frozen or not. No error when there is none, or no group any more."""
        try:
            if self.tree.v2:
                settings.write(f"{self._v2}/cgroup.kill", "1")
            else:
                self._kill_v1()
        except OSError as error:
            if error.errno not in _GONE:
                raise

    def _kill_v1(self) -> None:
        """Frozen processes cannot fork away; the signal is delivered when they thaw."""
        try:
            self.freeze(1.0)
        except TimeoutError:
            pass
        for pid in self.pids():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        self.thaw()

    def populated(self) -> bool:
        """Whether a process is left, zombies not counted. False when the group is gone."""
        if self.tree.v2:
            try:
                return "populated 1" in settings.read(f"{self._v2}/cgroup.events")
            except OSError as error:
                if error.errno in _GONE:
                    return False
                raise
        return bool(self.pids())

    def pids(self) -> list[int]:
        """The processes as this process's pid namespace numbers them; none when the group is gone."""
        for directory in self.directories():
            try:
                return [int(pid) for pid in settings.read(f"{directory}/cgroup.procs").split()]
            except OSError as error:
                if error.errno not in _GONE:
                    raise
        return []

    def oom_kills(self) -> int:
        """How many processes the kernel has killed for lack of memory; 0 where nobody counts."""
        directory = self.tree.directory("memory", self.name)
        for file in ("memory.events", "memory.oom_control") if directory else ():
            try:
                lines = settings.read(f"{directory}/{file}").splitlines()
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                continue
            return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
        return 0

    def shortage_signal(self) -> tuple[int, bool]:
        """A descriptor that becomes ready when the kernel kills for lack of memory, and whether with urgent data; it
        belongs to the caller. Raises: OSError where nobody tells."""
        directory = self.tree.directory("memory", self.name)
        if not directory:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), "memory")
        if os.path.exists(f"{directory}/memory.events"):
            return os.open(f"{directory}/memory.events", os.O_RDONLY | os.O_CLOEXEC), True
        signal = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            try:
                settings.write(f"{directory}/cgroup.event_control", f"{signal} {control}")
            finally:
                os.close(control)
        except OSError:
            os.close(signal)
            raise
        return signal, False

    def remove(self, timeout: float = 0.0) -> None:
        """Delete the groups, the fence last; twice is fine. Raises OSError with EBUSY while processes are left after
        `timeout` seconds."""
        self.close_fds()
        deadline = time.monotonic() + timeout
        for directory in reversed(self.directories()):
            while True:
                try:
                    os.rmdir(directory)
                except FileNotFoundError:
                    break
                except OSError as error:
                    if error.errno == EBUSY and _removed_below(directory):
                        continue
                    left = deadline - time.monotonic()
                    if error.errno != EBUSY or left <= 0:
                        raise
                    time.sleep(min(left, 0.002))
                else:
                    break

    @property
    def _v2(self) -> str:
        return f"{self.tree.unified}/{self.tree.parent}/{self.name}"

    @property
    def _freezer(self) -> str:
        return self.tree.directory("freezer", self.name)

    def _await_event(self, line: str, timeout: float) -> None:
        """Wait for a line of cgroup.events, which wakes pollers when it changes (cgroup v2, since 5.2 for `frozen`)."""
        deadline = time.monotonic() + timeout
        fd = os.open(f"{self._v2}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        try:
            poll = select.poll()
            poll.register(fd, select.POLLPRI)
            while line not in os.pread(fd, 4096, 0).decode():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{self.name} does not reach {line!r}")
                poll.poll(left * 1000)
        finally:
            os.close(fd)


def _open_if_there(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _removed_below(directory: str) -> bool:
    """Delete what a container that may write there has made, the deepest first; whether anything was."""
    removed = False
    for path, names, _ in os.walk(directory, topdown=False):
        for name in names:
            try:
                os.rmdir(f"{path}/{name}")
            except OSError:
                continue  # in use, which is said of the whole then
            removed = True
    return removed
