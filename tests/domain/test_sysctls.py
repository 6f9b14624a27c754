"""Which kernel parameters a container may set: its own, and no spelling leads to another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.sysctls import parse_sysctl, sysctl_steps


def path(name: str) -> str:
    """Where it lies below /proc/sys."""
    return next(iter(sysctl_steps({name: "1"}, network="none", ipc="")))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("kernel.shmmax", "kernel/shmmax"),
        ("kernel.shm_rmid_forced", "kernel/shm_rmid_forced"),
        ("fs.mqueue.msg_max", "fs/mqueue/msg_max"),
    ],
)
def test_the_first_separator_decides(name: str, wanted: str) -> None:
    """As sysctl(8) has it: names of interfaces hold dots."""
    assert path(name) == wanted


@pytest.mark.parametrize(
    "name",
    ["kernel.core_pattern", "kernel.hostname", "vm.swappiness", "net", "net.", ".net.x", "net..x",
     "net/../kernel/core_pattern",
     "net/./x", "fs.mqueue", "fs.mqueue.a.b", "kernel.shm", "kernel.msgmax+x", "kernel.sem+kernel.core_pattern",
     "net.a b",
     "net.a\n", "", "fs.file-max", "kernel/shmmax/../core_pattern", "net.../.x", "net.//.x"],
)
def test_what_is_the_hosts_is_refused_however_it_is_spelled(name: str) -> None:
    """CVE-2022-0811 wrote kernel.core_pattern behind a `+`."""
    with pytest.raises(InvalidValue, match="not allowed"):
        parse_sysctl(f"{name}=1")
    with pytest.raises(InvalidValue, match="not allowed"):
        sysctl_steps({name: "1"}, network="none", ipc="")


@given(name=st.text(st.sampled_from("net/.kernlshm_core|+ "), max_size=24))
def test_no_spelling_leads_elsewhere(name: str) -> None:
    """Below /proc/sys, without a step back, and in a folder that is the container's."""
    try:
        found = path(name)
    except InvalidValue:
        return
    parts = found.split("/")
    assert parts[0] in ("net", "kernel", "fs")
    assert not {"", ".", ".."}.intersection(parts)


@pytest.mark.parametrize(
    ("name", "network", "ipc", "told"),
    [("net.core.somaxconn", "host", "", "host network"),
     ("net.core.somaxconn", "container:x", "", "another container's"),
     ("kernel.shmmax", "none", "host", "host ipc"),
     ("fs.mqueue.msg_max", "none", "container:x", "another container's")],
)
def test_what_is_shared_is_not_the_containers(name: str, network: str, ipc: str, told: str) -> None:
    """It would change the parameter of whoever owns the namespace."""
    with pytest.raises(InvalidValue, match=told):
        sysctl_steps({name: "1"}, network=network, ipc=ipc)


@pytest.mark.parametrize("value", ["", "1\n2", "1\0", "a" * 1025, "ü"])
def test_a_value_is_one_printable_line(value: str) -> None:
    """It is written to the kernel as it stands."""
    with pytest.raises(InvalidValue):
        sysctl_steps({"net.a.b": value}, network="none", ipc="")


@pytest.mark.parametrize("text", ["net.a", "net.a=", "=1"])
def test_name_and_value_are_both_needed(text: str) -> None:
    """With an equals sign between them."""
    with pytest.raises(InvalidValue):
        parse_sysctl(text)
