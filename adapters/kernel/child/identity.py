"""Who the process is: host name, session, descriptors, user, working directory, filter, capabilities."""

import os
import resource
import stat
from collections.abc import Callable, Sequence
from errno import EINVAL, ENOSYS

from adapters.kernel import syscalls, terminals
from adapters.kernel.child.context import Context
from adapters.kernel.child.paths import HERE, INSIDE, MISSING, NO_LINKS, directory_inside, unusable
from adapters.kernel.syscalls import encode
from domain.errors import CommandFailed, KernelError
from domain.runtime import users

_NULL = os.makedev(1, 3)


def _set_hostname(_: Context, name: str) -> None:
    syscalls.sethostname(name)


def _set_domainname(_: Context, name: str) -> None:
    syscalls.setdomainname(name)


def _new_session(_: Context, terminal: bool) -> None:
    os.setsid()
    if terminal:
        terminals.adopt(0)


def _close_descriptors(context: Context, stdin: bool) -> None:
    """Closed, not marked: a mark works at exec, and a working directory or a program may be named through
    /proc/self/fd before that (CVE-2024-21626)."""
    os.chdir("/")
    if not stdin:
        os.dup2(_null_device(), 0, inheritable=True)
    if context.status != 3:
        os.dup2(context.status, 3, inheritable=False)
        context.status = 3
    os.set_inheritable(3, False)
    syscalls.close_range(4)


def _null_device() -> int:
    """The container's own; a container that runs may have put anything in its place. Never the host's: root in the
    container could change the mode of that."""
    for flags in (os.O_PATH, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK):  # a look first: opening could have effects
        try:
            fd = syscalls.openat2(HERE, "/dev/null", flags, NO_LINKS)
        except KernelError as error:
            raise _without_null() from error
        found = os.fstat(fd)
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != _NULL:
            raise _without_null()
    os.set_blocking(fd, True)
    return fd


def _without_null() -> CommandFailed:
    return CommandFailed("/dev/null of the container is not the null device", exit_code=125)


def _new_keyring(_: Context) -> None:
    try:
        syscalls.keyctl_join_session_keyring()
    except KernelError as error:
        if error.errno != ENOSYS:  # a kernel without CONFIG_KEYS has nothing to inherit
            raise


def _resolve_user(context: Context, user: str, groups: Sequence[str]) -> None:
    """The pipes go to the user, who could not open /dev/stdout otherwise; a terminal stays with its group, `tty`."""
    context.account = users.resolve(user, _image_file("/etc/passwd"), _image_file("/etc/group"), groups)
    if context.account.uid != 0:
        for fd in (0, 1, 2):
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.fchown(fd, context.account.uid, context.account.gid)
            elif os.isatty(fd):
                os.fchown(fd, context.account.uid, -1)


def _image_file(path: str) -> bytes:
    """The beginning of a regular file of the image; nothing for a pipe, a device, or what cannot be opened."""
    try:
        fd = syscalls.openat2(HERE, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, INSIDE)
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
    place = directory_inside(path)[0]
    os.fchdir(place)
    os.close(place)


def _enter_workdir(_: Context, path: str) -> None:
    try:
        place = syscalls.openat2(HERE, path, os.O_PATH | os.O_DIRECTORY, INSIDE)
    except KernelError as error:
        reason, code = os.strerror(error.errno).lower(), 127 if error.errno in MISSING else 126
        raise CommandFailed(f'chdir to "{ascii(path)[1:-1]}": {reason}', exit_code=code) from error
    os.fchdir(place)
    os.close(place)


def _set_limits(_: Context, limits: Sequence[tuple[str, int, int, int]]) -> None:
    for name, number, soft, hard in limits:
        try:
            resource.setrlimit(number, (soft, hard))
        except (OSError, ValueError) as error:  # the latter is how Python says EPERM and EINVAL
            reason = "more than the engine may give" if isinstance(error, ValueError) else os.strerror(error.errno or 0)
            raise CommandFailed(f"error setting rlimit {name} to {soft}:{hard}: {reason}", exit_code=125) from error


def _change_profile(_: Context, profile: str) -> None:
    """While /proc is the host's. It is kept for the program: by children, and until the next exec."""
    try:
        fd = os.open("/proc/self/attr/apparmor/exec", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, f"exec {profile}".encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise CommandFailed(f"AppArmor profile {profile!a} cannot be used: {os.strerror(error.errno or 0)}",
                            exit_code=125) from error


def _no_new_privileges(_: Context) -> None:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


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
        raise unusable(path, error.errno or 0) from error
    if not syscalls.getcwd().startswith(b"/"):
        raise CommandFailed(f"the working directory {path} is outside of the container", exit_code=125)


STEPS: dict[str, Callable[..., None]] = {
    "SetHostname": _set_hostname,
    "SetDomainname": _set_domainname,
    "NewSession": _new_session,
    "CloseDescriptors": _close_descriptors,
    "NewKeyring": _new_keyring,
    "ResolveUser": _resolve_user,
    "MakeWorkdir": _make_workdir,
    "EnterWorkdir": _enter_workdir,
    "SetLimits": _set_limits,
    "ChangeProfile": _change_profile,
    "NoNewPrivileges": _no_new_privileges,
    "LoadSeccomp": _load_seccomp,
    "BecomeUser": _become_user,
    "ChangeDirectory": _change_directory,
}
"""Step name → function."""
