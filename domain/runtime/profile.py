"""System call filters that users bring: the industry's JSON profiles, compiled by ourselves.

    {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
     "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
     "syscalls": [{"names": ["socket"], "action": "SCMP_ACT_ALLOW",
                   "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}],
                   "includes": {"caps": ["CAP_SYS_ADMIN"], "minKernel": "4.8"}, "excludes": {"arches": ["s390x"]}}]}

Of the rules of one call the first that fits counts; those that say what the default says anyway are left out, as the
industry's runtime does. Conditions on different arguments must all hold; with two on the same argument each stands for
itself. Names that a table lacks are skipped there. An architecture that a profile does not list has no calls, and
neither has x32, whatever a profile says: its numbers would be a second way to calls that a list forbids by number. A
number without a name here answers "no such call" where the default is an error, so that libraries fall back.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from errno import ENOSYS, EPERM
from functools import lru_cache
from typing import Any

from domain.errors import InvalidValue
from domain.runtime import capabilities
from domain.runtime.bpf import (
    ALLOW,
    ERRNO,
    Code,
    Comparison,
    Condition,
    Decision,
    Return,
    Rules,
    assemble,
    filter_for,
    search,
)
from domain.runtime.seccomp import AUDIT_ARCH_AARCH64, AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, below_x32
from domain.runtime.syscall_numbers import AARCH64, I386, X86_64

LONGEST = 1 << 18
"""Bytes of a profile."""
LARGEST = 4096
"""Instructions that the kernel takes (BPF_MAXINSNS)."""
_ALL_BITS = (1 << 64) - 1
_WITHOUT_DATA = {"ALLOW": ALLOW, "KILL": 0, "KILL_THREAD": 0, "KILL_PROCESS": 0x80000000, "TRAP": 0x00030000,
                 "LOG": 0x7FFC0000}
_WITH_DATA = {"ERRNO": ERRNO, "TRACE": 0x7FF00000}
_COMPARISONS: dict[str, Comparison] = {
    "NE": "!=", "LT": "<", "LE": "<=", "EQ": "==", "GE": ">=", "GT": ">", "MASKED_EQ": "=="}
_NATIVE = {"x86_64": ("SCMP_ARCH_X86_64", "amd64"), "aarch64": ("SCMP_ARCH_AARCH64", "arm64")}
_TABLES: dict[str, tuple[int, Mapping[str, int]]] = {
    "SCMP_ARCH_X86_64": (AUDIT_ARCH_X86_64, X86_64), "SCMP_ARCH_X86": (AUDIT_ARCH_I386, I386),
    "SCMP_ARCH_AARCH64": (AUDIT_ARCH_AARCH64, AARCH64)}
_ACROSS = {"x86_64": ("SCMP_ARCH_X86",), "aarch64": ()}


@dataclass(frozen=True, slots=True)
class Rule:
    """An answer for calls, under alternatives of conditions (`((),)`: whatever the arguments), where a start is such
    that the rest holds; `arches` are the industry's names (`amd64`), capabilities a set as in `capabilities`."""

    names: tuple[str, ...]
    answer: int
    alternatives: tuple[tuple[Condition, ...], ...]
    arches: tuple[str, ...]
    not_arches: tuple[str, ...]
    needs: int
    unless: int
    least_kernel: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile as it was read; no `architectures`: those of the machine. `gap` answers unknown numbers."""

    default: int
    gap: int
    architectures: Mapping[str, tuple[str, ...]]
    rules: tuple[Rule, ...]


@lru_cache(maxsize=32)
def program(text: str, machine: str, held: int, release: str) -> bytes:
    """The filter of the profile `text` for a container with these capabilities on this kernel (`6.1.0-18-amd64`).
    Raises InvalidValue."""
    code = compiled(parse(text), machine, held, release)
    if len(code) > LARGEST:
        raise _bad(f"it makes a filter of {len(code)} instructions, and the kernel takes {LARGEST}")
    return assemble(code)


def compiled(profile: Profile, machine: str, held: int, release: str) -> Code:
    """The same as instructions. Raises InvalidValue."""
    if machine not in _NATIVE:
        raise InvalidValue(f"no seccomp profile for machine {machine!r}", hint="x86_64 and aarch64 are supported")
    native, arch = _NATIVE[machine]
    rules = [rule for rule in profile.rules if rule.answer != profile.default and _applies(rule, arch, held, release)]
    wanted = (native, *profile.architectures.get(native, ()))
    bodies = []
    for name in dict.fromkeys(name for name in wanted if name in (native, *_ACROSS[machine])):
        number, numbers = _TABLES[name]
        body = search(_decisions(profile, rules, numbers), Return(profile.gap))
        bodies.append((number, below_x32(body) if name == "SCMP_ARCH_X86_64" else body))
    return filter_for(bodies, ERRNO | ENOSYS)


def _decisions(profile: Profile, rules: Sequence[Rule], numbers: Mapping[str, int]) -> dict[int, Decision]:
    found: dict[str, list[tuple[tuple[Condition, ...], int]]] = {}
    for rule in rules:
        for name in rule.names:
            if name in numbers:
                found.setdefault(name, []).extend((conditions, rule.answer) for conditions in rule.alternatives)
    return {number: _decision(found.get(name, []), profile.default) for name, number in numbers.items()}


def _decision(rules: list[tuple[tuple[Condition, ...], int]], default: int) -> Decision:
    for position, (conditions, answer) in enumerate(rules):
        if not conditions:
            return Rules(tuple(rules[:position]), answer) if position else Return(answer)
    return Rules(tuple(rules), default) if rules else Return(default)


def _applies(rule: Rule, arch: str, held: int, release: str) -> bool:
    return (
        (not rule.arches or arch in rule.arches) and arch not in rule.not_arches
        and held & rule.needs == rule.needs and not held & rule.unless
        and _version(release) >= rule.least_kernel)


def _version(release: str) -> tuple[int, int]:
    """(6, 1) of `6.1.0-18-amd64` and of `6.1`; zeros for what is no version."""
    major, _, rest = release.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return (int(major), int(minor)) if _is_number(major) and _is_number(minor) else (0, 0)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 5


def parse(text: str) -> Profile:
    """Read a profile. Raises InvalidValue, which says what is wrong with it."""
    if len(text) > LONGEST:
        raise _bad(f"it is longer than {LONGEST >> 10} KiB")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad("it is no JSON") from error
    if not isinstance(document, dict):
        raise _bad("it is no object")
    default = _answer(document.get("defaultAction"), document.get("defaultErrnoRet"), "defaultAction")
    failing = default & 0x7FFF0000 == ERRNO
    return Profile(default, ERRNO | ENOSYS if failing else default, _architectures(document),
                   tuple(_rules(_list(document, "syscalls"))))


def _architectures(document: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """What each native architecture brings along. A plain list is read as one of all of them."""
    listed = tuple(_texts(document, "architectures"))
    if listed:
        return dict.fromkeys((name for name, _ in _NATIVE.values()), listed)
    found: dict[str, tuple[str, ...]] = {}
    for entry in _list(document, "archMap"):
        if not isinstance(entry, dict) or not isinstance(entry.get("architecture"), str):
            raise _bad('"archMap" holds something that is no architecture')
        found[entry["architecture"]] = tuple(_texts(entry, "subArchitectures"))
    return found


def _rules(entries: Sequence[Any]) -> Iterator[Rule]:
    for entry in entries:
        if not isinstance(entry, dict):
            raise _bad('"syscalls" holds something that is no rule')
        names = (*_texts(entry, "names"), *([entry["name"]] if isinstance(entry.get("name"), str) else []))
        if not names:
            raise _bad("a rule names no system call")
        includes, excludes = _object(entry, "includes"), _object(entry, "excludes")
        yield Rule(
            names=names, answer=_answer(entry.get("action"), entry.get("errnoRet"), f"action of {names[0]}"),
            alternatives=_alternatives(_list(entry, "args"), names[0]), arches=tuple(_texts(includes, "arches")),
            not_arches=tuple(_texts(excludes, "arches")), needs=capabilities.mask(_texts(includes, "caps")),
            unless=capabilities.mask(_texts(excludes, "caps")), least_kernel=_least_kernel(includes))


def _least_kernel(includes: Mapping[str, Any]) -> tuple[int, int]:
    text = includes.get("minKernel") or "0.0"
    if not isinstance(text, str) or not all(map(_is_number, text.split("."))) or text.count(".") != 1:
        raise _bad(f'"minKernel" is no version: {text!a}')
    return _version(text)


def _alternatives(entries: Sequence[Any], call: str) -> tuple[tuple[Condition, ...], ...]:
    conditions = tuple(_condition(entry, call) for entry in entries)
    if len({condition.argument for condition in conditions}) < len(conditions):
        return tuple((condition,) for condition in conditions)
    return (conditions,)


def _condition(entry: Any, call: str) -> Condition:
    if not isinstance(entry, dict):
        raise _bad(f"a condition of {call!a} is no object")
    operator = str(entry.get("op", "")).removeprefix("SCMP_CMP_")
    index, value, second = (_number(entry, key, call) for key in ("index", "value", "valueTwo"))
    if operator not in _COMPARISONS or index > 5:
        raise _bad(f"a condition of {call!a} has an index or an op that does not exist")
    if operator == "MASKED_EQ":
        return Condition(index, "==", second & value, value)
    return Condition(index, _COMPARISONS[operator], value)


def _number(entry: Mapping[str, Any], key: str, call: str) -> int:
    value = entry.get(key) or 0
    if not isinstance(value, int) or not 0 <= value <= _ALL_BITS:
        raise _bad(f'"{key}" of a condition of {call!a} is no number of 64 bits')
    return value


def _answer(action: Any, data: Any, where: str) -> int:
    """SECCOMP_RET_* with its data: an error's number, or what a tracer is told."""
    name = action.removeprefix("SCMP_ACT_") if isinstance(action, str) else ""
    if name in _WITHOUT_DATA:
        return _WITHOUT_DATA[name]
    if name not in _WITH_DATA:
        hint = "SCMP_ACT_NOTIFY needs a program that listens: the engine starts none" if name == "NOTIFY" else ""
        raise _bad(f"{ascii(where)[1:-1]}: unknown action {action!a}", hint)
    number = EPERM if data is None else data
    if not isinstance(number, int) or not 0 <= number <= (4095 if name == "ERRNO" else 65535):
        raise _bad(f"{ascii(where)[1:-1]}: {data!a} is no error number")
    return _WITH_DATA[name] | number


def _list(document: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = document.get(key)
    if value is not None and not isinstance(value, list):
        raise _bad(f'"{key}" is no list')
    return value or ()


def _object(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    if value is not None and not isinstance(value, dict):
        raise _bad(f'"{key}" is no object')
    return value or {}


def _texts(document: Mapping[str, Any], key: str) -> Sequence[str]:
    values = _list(document, key)
    if any(not isinstance(value, str) for value in values):
        raise _bad(f'"{key}" holds something that is no text')
    return values


def _bad(why: str, hint: str = "") -> InvalidValue:
    return InvalidValue(f"invalid seccomp profile: {why}", hint=hint)
