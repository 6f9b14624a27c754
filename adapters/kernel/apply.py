"""Carries out plans: `run_host` in the supervisor, `run_child` in the newborn child up to and including execve.

Steps come as they travel, JSON lists whose first item names the step (`domain.runtime.steps` has them with their
fields). One function below for each, named alike. The child is a fork of a process with one thread: nothing here
imports, logs, or asks a name service, and after `PivotRoot` nothing names a host path.

    group = run_host(document["host"], tree)                     # FileExistsError: the attempt was already acted on
    run_child(document["child"], Context(tasks=[4, 5], status=3))    # raises Failure, or never returns
"""

import _signal  # type: ignore[import-not-found]  # the module behind `signal`, whose wrappers cost the child 0.4 ms
import _socket
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from errno import EACCES, EINVAL, EISDIR, ELOOP, ENODEV, ENOENT, ENOEXEC, ENOSYS, ENOTDIR, EPERM

from adapters.kernel import syscalls
from adapters.kernel.cgroups import Group, Tree
from adapters.kernel.syscalls import encode, failed
from domain.errors import CommandFailed, KernelError, LadingError
from domain.failpoints import failpoint
from domain.runtime import users

_HERE = -100  # AT_FDCWD
_MISSING = (ENOENT, ENOTDIR)
_KERNEL_FILES = (syscalls.PROC_SUPER_MAGIC, syscalls.SYSFS_MAGIC)
_NO_LINKS = syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_INSIDE = syscalls.RESOLVE_NO_MAGICLINKS  # the root is the container's: links lead nowhere else
_MOUNT_OPTIONS = 4095  # mount(2) takes one page


class Failure(Exception):
    """A step that failed in the child, as it travels to whoever asked.

    `exit_code` is 126 or 127 when the command could not be executed, else 125; `errno` 0 for a wish that breaks a rule.
    """

    def __init__(self, stage: str, errno: int, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.stage, self.errno, self.text, self.exit_code = stage, errno, text, exit_code


def as_error(stage: str, errno: int, text: str, exit_code: int) -> LadingError:
    """The error that a reported failure stands for."""
    if errno == 0 or exit_code in (126, 127):
        return CommandFailed(text, exit_code=exit_code)
    return KernelError(text, errno=errno, stage=stage)


class Context:
    """What the child was born with: open `tasks` files, the status descriptor, and what to do when it is ready.

    Descriptors 0, 1 and 2 are in place and `status` is 3. Without `ready` the child reads one byte from `status`:
    that is the word to go, an end of file the word to die.
    """

    __slots__ = ("account", "binds", "ready", "status", "tasks")

    def __init__(self, *, tasks: Sequence[int] = (), status: int = 3, ready: Callable[[], None] | None = None) -> None:
        self.tasks, self.status, self.ready = tasks, status, ready
        self.binds: dict[str, int] = {}
        self.account = users.Account(0, 0, (0,), "/")


def run_host(steps: Iterable[Sequence[object]], tree: Tree) -> Group:
    """Carry out the host's steps; returns the groups that `MakeGroup` made.

    Raises: FileExistsError when this attempt was already acted on (nothing was touched then), KernelError after which
    the groups are gone again.
    """
    group: Group | None = None
    try:
        for name, *values in steps:
            failpoint(f"host.{name}")
            if name == "MakeGroup":
                group = tree.create(*values)  # type: ignore[arg-type]  # from JSON: the plan made it
            else:
                _HOST[str(name)](*values)
    except OSError as error:
        if group is None:
            raise
        group.remove()
        raise failed("open", str(error.filename), error.errno or 0) from error
    if group is None:
        raise failed("mkdir", "control group", EINVAL)
    return group


def _make_directory(path: str, mode: int) -> None:
    """The umask must not take part."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    os.chmod(path, mode)


def _write_file(path: str, content: str, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        os.write(fd, encode(content))
    finally:
        os.close(fd)


_HOST: dict[str, Callable[..., None]] = {"MakeDirectory": _make_directory, "WriteFile": _write_file}


def run_child(steps: Iterable[Sequence[object]], context: Context) -> None:
    """Carry out the child's steps. Raises: Failure; does not return when the last step is `Execute`."""
    for name, *values in steps:
        failpoint(f"child.{name}")
        try:
            _CHILD[str(name)](context, *values)
        except KernelError as error:
            text = f"{error.message} ({error.hint})" if error.hint else error.message
            raise Failure(str(name), error.errno, text, 125) from error
        except CommandFailed as error:
            raise Failure(str(name), 0, error.message, error.exit_code) from error
        except OSError as error:
            where = f" {error.filename}" if error.filename else ""
            raise Failure(str(name), error.errno or 0, f"{name}{where}: {error.strerror}", 125) from error


# The order of a start: the engine's marks off, groups, namespaces ----------------------------------------------------


def _opaque(_: Context) -> None:
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


def _reset_process(_: Context, umask: int, oom_score_adj: int) -> None:
    """Python ignores SIGPIPE and SIGXFSZ, and what is ignored stays so across exec; handlers do not. Lowering the score
    needs CAP_SYS_RESOURCE; a host that lacks it keeps the score it had."""
    os.umask(umask)
    for number in _signal.valid_signals():
        if _signal.getsignal(number) == _signal.SIG_IGN:
            _signal.signal(number, _signal.SIG_DFL)
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if os.getpriority(os.PRIO_PROCESS, 0) != 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(oom_score_adj).encode())
    except PermissionError:
        pass
    finally:
        os.close(fd)


