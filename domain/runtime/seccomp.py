"""The default system call filter: what a container may ask of the kernel, as our own list, compiled to BPF.

Everything not listed is refused: EPERM for what the kernel has, ENOSYS for numbers that we do not know, because C
libraries fall back to an older call on ENOSYS only. All doors are guarded: the native table, i386 through int 0x80 on
x86-64, and the x32 numbers, which are unknown to us. Some calls come with a capability; a few are looked at closer.
"""

from collections.abc import Mapping
from errno import ENOSYS, EPERM
from functools import lru_cache

from domain.errors import InvalidValue
from domain.runtime.bpf import (
    ALLOW,
    ERRNO,
    JUMP_AT_LEAST,
    LOAD,
    NUMBER,
    Check,
    Code,
    Decision,
    Instruction,
    Return,
    answer,
    assemble,
    filter_for,
    search,
)
from domain.runtime.capabilities import NUMBERS as CAPABILITIES
from domain.runtime.syscall_numbers import AARCH64, I386, X86_64


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALLOWED = _words("""
    open openat openat2 creat close close_range read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2
    lseek _llseek dup dup2 dup3 fcntl fcntl64 flock ioctl sendfile sendfile64 splice tee vmsplice copy_file_range
    readahead fadvise64 fadvise64_64 fallocate ftruncate ftruncate64 truncate truncate64 fsync fdatasync sync syncfs
    sync_file_range cachestat pipe pipe2 memfd_create memfd_secret

    stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx statfs statfs64 fstatfs fstatfs64 statmount
    listmount access faccessat faccessat2 getdents getdents64 readlink readlinkat getcwd chdir fchdir mkdir mkdirat
    rmdir mknod mknodat link linkat symlink symlinkat unlink unlinkat rename renameat renameat2 chmod fchmod fchmodat
    fchmodat2 chown chown32 fchown fchown32 fchownat lchown lchown32 umask utime utimes futimesat utimensat
    utimensat_time64 name_to_handle_at
    getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat listxattr llistxattr flistxattr
    listxattrat removexattr lremovexattr fremovexattr removexattrat
    inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark
    landlock_create_ruleset landlock_add_rule landlock_restrict_self

    select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl
    epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4
    io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64

    mmap mmap2 munmap mremap mprotect madvise msync mincore mlock mlock2 mlockall munlock munlockall brk
    remap_file_pages pkey_alloc pkey_free pkey_mprotect mseal map_shadow_stack membarrier process_mrelease
    shmget shmat shmctl shmdt semget semop semctl semtimedop semtimedop_time64 msgget msgsnd msgrcv msgctl ipc
    mq_open mq_unlink mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64 mq_notify mq_getsetattr

    fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid set_tid_address
    getpgid getpgrp setpgid getsid setsid prctl arch_prctl ptrace rseq futex futex_time64 futex_waitv futex_wake
    futex_wait futex_requeue set_robust_list get_robust_list set_thread_area get_thread_area modify_ldt restart_syscall
    pidfd_open pidfd_send_signal seccomp uretprobe uprobe
    kill tkill tgkill sigaction sigaltstack sigpending sigprocmask sigreturn sigsuspend pause rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
    sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam
    sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval
    sched_rr_get_interval_time64 getpriority setpriority ioprio_get ioprio_set getcpu
    getrlimit ugetrlimit setrlimit prlimit64 getrusage times sysinfo uname getrandom

    getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getgroups getgroups32 getresuid getresuid32
    getresgid getresgid32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32
    setresgid setresgid32 setgroups setgroups32 setfsuid setfsuid32 setfsgid setfsgid32 capget capset

    time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep
    clock_nanosleep_time64 clock_adjtime clock_adjtime64 adjtimex nanosleep alarm getitimer setitimer
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
    timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64

    socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt
    sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg recvmmsg_time64
""")
"""Harmless to the host, whatever the arguments."""

