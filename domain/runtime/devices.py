"""Which device nodes a container may use: the default rules, and their spelling for both kinds of control group.

A rule is `c 1:3 rwm`: block or character, numbers or `*`, and some of reading, writing and making the node; version 1
takes it as it stands. Making nodes is allowed for all (package managers unpack them), opening only for those that
cannot hurt. What no rule allows is denied.
"""

from collections.abc import Iterable
from struct import pack

DEFAULT: tuple[str, ...] = (
    "c *:* m", "b *:* m",
    "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",  # null zero full random urandom
    "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm",  # tty ptmx pts/*
)

_KINDS = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*
_ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_*
_ALL = sum(_ACCESS.values())
_EXIT, _MOVE, _MOVE_REGISTER, _LOAD32, _AND, _SHIFT_RIGHT, _JUMP_UNEQUAL = 0x95, 0xB7, 0xBF, 0x61, 0x57, 0x77, 0x55
_RESULT, _CONTEXT, _KIND, _WANTED, _MAJOR, _MINOR, _REST = range(7)  # registers


def expanded(rules: Iterable[str]) -> tuple[str, ...]:
    """The same rules, without `a`, which stands for both kinds (version 1 of the groups takes it for everything)."""
    return tuple(kind + rule[1:] for rule in rules for kind in (rule[0] if rule[0] != "a" else "bc"))


def ebpf(rules: Iterable[str]) -> bytes:
    """A program of type CGROUP_DEVICE that returns 1 for what a rule allows and 0 otherwise.

    The context (struct bpf_cgroup_dev_ctx) is three 32-bit words: access << 16 | kind, major, minor.
    """
    code = [
        _instruction(_LOAD32, _KIND, _CONTEXT, 0), _instruction(_MOVE_REGISTER, _WANTED, _KIND),
        _instruction(_AND, _KIND, value=0xFFFF), _instruction(_SHIFT_RIGHT, _WANTED, value=16),
        _instruction(_LOAD32, _MAJOR, _CONTEXT, 4), _instruction(_LOAD32, _MINOR, _CONTEXT, 8),
    ]
    for rule in rules:
        code += _rule(rule)
    return b"".join([*code, _instruction(_MOVE, _RESULT), _instruction(_EXIT)])


def _rule(rule: str) -> list[bytes]:
    """Tests that all must hold, each jumping behind the rule if it does not; then `return 1`. Made from the end."""
    kind, numbers, access = rule.split(" ")
    code = [_instruction(_MOVE, _RESULT, value=1), _instruction(_EXIT)]
    forbidden = _ALL & ~sum(_ACCESS[letter] for letter in access)
    if forbidden:
        code.insert(0, _instruction(_JUMP_UNEQUAL, _REST, offset=len(code)))
        code[:0] = _instruction(_MOVE_REGISTER, _REST, _WANTED), _instruction(_AND, _REST, value=forbidden)
    for register, number in zip((_MINOR, _MAJOR), reversed(numbers.split(":")), strict=True):
        if number != "*":
            code.insert(0, _instruction(_JUMP_UNEQUAL, register, offset=len(code), value=int(number)))
    return [_instruction(_JUMP_UNEQUAL, _KIND, offset=len(code), value=_KINDS[kind]), *code]


def _instruction(operation: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return pack("<BBhi", operation, source << 4 | target, offset, value)
