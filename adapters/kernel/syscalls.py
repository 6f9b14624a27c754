"""Bare system calls through ctypes: one function per call, nothing is decided here.

Names and argument order are the kernel's. A failure raises `KernelError` with the call, the path, the errno, and a hint
where errno misleads. The calls keep the interpreter lock: they are short, and the processes that use them have one
thread. Needs Linux 5.15 on x86-64 or aarch64; what is newer says so.
"""

import ctypes
import os
from collections.abc import Callable
from errno import EACCES, EAGAIN, EBUSY, EINVAL, ELOOP, ENOMEM, ENOSPC, EPERM, ESTALE

from domain.errors import KernelError

_libc = ctypes.PyDLL(None, use_errno=True)
_INT, _TEXT, _DATA = ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p

# name → (x86-64, aarch64); see arch/x86/entry/syscalls and include/uapi/asm-generic/unistd.h
_NUMBERS = {
    "clone3": (435, 435), "unshare": (272, 97), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "mount_setattr": (442, 442), "openat2": (437, 437),
    "close_range": (436, 436), "capget": (125, 90), "capset": (126, 91), "prctl": (157, 167), "seccomp": (317, 277),
    "keyctl": (250, 219), "bpf": (321, 280), "sethostname": (170, 161), "setdomainname": (171, 162),
    "fstatfs": (138, 44), "ioctl": (16, 29), "rt_sigprocmask": (14, 135), "getcwd": (79, 17), "setns": (308, 268),
    "syncfs": (306, 267), "mmap": (9, 222), "mprotect": (10, 226), "madvise": (28, 233),
}
_MACHINES = ("x86_64", "aarch64")
MACHINE = os.uname().machine
_MOST_LOOKS = 1000

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER = 0x20000, 0x20000000, 0x10000000
CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET = 0x4000000, 0x8000000, 0x40000000
CLONE_PIDFD, CLONE_PARENT, CLONE_CLEAR_SIGHAND, CLONE_INTO_CGROUP = 0x1000, 0x8000, 0x100000000, 0x200000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_REC, MS_PRIVATE, MS_SLAVE = 0x4000, 0x40000, 0x80000
MNT_DETACH = 2

AT_FDCWD = -100
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, 0o2000000
AT_RECURSIVE, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW = 0x8000, 0x1000, 0x100
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH = 0x4, 0x40
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC = 1, 1
FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 1, 6

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 1, 2, 4
RESOLVE_BENEATH, RESOLVE_IN_ROOT = 8, 16

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS = 1, 2, 0x20
MADV_DONTFORK = 10

PROC_SUPER_MAGIC, SYSFS_MAGIC = 0x9FA0, 0x62656572
TMPFS_MAGIC, NSFS_MAGIC = 0x01021994, 0x6E736673

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP = 1, 4, 24
PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP = 28, 4
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 36, 38, 47, 4
KEYCTL_JOIN_SESSION_KEYRING = 1
SECCOMP_SET_MODE_FILTER = 1

PIDFD_INFO_EXIT = 8
_PIDFD_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, struct pidfd_info of its first 64 bytes)
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1

BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_PROG_DETACH = 5, 8, 9
BPF_F_ALLOW_OVERRIDE = 1
BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE = 15, 6

_HINTS = {
    ("unshare", EPERM): "the engine lacks CAP_SYS_ADMIN or a seccomp filter forbids new namespaces",
    ("clone3", EPERM): "the engine lacks CAP_SYS_ADMIN or a seccomp filter forbids new namespaces",
    ("clone3", ENOSPC): "the limit of namespaces is reached: see /proc/sys/user/max_*_namespaces",
    ("clone3", EBUSY): "the control group has children with controllers enabled",
    ("clone3", ENOMEM): "the pid namespace is dead or memory is short",
    ("mount", ELOOP): "one layer of the overlay lies inside another",
    ("mount", EINVAL): "the kernel does not take these mount options; `dmesg` has the reason",
    ("fsconfig", EINVAL): "before 6.8 a kernel takes as many layers as fit in one page of mount options, not more",
    ("mount_setattr", EINVAL): "the kernel, or the file system of the data root, cannot map ids of a mount",
    ("pivot_root", EINVAL): "the old root is no mount point (an initramfs), or its propagation is shared",
    ("setns", ESTALE): "the network process was restarted in between: try again",
    ("move_mount", EINVAL): "a file cannot be mounted on a directory, nor a directory on a file",
    ("seccomp", EACCES): "a filter needs CAP_SYS_ADMIN or no_new_privs",
    ("seccomp", EINVAL): "the filter is not valid, or the kernel has no CONFIG_SECCOMP_FILTER",
    ("bpf", EPERM): "the kernel refuses bpf(2): lockdown, or the engine lacks CAP_SYS_ADMIN",
}


