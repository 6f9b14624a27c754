"""The device rules of containers: those of all on their common parent (version 2) or on each group (version 1).

A program on the parent may be overridden by one on a group below; a version 1 group cannot exceed its parent, so that
one stays open there, and each group is closed when it is made.
"""

import os
from collections.abc import Iterable
from errno import EINVAL, ENOENT, EPERM

from adapters.kernel import settings, syscalls
from domain.errors import KernelError
from domain.runtime.devices import DEFAULT, ebpf


def restrict_v2(parent: str) -> None:
    """The default rules for all groups below; done again it replaces the old ones. Raises: KernelError."""
    attach_v2(parent, ebpf(DEFAULT), syscalls.BPF_F_ALLOW_OVERRIDE)


def attach_v2(group: str, program: bytes, flags: int = 0) -> None:
    """Let `program` decide about devices in a group. Raises: KernelError."""
    directory = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        loaded = syscalls.bpf_prog_load(syscalls.BPF_PROG_TYPE_CGROUP_DEVICE, program)
        try:
            _attach(directory, loaded, flags)
        finally:
            os.close(loaded)
    finally:
        os.close(directory)


def _attach(directory: int, program: int, flags: int) -> None:
    """The kernel replaces a program, but not by one with other flags, which an older engine has left."""
    try:
        syscalls.bpf_prog_attach(directory, program, syscalls.BPF_CGROUP_DEVICE, flags)
    except KernelError as error:
        if error.errno != EPERM:
            raise
        syscalls.bpf_prog_detach(directory, syscalls.BPF_CGROUP_DEVICE)
        syscalls.bpf_prog_attach(directory, program, syscalls.BPF_CGROUP_DEVICE, flags)


def open_v1(parent: str) -> None:
    """Let the parent allow everything. One that an older engine has closed stays so while it has groups below: they
    cannot be given more than the defaults then. Raises: KernelError."""
    if not parent:
        raise syscalls.failed("mount", "cgroup devices", ENOENT)
    try:
        settings.write(f"{parent}/devices.allow", "a")
    except OSError as error:
        if error.errno != EINVAL:
            raise syscalls.failed("write", f"{parent}/devices.allow", error.errno or 0) from error


def restrict_v1(group: str, rules: Iterable[str] = DEFAULT) -> None:
    """Deny all, once, and allow what is missing. Raises: KernelError."""
    try:
        with open(f"{group}/devices.list", encoding="ascii") as file:
            present = file.read().splitlines()
        if any(line.startswith("a") for line in present):
            settings.write(f"{group}/devices.deny", "a")
        for rule in rules:
            if rule not in present:
                settings.write(f"{group}/devices.allow", rule)
    except OSError as error:
        raise syscalls.failed("write", f"{group}/devices", error.errno or 0) from error
