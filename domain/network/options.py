"""Options of a container's interface on a network, by the names that the industry gives them. Pure.

    com.docker.network.endpoint.ifname=lan0                                its name inside instead of eth0
    com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.forwarding=1

Others are for drivers that this engine does not have: they are kept, shown, and without effect.
"""

from collections.abc import Mapping

from domain.errors import InvalidValue

IFNAME = "com.docker.network.endpoint.ifname"
SYSCTLS = "com.docker.network.endpoint.sysctls"
_STANDS_FOR_IT = "IFNAME"
_FAMILIES = ("ipv4", "ipv6", "mpls")
_LONGEST_NAME = 15
"""IFNAMSIZ - 1."""


def interface_name(options: Mapping[str, str]) -> str:
    """What the interface is to be called inside; empty: any name will do. Raises: InvalidValue for what the kernel does
    not take, and for names that it keeps for itself."""
    name = options.get(IFNAME, "")
    if not name:
        return ""
    visible = name.isascii() and name.isprintable() and not set(name) & set("/: %")
    if not visible or len(name) > _LONGEST_NAME or name in (".", "..", "lo", "all", "default"):
        raise InvalidValue(f"invalid name of an interface: {name[:50]!a}", hint="use at most 15 letters and digits")
    return name


def interface_sysctls(options: Mapping[str, str], name: str) -> dict[str, str]:
    """Settings of the interface `name`: path below /proc/sys/net → value. Raises: InvalidValue."""
    text = options.get(SYSCTLS, "")
    return dict(_sysctl(item, name) for item in text.split(",")) if text else {}


def _sysctl(item: str, name: str) -> tuple[str, str]:
    key, equals, value = item.strip().partition("=")
    parts = key.split(".")
    fits = equals and len(parts) == 5 and parts[0] == "net" and parts[1] in _FAMILIES and parts[3] == _STANDS_FOR_IT
    if not fits or any(set(part) - set(_WORD) or not part for part in parts):
        raise InvalidValue(f"invalid setting of an interface: {item[:80]!a}",
                           hint="write it as net.ipv4.conf.IFNAME.SETTING=VALUE, with the word IFNAME")
    return "/".join((*parts[1:3], name, parts[4])), value


_WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
