"""Devices and rules as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.devices import checked_device, checked_rule, parse_device
from domain.errors import InvalidValue
from domain.runtime.devices import expanded
from domain.spec import Device


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/dev/a", ("/dev/a", "/dev/a", "rwm")),
        ("/dev/a:/dev/b", ("/dev/a", "/dev/b", "rwm")),
        ("/dev/a:r", ("/dev/a", "/dev/a", "r")),
        ("/dev/a:/dev/b:mw", ("/dev/a", "/dev/b", "mw")),
        ("/dev/a:/m", ("/dev/a", "/m", "rwm")),
    ],
)
def test_a_device_is_a_path_another_one_and_an_access(text: str, wanted: tuple[str, str, str]) -> None:
    """What is short is the common case."""
    assert parse_device(text) == Device(source=wanted[0], target=wanted[1], access=wanted[2])


@pytest.mark.parametrize(
    "text",
    ["", ":", "/dev/a:", "dev/a", "/dev/a:b", "/dev/a:/dev/b:x", "/dev/a:/dev/b:rr", "/dev/a:/dev/b:r:w",
     "/dev/a:/dev", "/dev/a:/",
     "/dev/a:/proc/kmsg", "/dev/a:/sys", "/dev/a:/dev/../proc/x", "/dev/a:/dev/./x", "vendor.com/class=name"],
)
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    """Also what would lie on the kernel's files."""
    with pytest.raises(InvalidValue):
        parse_device(text)


@pytest.mark.parametrize("rule", ["c 1:3 rwm", "b 8:* r", "a *:* m", "c 0:0 wr"])
def test_a_rule_is_kept_as_it_was_written(rule: str) -> None:
    """It is shown again."""
    assert checked_rule(rule) == rule


@pytest.mark.parametrize(
    "rule",
    ["", "c 1:3", "c 1:3 x", "d 1:3 r", "c 1:3 rr", "c 1: r", "c 1:3 rwm\n", "c 1:3  r", "c -1:3 r", "c 1:3 r c 1:4 r",
     "a", "c 4294967296:1 r", "c 1:2147483648 r"],
)
def test_what_is_no_rule_is_refused(rule: str) -> None:
    """It would be written to the kernel."""
    with pytest.raises(InvalidValue):
        checked_rule(rule)


@given(st.text(max_size=20))
def test_any_text_is_a_device_or_refused(text: str) -> None:
    """And what is a device passes the check that requests of programs pass."""
    try:
        device = parse_device(text)
    except InvalidValue:
        return
    assert checked_device(device) == device


def test_both_kinds_are_two_rules() -> None:
    """Version 1 of the groups would take `a` for everything, whatever stands behind it."""
    assert expanded(("a 1:3 r", "b 2:* w")) == ("b 1:3 r", "c 1:3 r", "b 2:* w")