def _join_groups(context: Context) -> None:
    """"0" is the writer itself; through `tasks` this takes 0.05 ms, through cgroup.procs an RCU grace period of 10."""
    for fd in context.tasks:
        os.write(fd, b"0")


def _unshare(_: Context, flags: int) -> None:
    syscalls.unshare(flags)


def _loopback_up(_: Context) -> None:
    handle = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        syscalls.interface_up(handle.fileno(), "lo")
    finally:
        handle.close()


def _private_mounts(_: Context) -> None:
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)


# The root file system ------------------------------------------------------------------------------------------------


def _prepare_bind(context: Context, name: str, path: str, read_only: bool) -> None:
    tree = syscalls.open_tree(_HERE, path, syscalls.OPEN_TREE_CLONE | syscalls.AT_SYMLINK_NOFOLLOW)
    attributes = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
    attributes |= syscalls.MOUNT_ATTR_RDONLY if read_only else 0
    syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH, attributes)
    context.binds[name] = tree


def _overlay_root(_: Context, layer_root: str, layers: Sequence[str], upper: str, work: str, target: str) -> None:
    """Layers by short relative names, because mount(2) takes one page of options; upper and work by descriptor, because
    the container reads the options in /proc/mounts and host paths are none of its business."""
    os.chdir(layer_root)
    upper_fd, work_fd = (os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in (upper, work))
    lower = ":".join(reversed(layers))
    data = (f"lowerdir={lower},upperdir=/proc/self/fd/{upper_fd},workdir=/proc/self/fd/{work_fd},"
            "index=off,redirect_dir=off,metacopy=off")
    if len(data) + len(",xino=auto") > _MOUNT_OPTIONS:
        _overlay_of_many(layers, upper_fd, work_fd, target)
    else:
        try:
            syscalls.mount("overlay", target, "overlay", 0, f"{data},xino=auto")
        except KernelError as error:
            if error.errno != EINVAL:
                raise
            syscalls.mount("overlay", target, "overlay", 0, data)
    os.close(upper_fd)
    os.close(work_fd)


def _overlay_of_many(layers: Sequence[str], upper_fd: int, work_fd: int, target: str) -> None:
    """One layer at a time, which kernels before 6.8 cannot."""
    fs = syscalls.fsopen("overlay")
    settings = [("lowerdir+", layer) for layer in reversed(layers)]
    settings += [("upperdir", f"/proc/self/fd/{upper_fd}"), ("workdir", f"/proc/self/fd/{work_fd}")]
    settings += [("index", "off"), ("redirect_dir", "off"), ("metacopy", "off"), ("xino", "auto")]
    for key, value in settings:
        syscalls.fsconfig(fs, syscalls.FSCONFIG_SET_STRING, key, value)
    syscalls.fsconfig(fs, syscalls.FSCONFIG_CMD_CREATE)
    tree = syscalls.fsmount(fs, 0)
    os.close(fs)
    place = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.move_mount(tree, place, path=target)
    os.close(place)
    os.close(tree)


def _pivot_root(_: Context, target: str) -> None:
    """The old root lands on top of the new one and is detached from there: no directory for it is needed."""
    os.chdir(target)
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", syscalls.MNT_DETACH)
    os.chdir("/")


# Mounts inside: always on a descriptor that was looked at ------------------------------------------------------------


def _mount_at(_: Context, target: str, fstype: str, source: str, flags: int, data: str) -> None:
    place = _own_directory(target)
    try:
        _mount_on(place, fstype, source, flags, data)
    finally:
        os.close(place)


