"""Where a container's questions for names go: the host's servers, and the redirection inside its namespace."""

from ipaddress import ip_address
from pathlib import Path

from adapters.net import nft
from adapters.net.netlink import NETFILTER, Netlink, Refusal, as_error

ADDRESS, PORT = "127.0.0.11", 41053
"""Where the resolver listens inside; what is sent to port 53 there is sent here. Port 53 itself stays free: a container
may run a server of its own."""
FILES = "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"
"""The host's list of servers, and the one behind a stub that listens on the host's loopback alone."""
_TABLE = "lading-dns"


def servers() -> tuple[str, ...]:
    """The host's servers for names; those that only the host itself reaches only if there are no others."""
    found: list[str] = []
    for file in FILES:
        try:
            found += parsed(Path(file).read_text(errors="replace"))
        except OSError:
            continue
        if any(not ip_address(server).is_loopback for server in found):
            break
    outside = [server for server in found if not ip_address(server).is_loopback]
    return tuple(dict.fromkeys(outside or found))


def parsed(text: str) -> list[str]:
    """The servers that a resolv.conf names, without what cannot be read."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        address = words[1].partition("%")[0]
        try:
            found.append(str(ip_address(address)))
        except ValueError:
            continue
    return found


def load_redirect() -> None:
    """In the namespace of the calling thread. A redirection would go to 127.0.0.1: it must be this address."""
    four = {"family": nft.IPV4}
    rules = [
        nft.rule(_TABLE, "out", nft.network(16, 4), nft.compare(ip_address(ADDRESS).packed), nft.meta("l4proto"),
                 nft.compare(bytes((protocol,))), nft.transport(2, 2), nft.compare(nft.port(53)),
                 nft.immediate(ip_address(ADDRESS).packed, nft.R1), nft.immediate(nft.port(PORT), nft.R2),
                 nft.new_destination(nft.IPV4, nft.R1, nft.R2), **four)
        for protocol in (6, 17)]
    messages = [nft.table(_TABLE, **four), nft.chain(_TABLE, "out", "nat", "output", -100, **four), *rules]
    try:
        with Netlink(NETFILTER) as here:
            nft.commit(here, messages)
    except Refusal as refusal:
        raise as_error(refusal, "nftables", _TABLE) from refusal
