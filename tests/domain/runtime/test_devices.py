"""Device rules: the eBPF program says the same as the rules, for any device."""

from struct import iter_unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.runtime import devices

NUMBER = st.one_of(st.just("*"), st.integers(0, 300).map(str))
RULE = st.builds(
    "{} {}:{} {}".format,
    st.sampled_from("bc"),
    NUMBER,
    NUMBER,
    st.sampled_from(["r", "w", "m", "rw", "rm", "wm", "rwm"]),
)
BITS = {"m": 1, "r": 2, "w": 4}


def allowed(rules: tuple[str, ...], kind: str, major: int, minor: int, access: str) -> bool:
    """What the rules say."""
    for rule in rules:
        which, numbers, granted = rule.split()
        wanted = numbers.split(":")
        if (
            which == kind
            and wanted[0] in ("*", str(major))
            and wanted[1] in ("*", str(minor))
            and set(access) <= set(granted)
        ):
            return True
    return False


def run(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """An eBPF machine for the six operations that the compiler uses."""
    context = {0: sum(BITS[letter] for letter in access) << 16 | {"b": 1, "c": 2}[kind], 4: major, 8: minor}
    registers = [0] * 11
    code = list(iter_unpack("<BBhi", program))
    position = 0
    while True:
        operation, both, offset, value = code[position]
        target, source = both & 15, both >> 4
        position += 1
        match operation:
            case 0x61:
                registers[target] = context[offset]
            case 0xBF:
                registers[target] = registers[source]
            case 0xB7:
                registers[target] = value
            case 0x57:
                registers[target] &= value
            case 0x77:
                registers[target] >>= value
            case 0x55:
                position += offset if registers[target] != value else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(hex(operation))


@given(
    rules=st.lists(RULE, max_size=6).map(tuple),
    kind=st.sampled_from("bc"),
    major=st.integers(0, 300),
    minor=st.integers(0, 300),
    access=st.sampled_from(["r", "w", "m", "rw", "rwm"]),
)
def test_the_program_is_the_rules(rules: tuple[str, ...], kind: str, major: int, minor: int, access: str) -> None:
    """One program guards every container."""
    assert run(devices.ebpf(rules), kind, major, minor, access) == allowed(rules, kind, major, minor, access)


@pytest.mark.parametrize(
    ("device", "opens"),
    [
        (("c", 1, 3), True),
        (("c", 1, 9), True),
        (("c", 136, 7), True),
        (("c", 5, 2), True),
        (("c", 5, 0), True),
        (("c", 1, 1), False),
        (("c", 1, 4), False),
        (("c", 1, 11), False),
        (("c", 10, 229), False),
        (("c", 10, 232), False),
        (("c", 4, 0), False),
        (("c", 5, 1), False),
        (("b", 7, 0), False),
        (("b", 8, 0), False),
        (("b", 254, 0), False),
    ],
)
def test_only_harmless_devices_open(device: tuple[str, int, int], opens: bool) -> None:
    """Memory, ports, the log, fuse, kvm, disks, loops and consoles do not; the node may be made all the same."""
    program = devices.ebpf(devices.DEFAULT)
    assert run(program, *device, "r") is opens
    assert run(program, *device, "rw") is opens
    assert run(program, *device, "m")