def _mount_on(place: int, fstype: str, source: str, flags: int, data: str) -> None:
    """By `.`, so that nothing is looked up again."""
    os.fchdir(place)
    syscalls.mount(source, ".", fstype, flags, data)


def _own_directory(path: str) -> int:
    """A directory of ours; a link in its place would lead our mounts astray, so such an image does not start."""
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        return syscalls.openat2(_HERE, path, flags, _NO_LINKS)
    except KernelError as error:
        if error.errno in (ELOOP, ENOTDIR):
            raise CommandFailed(f"{path} of the image is a link or a file, not a directory", exit_code=125) from error
        if error.errno != ENOENT:
            raise
    os.mkdir(path, 0o755)
    return syscalls.openat2(_HERE, path, flags, _NO_LINKS)


def _directory_inside(path: str) -> tuple[int, bool]:
    """Open a directory of the image, following its links, and make what is missing; whether the last part was made."""
    try:
        return syscalls.openat2(_HERE, path, os.O_PATH | os.O_DIRECTORY, _INSIDE), False
    except KernelError as error:
        if error.errno != ENOENT:
            raise _unusable(path, error.errno) from error
    place, made, done = syscalls.openat2(_HERE, "/", os.O_PATH | os.O_DIRECTORY, _INSIDE), False, ""
    for part in filter(None, path.split("/")):
        done += f"/{part}"
        following, made = _enter(place, part, done)
        os.close(place)
        place = following
    return place, made


def _enter(place: int, part: str, path: str) -> tuple[int, bool]:
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        return syscalls.openat2(_HERE, path, flags, _INSIDE), False
    except KernelError as error:
        if error.errno != ENOENT:
            raise _unusable(path, error.errno) from error
    _refuse_kernel_files(place, path)
    try:
        os.mkdir(encode(part), 0o755, dir_fd=place)
        return syscalls.openat2(_HERE, path, flags, _INSIDE), True
    except OSError as error:  # a link that leads nowhere exists and cannot be opened
        raise _unusable(path, error.errno or 0) from error
    except KernelError as error:
        raise _unusable(path, error.errno) from error


def _unusable(path: str, number: int) -> CommandFailed:
    return CommandFailed(f"cannot use {path} of the image: {os.strerror(number)}", exit_code=125)


def _refuse_kernel_files(place: int, path: str) -> None:
    if syscalls.fstatfs_type(place) in _KERNEL_FILES:
        raise CommandFailed(f"{path} of the image leads into the kernel's file systems", exit_code=125)


def _node(_: Context, path: str, mode: int, major: int, minor: int) -> None:
    os.mknod(path, stat.S_IFCHR | mode, os.makedev(major, minor))
    os.chmod(path, mode)  # the umask must not take part; nobody else is here


def _link(_: Context, target: str, path: str) -> None:
    os.symlink(target, path)


def _sysctl(_: Context, name: str, value: str) -> None:
    try:
        fd = syscalls.openat2(_HERE, f"/proc/sys/{name}", os.O_WRONLY, _NO_LINKS)
    except KernelError as error:
        if error.errno in _MISSING:
            return
        raise
    try:
        if syscalls.fstatfs_type(fd) == syscalls.PROC_SUPER_MAGIC:
            os.write(fd, value.encode())
    finally:
        os.close(fd)


def _mount_tmpfs(_: Context, target: str, flags: int, data: str, keep_mode: bool) -> None:
    place, made = _directory_inside(target)
    try:
        _refuse_kernel_files(place, target)
        if keep_mode and not made:
            mode = stat.S_IMODE(os.fstat(place).st_mode)
            data = f"{data},mode={mode:o}" if data else f"mode={mode:o}"
        _mount_on(place, "tmpfs", "tmpfs", flags, data)
    finally:
        os.close(place)


def _attach_bind(context: Context, name: str, target: str) -> None:
    """On the file itself. A link there is covered, not followed: a mount on it hides it, and its target stays alone."""
    parent, _, leaf = target.rpartition("/")
    directory, _ = _directory_inside(parent or "/")
    try:
        _refuse_kernel_files(directory, target)
        place = _file_in(directory, leaf)
        try:
            if stat.S_ISDIR(os.fstat(place).st_mode):
                raise _unusable(target, EISDIR)
            syscalls.move_mount(context.binds.pop(name), place, path=target)
        finally:
            os.close(place)
    finally:
        os.close(directory)


