"""Platforms: what an image is made for, and whether this host executes its programs. Pure.

A kernel executes what its own processor understands; for other programs it may have been told an interpreter
(binfmt_misc, Documentation/admin-guide/binfmt-misc.rst), one file for each, as text:

    enabled
    interpreter /usr/bin/qemu-aarch64-static
    flags: OCF
    offset 0
    magic 7f454c460201010000000000000000000200b700
    mask ffffffffffffff00fffffffffffffffffeffffff
"""

from collections.abc import Iterable, Mapping
from typing import Any

_ELF: Mapping[str, tuple[int, int, int]] = {
    "386": (1, 1, 3),
    "amd64": (2, 1, 62),
    "arm": (1, 1, 40),
    "arm64": (2, 1, 183),
    "loong64": (2, 1, 258),
    "mips64le": (2, 1, 8),
    "ppc64le": (2, 1, 21),
    "riscv64": (2, 1, 243),
    "s390x": (2, 2, 22),
}
"""Class (32 or 64 bits), order of bytes (1: little end first) and machine of a program, as elf(5) numbers them."""
_EXECUTABLE, _INDEPENDENT = 2, 3
_ALSO: Mapping[str, str] = {"386": "amd64", "arm": "arm64"}
"""What runs without help on a processor of another name, as far as it was not switched off."""


def of_document(document: Mapping[str, Any]) -> str:
    """What an image's config says it is for: `linux/arm64/v8`; empty if it says nothing."""
    words = [document.get(name) for name in ("os", "architecture", "variant")]
    return "/".join(word for word in words if isinstance(word, str) and word) if words[1] else ""


def same(wanted: str, here: str) -> bool:
    """Whether what is wanted is what this is for; the variant counts only if it is said on both sides."""
    parts, own = wanted.lower().split("/"), here.split("/")
    if len(parts) == 1:
        return parts[0] in (own[0], own[1])
    return parts[:2] == own[:2] and (len(parts) < 3 or len(own) < 3 or parts[2:] == own[2:])


def executes(platform: str, host: str, rules: Iterable[str]) -> bool:
    """Whether this host executes programs for `platform`: by itself, or by one of the kernel's rules."""
    architecture, own = platform.split("/")[1], host.split("/")[1]
    if architecture == own or _ALSO.get(architecture) == own:
        return True
    heads = _heads(architecture)
    return any(_fits(rule, head) for rule in rules for head in heads)


def _heads(architecture: str) -> list[bytes]:
    """How programs begin: those at a fixed address, and those that may lie anywhere."""
    if architecture not in _ELF:
        return []
    bits, order, machine = _ELF[architecture]
    ident = b"\x7fELF" + bytes((bits, order, 1)) + bytes(9)
    end = "little" if order == 1 else "big"
    return [ident + kind.to_bytes(2, end) + machine.to_bytes(2, end) for kind in (_EXECUTABLE, _INDEPENDENT)]  # type: ignore[arg-type]


def _fits(rule: str, head: bytes) -> bool:
    """Whether a rule is switched on, keeps its interpreter open (F: else it would have to lie in the image), and fits
    the beginning of a program."""
    lines = rule.splitlines()
    words = dict(line.replace(":", "").partition(" ")[::2] for line in lines[1:])
    if lines[:1] != ["enabled"] or "F" not in words.get("flags", "") or words.get("offset", "0") != "0":
        return False
    try:
        magic = bytes.fromhex(words.get("magic", ""))
        mask = bytes.fromhex(words.get("mask", "")) or b"\xff" * len(magic)
    except ValueError:
        return False
    if not magic or len(magic) > len(head) or len(mask) != len(magic):
        return False
    return all(one & bits == wanted & bits for one, bits, wanted in zip(head, mask, magic, strict=False))
