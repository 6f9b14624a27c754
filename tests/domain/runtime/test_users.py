"""Who the first process is: numbers are numbers, unknown names are errors, and bad files hurt nobody."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import CommandFailed
from domain.runtime.users import LARGEST_FILE, Account, resolve

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\n4242:x:7:7::/seven:\n"
GROUP = b"root:x:0:\nwheel:x:10:root,ann\naudio:x:29:bob,ann\nfifty:x:50:annette\n99:x:5:\n"


def facts(account: Account) -> tuple[int, int, tuple[int, ...], str]:
    """An account as a tuple."""
    return account.uid, account.gid, account.groups, account.home


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        ("", (0, 0, (0, 10), "/root")),
        ("root", (0, 0, (0, 10), "/root")),
        ("0", (0, 0, (0, 10), "/root")),
        ("ann", (1000, 1001, (10, 29, 1001), "/home/ann")),
        ("1000", (1000, 1001, (10, 29, 1001), "/home/ann")),
        ("4242", (4242, 0, (0,), "/")),
        ("55:66", (55, 66, (66,), "/")),
        ("ann:audio", (1000, 29, (29,), "/home/ann")),
        ("ann:50", (1000, 50, (50,), "/home/ann")),
        ("ann:99", (1000, 99, (99,), "/home/ann")),
        (":10", (0, 10, (10,), "/root")),
        ("2147483647", (2147483647, 0, (0,), "/")),
    ],
)
def test_users_and_groups_are_found_as_documented(user: str, wanted: tuple[int, int, tuple[int, ...], str]) -> None:
    """Digits are never a name (CVE-2016-3697); the primary group is always a supplementary one (CVE-2022-36109)."""
    assert facts(resolve(user, PASSWD, GROUP)) == wanted


@pytest.mark.parametrize(
    "user",
    [
        "nosuch",
        "ann:nosuch",
        "2147483648",
        "4294967296",
        "99999999999999999999999",
        "0:2147483648",
        "-1",
        "ann:",
        ":",
        "a:b:c",
        "+0",
        "0x0",
        " 0",
        "¹",
        "ann\n",
    ],
)
def test_what_is_no_user_is_an_error_and_never_root(user: str) -> None:
    """A number that wraps to 0 would be root (CVE-2024-40635)."""
    with pytest.raises(CommandFailed) as caught:
        resolve(user, PASSWD, GROUP)
    assert caught.value.exit_code == 125
    assert "\n" not in str(caught.value)


@given(user=st.text(max_size=12), passwd=st.binary(max_size=300), group=st.binary(max_size=300))
def test_any_bytes_give_an_account_or_a_refusal(user: str, passwd: bytes, group: bytes) -> None:
    """The files come from an image, whoever made it."""
    try:
        account = resolve(user, passwd, group)
    except CommandFailed:
        return
    assert 0 <= account.uid <= 2147483647
    assert 0 <= account.gid <= 2147483647
    assert account.gid in account.groups


@given(uid=st.integers(0, 2147483647), passwd=st.binary(max_size=300))
def test_a_number_is_that_number_whatever_the_files_say(uid: int, passwd: bytes) -> None:
    """Passwd gives a number its group and home, nothing else."""
    assert resolve(str(uid), passwd + b"\n%d:x:0:0::/:\n" % uid, b"").uid == uid


def test_broken_lines_are_skipped() -> None:
    """One bad line must not hide the good ones after it."""
    passwd = b"\n:\n::::::\nann:x:no:1::/:\nann:x:5\n\xff\xfe:x:1:1::/:\nann:x:3000000000:1::/:\nann:x:8:9::/ok:\n"
    assert facts(resolve("ann", passwd, b"g:x:zz:ann\ng:x:4294967296:ann\nok:x:4:ann\nshort:x\n")) == (
        8,
        9,
        (4, 9),
        "/ok",
    )


def test_a_home_that_is_not_unicode_survives() -> None:
    """Paths are bytes."""
    assert resolve("a", b"a:x:1:1::/\xff:", b"").home.encode("utf-8", "surrogateescape") == b"/\xff"


@pytest.mark.parametrize(
    "passwd",
    [b"x" * 60_000_000, b"ann:x:1:1:" + b"y" * 30_000_000, b":" * 2_000_000, b"\n" * 5_000_000],
    ids=["no-newline", "long-line", "colons", "newlines"],
)
@pytest.mark.slow
def test_huge_files_are_answered_quickly(passwd: bytes) -> None:
    """Only the first MiB is looked at, and only in whole lines."""
    began = time.monotonic()
    assert facts(resolve("0", passwd, passwd)) == (0, 0, (0,), "/")
    with pytest.raises(CommandFailed):
        resolve("ann", passwd, passwd)
    assert time.monotonic() - began < 2


@pytest.mark.slow
def test_thirty_thousand_groups_take_no_time() -> None:
    """The industry's engine needs a minute for them."""
    group = b"".join(b"g%d:x:%d:ann\n" % (number, number) for number in range(30_000))
    began = time.monotonic()
    assert len(resolve("ann", PASSWD, group).groups) > 29_000
    assert time.monotonic() - began < 2
    assert len(group) < LARGEST_FILE