def failed(call: str, path: str, number: int) -> KernelError:
    """The error of `call` on `path`, ready to be raised."""
    what = f"{call} {path}" if path else call
    return KernelError(f"{what}: {os.strerror(number)}", errno=number, stage=call, path=path,
                       hint=_HINTS.get((call, number), ""))


def _declare(call: str, *types: type) -> Callable[..., int]:
    function = _libc["syscall"]  # a new object for each call, so that each has its own prototype
    function.restype, function.argtypes = _INT, (_INT, *types)
    number = _NUMBERS[call][_MACHINES.index(MACHINE) if MACHINE in _MACHINES else 0]
    get_errno = ctypes.get_errno

    def invoke(*arguments: object, path: str = "") -> int:
        result: int = function(number, *arguments)
        if result < 0:
            raise failed(call, path, get_errno())
        return result

    return invoke


_clone3 = _declare("clone3", _DATA, _INT)
_unshare = _declare("unshare", _INT)
_mount = _declare("mount", _TEXT, _TEXT, _TEXT, _INT, _TEXT)
_umount2 = _declare("umount2", _TEXT, _INT)
_pivot_root = _declare("pivot_root", _TEXT, _TEXT)
_open_tree = _declare("open_tree", _INT, _TEXT, _INT)
_move_mount = _declare("move_mount", _INT, _TEXT, _INT, _TEXT, _INT)
_fsopen = _declare("fsopen", _TEXT, _INT)
_fsconfig = _declare("fsconfig", _INT, _INT, _TEXT, _TEXT, _INT)
_fsmount = _declare("fsmount", _INT, _INT, _INT)
_mount_setattr = _declare("mount_setattr", _INT, _TEXT, _INT, _DATA, _INT)
_openat2 = _declare("openat2", _INT, _TEXT, _DATA, _INT)
_close_range = _declare("close_range", _INT, _INT, _INT)
_capget = _declare("capget", _DATA, _DATA)
_capset = _declare("capset", _DATA, _DATA)
_prctl = _declare("prctl", _INT, _INT, _INT, _INT, _INT)
_seccomp = _declare("seccomp", _INT, _INT, _DATA)
_keyctl = _declare("keyctl", _INT, _INT, _INT, _INT, _INT)
_bpf = _declare("bpf", _INT, _DATA, _INT)
_sethostname = _declare("sethostname", _TEXT, _INT)
_setdomainname = _declare("setdomainname", _TEXT, _INT)
_fstatfs = _declare("fstatfs", _INT, _DATA)
_ioctl = _declare("ioctl", _INT, _INT, _DATA)
_rt_sigprocmask = _declare("rt_sigprocmask", _INT, _DATA, _DATA, _INT)
_getcwd = _declare("getcwd", _DATA, _INT)
_setns = _declare("setns", _INT, _INT)
_mmap = _declare("mmap", _INT, _INT, _INT, _INT, _INT, _INT)
_mprotect = _declare("mprotect", _INT, _INT, _INT)
_madvise = _declare("madvise", _INT, _INT, _INT)
_syncfs = _declare("syncfs", _INT)


def encode(text: str) -> bytes:
    """Text of a request as the bytes it came from (what was not UTF-8 travels as lone surrogates)."""
    return text.encode("utf-8", "surrogateescape")


class _CloneArgs(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in (
        "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls", "set_tid",
        "set_tid_size", "cgroup")]