def _file_in(directory: int, leaf: str) -> int:
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(leaf, flags, dir_fd=directory)
    except FileNotFoundError:
        os.close(os.open(leaf, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=directory))
        return os.open(leaf, flags, dir_fd=directory)


def _mask(_: Context, paths: Sequence[str]) -> None:
    """Our own /dev/null and one empty tmpfs that is bound as often as needed."""
    blank = ""
    for path in paths:
        place = _kernel_file(path)
        if place < 0:
            continue
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            _cover(place, "/dev/null", path)
        elif blank:
            _cover(place, blank, path)
        else:
            flags = syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
            _mount_on(place, "tmpfs", "tmpfs", flags, "size=0,nr_inodes=2,mode=755")
            blank = path
        os.close(place)


def _cover(place: int, source: str, path: str) -> None:
    tree = syscalls.open_tree(_HERE, source, syscalls.OPEN_TREE_CLONE | syscalls.AT_SYMLINK_NOFOLLOW)
    found = os.fstat(tree)
    ours = found.st_rdev == os.makedev(1, 3) if stat.S_ISCHR(found.st_mode) else stat.S_ISDIR(found.st_mode)
    if not ours:
        raise failed("open_tree", source, ENODEV)
    syscalls.move_mount(tree, place, path=path)
    os.close(tree)


def _make_read_only(_: Context, paths: Sequence[str]) -> None:
    """A copy of the mount that is read-only, on top of it; recursive, so that masks below stay."""
    for path in paths:
        place = _kernel_file(path)
        if place < 0:
            continue
        recursive = syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE
        tree = syscalls.open_tree(place, "", syscalls.OPEN_TREE_CLONE | recursive)
        syscalls.mount_setattr(tree, "", recursive, syscalls.MOUNT_ATTR_RDONLY)
        syscalls.move_mount(tree, place, path=path)
        os.close(tree)
        os.close(place)


def _kernel_file(path: str) -> int:
    """A file or directory of procfs or sysfs, reached without any link and proved to be one; -1 when there is none."""
    try:
        place = syscalls.openat2(_HERE, path, os.O_PATH, _NO_LINKS)
    except KernelError as error:
        if error.errno in _MISSING:
            return -1
        raise
    if syscalls.fstatfs_type(place) not in _KERNEL_FILES:
        raise failed("fstatfs", path, EINVAL)
    return place


def _read_only_mount(_: Context, path: str) -> None:
    syscalls.mount_setattr(_HERE, path, 0, syscalls.MOUNT_ATTR_RDONLY)


# The process ---------------------------------------------------------------------------------------------------------


def _set_hostname(_: Context, name: str) -> None:
    syscalls.sethostname(name)


def _new_session(_: Context) -> None:
    os.setsid()


def _close_descriptors(context: Context) -> None:
    """Closed, not marked: a mark works at exec, and a working directory or a program may be named through
    /proc/self/fd before that (CVE-2024-21626)."""
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0, inheritable=True)
    if context.status != 3:
        os.dup2(context.status, 3, inheritable=False)
        context.status = 3
    os.set_inheritable(3, False)
    syscalls.close_range(4)


def _new_keyring(_: Context) -> None:
    try:
        syscalls.keyctl_join_session_keyring()
    except KernelError as error:
        if error.errno != ENOSYS:  # a kernel without CONFIG_KEYS has nothing to inherit
            raise


def _resolve_user(context: Context, user: str) -> None:
    """The output pipes go to the user, who could not open /dev/stdout otherwise."""
    context.account = users.resolve(user, _image_file("/etc/passwd"), _image_file("/etc/group"))
    if context.account.uid != 0:
        for fd in (1, 2):
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.fchown(fd, context.account.uid, context.account.gid)


def _image_file(path: str) -> bytes:
    """The beginning of a regular file of the image; nothing for a pipe, a device, or what cannot be opened."""
    try:
        fd = syscalls.openat2(_HERE, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, _INSIDE)
    except KernelError:
        return b""
    try:
        found = os.fstat(fd)
        return os.read(fd, min(found.st_size, users.LARGEST_FILE + 1)) if stat.S_ISREG(found.st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(fd)


def _make_workdir(_: Context, path: str) -> None:
    place = _directory_inside(path)[0]
    os.fchdir(place)
    os.close(place)


def _load_seccomp(_: Context, program: str) -> None:
    syscalls.seccomp_set_mode_filter(bytes.fromhex(program))


def _become_user(context: Context, capabilities: int) -> None:
    """The bounding set shrinks while CAP_SETPCAP is there; ids change while CAP_SETUID is."""
    _shrink_bounding_set(capabilities)
    account = context.account
    os.setgroups(account.groups)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    permitted = capabilities & syscalls.capget()[1] if account.uid == 0 else 0
    syscalls.capset(permitted, permitted, 0)
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)


