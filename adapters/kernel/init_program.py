"""The first process of `--init`: a static ELF of some 500 bytes, made here, because no host has to have a compiler.

The machine code is that of init_x86_64.s and init_aarch64.s beside this module; a test assembles them and compares. The
file lies below the data root and is bound read-only into containers, never copied into them.

    ELF header (64 bytes) | PT_LOAD r-x of the whole file, PT_GNU_STACK rw- (2 x 56 bytes) | code
"""

import os
from struct import pack

from domain.errors import StorageError, Unavailable

CODE: dict[str, bytes] = {
    "x86_64": bytes.fromhex(
        "488b04244c8d6424084d8d6cc4084883f8040f8c230100004881ec0001000048c7842480000000ffffffffb80e000000bf020000"
        "00488db4248000000031d241ba080000000f05b838000000bf1100000031f631d24531d24531c00f054885c00f88d50000000f84"
        "890000004989c6b880000000488dbc24800000004889e631d241ba080000000f054885c078e183f811740f4889c6b83e0000004c"
        "89f70f05ebcdb83d00000048c7c7ffffffff488db42488000000ba010000004531d20f054885c07eaa4c39f075d8448bbc248800"
        "00004489ff83e77f740881c780000000eb0c4489ffc1ef0881e7ff000000b8e70000000f0548c784248000000000000000b80e00"
        "0000bf02000000488db4248000000031d241ba080000000f05b83b000000498b7c2408498d7424184c89ea0f05bf7f00000083f8"
        "fe74b3bf7e000000ebac"
    ),
    "aarch64": bytes.fromhex(
        "e90340f9f4230091950e098bb52200913f1100f1eb080054ff0304d109008092e94300f9e81080d2400080d2e1030291020080d2"
        "030180d2010000d4881b80d2200280d2010080d2020080d2030080d2040080d2010000d41f0000f1ab06005480040054f60300aa"
        "281180d2e0030291e1030091020080d2030180d2010000d41f0000f12bffff541f4400f1c0000054e10300aae00316aa281080d2"
        "010000d4f2ffff17882080d200008092e1230291220080d2030080d2010000d41f0000f14dfdff541f0016ebe1feff54e98b40b9"
        "20190072600000540000021103000014207d0853001c0012c80b80d2010000d4ff4300f9e81080d2400080d2e1030291020080d2"
        "030180d2010000d4a81b80d2800640f981620091e20315aa010000d4e90300aae00f80d23f0900b1e0fdff54c00f80d2edffff17"
    ),
}
"""Position-independent code by machine, as uname(1) names it."""

_ELF_MACHINES = {"x86_64": 62, "aarch64": 183}
_ADDRESS, _HEADERS, _PAGE = 0x400000, 64 + 2 * 56, 0x10000
_LOAD, _STACK, _READ, _WRITE, _EXECUTE = 1, 0x6474E551, 4, 2, 1


def program(machine: str) -> bytes:
    """The executable. Raises: Unavailable for a machine without one."""
    code = CODE.get(machine)
    if code is None:
        raise Unavailable(f"there is no --init program for {machine}", hint="x86_64 and aarch64 have one")
    size = _HEADERS + len(code)
    header = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9) + pack(
        "<HHIQQQIHHHHHH", 2, _ELF_MACHINES[machine], 1, _ADDRESS + _HEADERS, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = pack("<IIQQQQQQ", _LOAD, _READ | _EXECUTE, 0, _ADDRESS, _ADDRESS, size, size, _PAGE)
    stack = pack("<IIQQQQQQ", _STACK, _READ | _WRITE, 0, 0, 0, 0, 0, 16)
    return header + load + stack + code


def install(path: str, machine: str) -> None:
    """Put the program at `path`, unless it is there already. Raises: StorageError, Unavailable."""
    wanted = program(machine)
    temporary = f"{path}.{os.getpid()}"
    try:
        if _content(path) == wanted:
            return
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o555)
        try:
            os.write(fd, wanted)
            os.fchmod(fd, 0o555)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(65536)
    except FileNotFoundError:
        return b""
