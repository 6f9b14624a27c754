"""What a container finds in /etc/hosts and /etc/resolv.conf. Pure."""

from collections.abc import Iterable, Sequence

from domain.network.wishes import Networking

LOOPBACK = ("127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback")
RESOLVER = "127.0.0.11"
"""Where the engine itself answers containers."""
HOST_GATEWAY = "host-gateway"
_NO_DOTS = "ndots:0"
"""Names of containers have none: ask for them as they are first."""


def hosts_file(own: Iterable[tuple[str, Sequence[str]]], more: Iterable[tuple[str, str]], gateway: str) -> str:
    """Loopback, the container's own names by address, and what was asked for; `gateway` stands for the host there."""
    lines = [*LOOPBACK, *(f"{address}\t{' '.join(names)}" for address, names in own)]
    lines += [f"{gateway if address == HOST_GATEWAY else address}\t{name}" for name, address in more]
    return "".join(f"{line}\n" for line in lines)


def resolv_file(host: str, wanted: Networking, *, own: bool) -> str:
    """`host` is the text of the host's file: what nobody asked otherwise for comes from there. With `own` the engine
    answers, and asks the servers."""
    words = [line.split() for line in host.splitlines()]
    servers = [line[1] for line in words if line[0:1] == ["nameserver"] and len(line) > 1]
    search = next((line[1:] for line in reversed(words) if line[0:1] in (["search"], ["domain"])), [])
    options = [word for line in words if line[0:1] == ["options"] for word in line[1:]]
    servers = [RESOLVER] if own else list(wanted.dns) or servers
    if wanted.dns_search:
        search = [name for name in wanted.dns_search if name != "."]
    if wanted.dns_options:
        options = list(wanted.dns_options)
    if own and not any(option.startswith("ndots:") for option in options):
        options = [*options, _NO_DOTS]
    lines = [*(f"nameserver {server}" for server in servers)]
    lines += [f"search {' '.join(search)}"] if search else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "".join(f"{line}\n" for line in lines)