def _shrink_bounding_set(capabilities: int) -> None:
    for capability in range(64):
        if not capabilities >> capability & 1:
            try:
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
            except KernelError as error:
                if error.errno != EINVAL:
                    raise
                return  # the first one that this kernel does not know


def _change_directory(_: Context, path: str) -> None:
    """A user who may not enter stays where root has gone, as the industry's runtime has it. A directory outside of the
    root has a name that does not begin with a slash."""
    try:
        os.chdir(encode(path))
    except PermissionError:
        pass
    except OSError as error:
        raise _unusable(path, error.errno or 0) from error
    if not syscalls.getcwd().startswith(b"/"):
        raise CommandFailed(f"the working directory {path} is outside of the container", exit_code=125)


def _wait_for_go(context: Context) -> None:
    if context.ready is not None:
        context.ready()
    elif not os.read(context.status, 1):
        os._exit(125)


def _execute(context: Context, argv: Sequence[str], env: Sequence[str], init: str) -> None:
    arguments = [encode(argument) for argument in argv]
    variables = dict(encode(entry).partition(b"=")[::2] for entry in env)
    if not variables.get(b"HOME"):
        variables[b"HOME"] = encode(context.account.home)
    syscalls.unblock_all_signals()
    best: OSError | None = None
    for candidate in _candidates(arguments[0], variables.get(b"PATH", b"")):
        try:
            if init:
                _check_executable(candidate)
                os.execve(encode(init), [encode(init), candidate, b"--", *arguments], variables)
            os.execve(candidate, arguments, variables)
        except OSError as error:
            if b"/" in arguments[0] or os.path.isfile(candidate):
                best = best or error
    raise _not_executed(argv[0], best)


def _candidates(name: bytes, path: bytes) -> list[bytes]:
    """The files that a shell would try; an empty entry of PATH means nothing here, not the working directory."""
    return [name] if b"/" in name else [entry + b"/" + name for entry in path.split(b":") if entry]


def _check_executable(candidate: bytes) -> None:
    """What execve would say, as far as one can know before: the little init could only report a number."""
    found = os.stat(candidate)
    if not stat.S_ISREG(found.st_mode) or not os.access(candidate, os.X_OK):
        raise OSError(EACCES, os.strerror(EACCES))


def _not_executed(name: str, error: OSError | None) -> CommandFailed:
    shown = ascii(name)[1:-1]
    if error is None:
        return CommandFailed(f'exec: "{shown}": executable file not found in $PATH', exit_code=127)
    if error.errno in _MISSING:
        what = "" if os.path.exists(encode(name)) else f"stat {shown}: "  # it is there: its interpreter is not
        return CommandFailed(f'exec: "{shown}": {what}no such file or directory', exit_code=127)
    if error.errno in (EACCES, EPERM):
        reason = "is a directory" if "/" in name and os.path.isdir(encode(name)) else "permission denied"
        return CommandFailed(f'exec: "{shown}": {reason}', exit_code=126)
    reason = "exec format error" if error.errno == ENOEXEC else os.strerror(error.errno or 0).lower()
    return CommandFailed(f'exec: "{shown}": {reason}', exit_code=126)


_CHILD: dict[str, Callable[..., None]] = {
    "Opaque": _opaque, "ResetProcess": _reset_process, "JoinGroups": _join_groups, "Unshare": _unshare,
    "LoopbackUp": _loopback_up, "PrivateMounts": _private_mounts, "PrepareBind": _prepare_bind,
    "OverlayRoot": _overlay_root, "PivotRoot": _pivot_root, "MountAt": _mount_at, "Node": _node, "Link": _link,
    "Sysctl": _sysctl, "MountTmpfs": _mount_tmpfs, "AttachBind": _attach_bind, "Mask": _mask,
    "MakeReadOnly": _make_read_only, "ReadOnlyMount": _read_only_mount, "SetHostname": _set_hostname,
    "NewSession": _new_session, "CloseDescriptors": _close_descriptors, "NewKeyring": _new_keyring,
    "ResolveUser": _resolve_user, "MakeWorkdir": _make_workdir,
    "LoadSeccomp": _load_seccomp, "BecomeUser": _become_user, "ChangeDirectory": _change_directory,
    "WaitForGo": _wait_for_go, "Execute": _execute,
}
