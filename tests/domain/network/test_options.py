"""Options of an interface by the industry's names."""

import pytest

from domain.errors import InvalidValue
from domain.network.options import IFNAME, SYSCTLS, interface_name, interface_sysctls


def test_settings_are_those_of_the_interface_that_it_gets() -> None:
    """Whatever it is called in the end."""
    text = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.neigh.IFNAME.ucast_solicit=5"
    assert interface_sysctls({SYSCTLS: text, "other": "x"}, "lan0") == {
        "ipv4/conf/lan0/log_martians": "1", "ipv6/neigh/lan0/ucast_solicit": "5"}
    assert interface_sysctls({}, "lan0") == {}
    assert (interface_name({IFNAME: "lan0"}), interface_name({})) == ("lan0", "")


@pytest.mark.parametrize("text", [
    "net.ipv4.conf.eth0.log_martians=1", "net.ipv4.conf.IFNAME.log_martians", "net.core.somaxconn=1",
    "net.ipv4.conf.IFNAME.../../../kernel/x=1", "kernel.ipv4.conf.IFNAME.x=1", "net.ipv4.co/nf.IFNAME.x=1", ",",
])  # fmt: skip
def test_a_setting_of_anything_else_is_refused(text: str) -> None:
    """The host's settings, and those of other interfaces, are not reached this way."""
    with pytest.raises(InvalidValue):
        interface_sysctls({SYSCTLS: text}, "eth0")


@pytest.mark.parametrize("name", ["lo", ".", "a/b", "a b", "x" * 16, "a:b", "eth%d", "all", "\n"])
def test_a_name_that_the_kernel_does_not_take_is_refused(name: str) -> None:
    """Before anything is made."""
    with pytest.raises(InvalidValue):
        interface_name({IFNAME: name})