BY_CAPABILITY: Mapping[str, frozenset[str]] = {name: _words(calls) for name, calls in {
    "SYS_ADMIN": "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr "
                 "lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr "
                 "perf_event_open pivot_root quotactl quotactl_fd setdomainname sethostname setns syslog umount "
                 "umount2 unshare",
    "SYS_CHROOT": "chroot", "SYS_BOOT": "reboot", "SYS_PACCT": "acct",
    "SYS_MODULE": "init_module finit_module delete_module",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev", "SYS_RAWIO": "iopl ioperm",
    "SYS_TIME": "settimeofday stime clock_settime clock_settime64", "SYS_TTY_CONFIG": "vhangup", "SYSLOG": "syslog",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node", "DAC_READ_SEARCH": "open_by_handle_at",
    "BPF": "bpf", "PERFMON": "perf_event_open",
}.items()}
"""What the holder of a capability may call, who could do as much without."""

_NO_SUCH_CALL, _NOT_PERMITTED = Return(ERRNO | ENOSYS), Return(ERRNO | EPERM)
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}
_AF_ALG, _AF_VSOCK, _SYS_SOCKET = 38, 40, 1
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)  # Linux, 32 bit, UNAME26, both, "what is it?"
_X32_BIT = 0x40000000

CHECKED: Mapping[str, Decision] = {
    "clone": Check(ERRNO | EPERM, ALLOW, bits=_NEW_NAMESPACES),
    "clone3": _NO_SUCH_CALL,  # its flags lie in memory, out of a filter's sight; libraries fall back to clone
    "socket": Check(ERRNO | EPERM, ALLOW, values=(_AF_ALG, _AF_VSOCK)),  # kernel crypto (CVE-2026-31431), host
    # The family of a socket made this way lies in memory. i386 has had socket(2) since 4.3, and libraries try it first.
    "socketcall": Check(ERRNO | ENOSYS, ALLOW, values=(_SYS_SOCKET,)),
    "personality": Check(ALLOW, ERRNO | EPERM, values=_PERSONALITIES),
    "open_tree_attr": _NO_SUCH_CALL, "file_getattr": _NO_SUCH_CALL, "file_setattr": _NO_SUCH_CALL,  # not judged yet
}
"""Decisions that are not plainly yes or no; a capability that grants the name overrides them."""

AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7


def decisions(capabilities: int, numbers: Mapping[str, int]) -> dict[int, Decision]:
    """What is answered for each number of one table, for a container with these capabilities."""
    held = [calls for name, calls in BY_CAPABILITY.items() if capabilities >> CAPABILITIES[name] & 1]
    granted = frozenset().union(*held)
    return {number: _decision(name, name in granted) for name, number in numbers.items()}


def _decision(name: str, granted: bool) -> Decision:
    if granted or name in ALLOWED:
        return Return(ALLOW)
    return CHECKED.get(name, _NOT_PERMITTED)


@lru_cache(maxsize=16)
def default_program(machine: str, capabilities: int) -> bytes:
    """The filter for `machine` (`x86_64`, `aarch64`) as seccomp(2) takes it. Raises: InvalidValue."""
    return assemble(default_filter(machine, capabilities))


def default_filter(machine: str, capabilities: int) -> Code:
    """The same as instructions."""
    if machine == "x86_64":
        native = below_x32(search(decisions(capabilities, X86_64), _NO_SUCH_CALL))
        old = search(decisions(capabilities, I386), _NO_SUCH_CALL)
        return filter_for([(AUDIT_ARCH_X86_64, native), (AUDIT_ARCH_I386, old)], ERRNO | ENOSYS)
    if machine == "aarch64":
        native = search(decisions(capabilities, AARCH64), _NO_SUCH_CALL)
        return filter_for([(AUDIT_ARCH_AARCH64, native)], ERRNO | ENOSYS)
    raise InvalidValue(f"no seccomp profile for machine {machine!r}", hint="x86_64 and aarch64 are supported")


def below_x32(code: Code) -> Code:
    """ENOSYS for the numbers of x32; the tree would say so, too, but its intervals must not be what guards them."""
    numbers = Instruction(LOAD, 0, 0, NUMBER)
    return [numbers, Instruction(JUMP_AT_LEAST, 0, 1, _X32_BIT), answer(ERRNO | ENOSYS), *code]