def clone3(flags: int, *, exit_signal: int = 17, cgroup: int = -1, pidfd: bool = False) -> tuple[int, int]:
    """A fork with flags: (0, -1) in the child, (pid, pidfd or -1) in the caller. See clone(2).

    Only for processes with one thread. The child goes on in this very interpreter; with CLONE_PARENT the exit signal
    must be 0 (the kernel takes the caller's own). `cgroup` is a descriptor of a version 2 group to be born in.
    """
    number = ctypes.c_int(-1)
    arguments = _CloneArgs(flags=flags, exit_signal=exit_signal)
    if pidfd:
        arguments.flags |= CLONE_PIDFD
        arguments.pidfd = ctypes.addressof(number)
    if cgroup >= 0:
        arguments.flags |= CLONE_INTO_CGROUP
        arguments.cgroup = cgroup
    pid = _clone3(ctypes.byref(arguments), ctypes.sizeof(arguments))
    return (pid, number.value) if pid else (0, -1)


def unshare(flags: int) -> None:
    """See unshare(2)."""
    _unshare(flags)


def setns(fd: int, flags: int) -> None:
    """Enter namespaces of the process behind a pidfd (5.8), or the one that `fd` is. See setns(2)."""
    _setns(fd, flags)


def mmap(length: int, protection: int, flags: int, fd: int = -1) -> int:
    """A new mapping wherever there is room; its address. See mmap(2)."""
    return _mmap(0, length, protection, flags, fd, 0)


def mprotect(address: int, length: int, protection: int) -> None:
    """See mprotect(2)."""
    _mprotect(address, length, protection)


def madvise(address: int, length: int, advice: int) -> None:
    """See madvise(2)."""
    _madvise(address, length, advice)


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """See mount(2); empty strings become NULL."""
    _mount(encode(source) or None, encode(target), encode(fstype) or None, flags, encode(data) or None,
           path=f"{fstype or source} on {target}")


def umount2(target: str, flags: int) -> None:
    """See umount(2)."""
    _umount2(encode(target), flags, path=target)


def pivot_root(new_root: str, put_old: str) -> None:
    """See pivot_root(2)."""
    _pivot_root(encode(new_root), encode(put_old), path=new_root)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """See open_tree(2): a descriptor, always close-on-exec; with OPEN_TREE_CLONE of a detached copy of the mount."""
    return _open_tree(dirfd, encode(path), flags | OPEN_TREE_CLOEXEC, path=path)


def move_mount(from_fd: int, to_fd: int, *, path: str = "") -> None:
    """Attach the detached tree `from_fd` on what `to_fd` refers to, and nothing else. See move_mount(2)."""
    _move_mount(from_fd, b"", to_fd, b"", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH, path=path)


def fsopen(fstype: str) -> int:
    """See fsopen(2)."""
    return _fsopen(encode(fstype), FSOPEN_CLOEXEC, path=fstype)


def fsconfig(fd: int, command: int, key: str = "", value: str = "", aux: int = 0) -> None:
    """See fsconfig(2); values of at most 255 bytes."""
    _fsconfig(fd, command, encode(key) or None, encode(value) or None, aux, path=key)


def fsmount(fd: int, attributes: int) -> int:
    """See fsmount(2): the detached mount."""
    return _fsmount(fd, FSMOUNT_CLOEXEC, attributes)


def mount_setattr(dirfd: int, path: str, flags: int, attr_set: int, attr_clr: int = 0, *, propagation: int = 0,
                  userns_fd: int = 0) -> None:
    """See mount_setattr(2)."""
    attributes = (ctypes.c_uint64 * 4)(attr_set, attr_clr, propagation, userns_fd)
    _mount_setattr(dirfd, encode(path), flags, attributes, ctypes.sizeof(attributes), path=path)


