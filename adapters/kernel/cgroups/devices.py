"""The device rules of all our containers, set once on their common parent: children cannot exceed them."""

import os
from errno import ENOENT

from adapters.kernel import syscalls
from domain.runtime.devices import DEFAULT, ebpf


def restrict_v2(parent: str) -> None:
    """Attach the device filter; done again it replaces the old one, and never is there none. Raises: KernelError."""
    directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        program = syscalls.bpf_prog_load(syscalls.BPF_PROG_TYPE_CGROUP_DEVICE, ebpf(DEFAULT))
        try:
            syscalls.bpf_prog_attach(directory, program, syscalls.BPF_CGROUP_DEVICE)
        finally:
            os.close(program)
    finally:
        os.close(directory)


def restrict_v1(parent: str) -> None:
    """Deny all, once, and allow what is missing: denying again would take from living children what they may use, and
    the kernel refuses it while there are any. Raises: KernelError."""
    if not parent:
        raise syscalls.failed("mount", "cgroup devices", ENOENT)
    try:
        with open(f"{parent}/devices.list", encoding="ascii") as file:
            present = file.read().splitlines()
        if any(line.startswith("a") for line in present):
            _write(f"{parent}/devices.deny", "a")
        for rule in DEFAULT:
            if rule not in present:
                _write(f"{parent}/devices.allow", rule)
    except OSError as error:
        raise syscalls.failed("write", f"{parent}/devices", error.errno or 0) from error


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
