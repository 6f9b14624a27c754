"""Facts about the machine, as `info` and the events of the host show them."""

import os
import platform
import pwd
from pathlib import Path


def boot_id() -> str:
    """Changes with every boot of the kernel. See proc_sys_kernel(5), random/boot_id."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def kernel() -> str:
    """The kernel's release, such as `6.1.0-18-amd64`."""
    return platform.release()


def memory_total() -> int:
    """Bytes. See proc_meminfo(5)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal":
            return int(value.split()[0]) * 1024
    return 0


def operating_system() -> str:
    """PRETTY_NAME of os-release(5)."""
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def cpus() -> int:
    """Those this process may run on."""
    return len(os.sched_getaffinity(0))


def apparmor() -> bool:
    """Whether the kernel has AppArmor switched on. See apparmor(7)."""
    try:
        return Path("/sys/module/apparmor/parameters/enabled").read_text().strip() == "Y"
    except OSError:
        return False


def user_name(uid: int) -> str:
    """The host's name of a user; the number when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def processor_time() -> int:
    """What all processors have done since the boot, also nothing, in ns. See proc_stat(5), line cpu; the times of
    guests are in those of users already."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = file.readline().split()[1:9]
    return sum(map(int, fields)) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def carried(pid: int) -> str:
    """What the interfaces have carried that a process sees, as the kernel tells it; empty when it is gone. See
    proc_pid_net(5), dev."""
    try:
        return Path(f"/proc/{pid}/net/dev").read_text()
    except OSError:
        return ""