def openat2(dirfd: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    """See openat2(2); always close-on-exec. A rename or a mount anywhere on the machine while it looks at a `..` makes
    it give up with EAGAIN, and asks for another try; somebody who does nothing else is not waited for for ever."""
    how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(_MOST_LOOKS):
        try:
            return _openat2(dirfd, encode(path), how, ctypes.sizeof(how), path=path)
        except KernelError as error:
            if error.errno != EAGAIN:
                raise
    return _openat2(dirfd, encode(path), how, ctypes.sizeof(how), path=path)


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    """Really close descriptors, no matter who opened them. See close_range(2)."""
    _close_range(first, last, 0)


def capget() -> tuple[int, int, int]:
    """(effective, permitted, inheritable) of the caller. See capget(2)."""
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    _capget(header, data)
    return data[0] | data[3] << 32, data[1] | data[4] << 32, data[2] | data[5] << 32


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """See capset(2)."""
    sets = (effective, permitted, inheritable)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _capset(header, (ctypes.c_uint32 * 6)(*(s & 0xFFFFFFFF for s in sets), *(s >> 32 for s in sets)))


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """See prctl(2)."""
    return _prctl(option, arg2, arg3, arg4, arg5)


def seccomp_set_mode_filter(program: bytes, flags: int = 0) -> None:
    """Load a classic BPF program of 8-byte instructions. See seccomp(2)."""
    instructions = ctypes.create_string_buffer(program, len(program))
    fprog = (ctypes.c_uint64 * 2)(len(program) // 8, ctypes.addressof(instructions))
    _seccomp(SECCOMP_SET_MODE_FILTER, flags, fprog)


def keyctl_join_session_keyring() -> None:
    """A new, empty, anonymous session keyring. See keyctl(2)."""
    _keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)


def pidfd_exit_status(pidfd: int) -> int | None:
    """The wait status of an ended and reaped process, None while there is none (6.15; older kernels: KernelError)."""
    info = (ctypes.c_uint32 * 16)()
    info[0] = PIDFD_INFO_EXIT
    _ioctl(pidfd, _PIDFD_GET_INFO, info)
    return ctypes.c_int32(info[15]).value if info[0] & PIDFD_INFO_EXIT else None


def sethostname(name: str) -> None:
    """See sethostname(2)."""
    raw = encode(name)
    _sethostname(raw, len(raw), path=name)


def setdomainname(name: str) -> None:
    """See setdomainname(2)."""
    raw = encode(name)
    _setdomainname(raw, len(raw), path=name)


def fstatfs_type(fd: int) -> int:
    """The magic number of the file system that `fd` lies on. See statfs(2)."""
    buffer = (ctypes.c_long * 16)()
    _fstatfs(fd, buffer)
    return buffer[0]


def syncfs(fd: int) -> None:
    """Write the file system that `fd` lies on to its disk. See syncfs(2)."""
    _syncfs(fd)


def interface_up(socket_fd: int, name: str) -> None:
    """Set IFF_UP on a network interface. See netdevice(7)."""
    request = ctypes.create_string_buffer(encode(name)[:15].ljust(16, b"\0") + _IFF_UP.to_bytes(2, "little"), 40)
    _ioctl(socket_fd, _SIOCSIFFLAGS, request, path=name)


def unblock_all_signals() -> None:
    """An empty signal mask, also for the numbers that the C library hides. See sigprocmask(2)."""
    _rt_sigprocmask(2, (ctypes.c_uint64 * 1)(0), None, 8)


def getcwd() -> bytes:
    """The raw answer, which begins with `(unreachable)` outside of the root; the C library hides that."""
    buffer = ctypes.create_string_buffer(4096)
    _getcwd(buffer, 4096)
    return buffer.value


def bpf_prog_load(kind: int, program: bytes) -> int:
    """Load an eBPF program (8-byte instructions, licence-free) and return its descriptor. See bpf(2)."""
    instructions = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    kind_and_count = kind | len(program) // 8 << 32
    attributes = (ctypes.c_uint64 * 16)(kind_and_count, ctypes.addressof(instructions), ctypes.addressof(licence))
    return _bpf(BPF_PROG_LOAD, attributes, 128, path="BPF_PROG_LOAD")


def bpf_prog_attach(cgroup: int, program: int, kind: int, flags: int = 0) -> None:
    """Attach to a version 2 group as the only program of its kind: it replaces an earlier one. See bpf(2)."""
    attributes = (ctypes.c_uint32 * 32)(cgroup, program, kind, flags)
    _bpf(BPF_PROG_ATTACH, attributes, 128, path="BPF_PROG_ATTACH")


def bpf_prog_detach(cgroup: int, kind: int) -> None:
    """Take the only program of its kind off a version 2 group. See bpf(2)."""
    attributes = (ctypes.c_uint32 * 32)(cgroup, 0, kind, 0)
    _bpf(BPF_PROG_DETACH, attributes, 128, path="BPF_PROG_DETACH")
