"""What a container finds in /etc/hosts and /etc/resolv.conf. Pure."""

from collections.abc import Collection, Iterable, Sequence

from domain.network.wishes import Networking

LOOPBACK = ("127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback")
RESOLVER = "127.0.0.11"
"""Where the engine itself answers containers."""
HOST_GATEWAY = "host-gateway"
_NO_DOTS = "ndots:0"
"""Names of containers have none: ask for them as they are first."""


def hosts_file(own: Iterable[str], more: Iterable[tuple[str, str]], gateway: str) -> str:
    """Loopback, the container's `own_lines`, and what was asked for; `gateway` stands for the host there."""
    lines = [*LOOPBACK, *own]
    lines += [f"{gateway if address == HOST_GATEWAY else address}\t{name}" for name, address in more]
    return "".join(f"{line}\n" for line in lines)


def own_lines(addresses: Iterable[str], names: Sequence[str]) -> tuple[str, ...]:
    """A container's own lines of /etc/hosts, one for each of its addresses."""
    return tuple(f"{address}\t{' '.join(names)}" for address in addresses)


def changed_hosts(text: str, gone: Collection[str], new: Sequence[str]) -> str:
    """/etc/hosts without the lines `gone`, and with those of `new` that it lacks behind the others. What somebody has
    written there himself stays."""
    kept = [line for line in text.split("\n") if line not in gone]
    end = [] if kept[-1:] != [""] else [kept.pop()]
    return "\n".join([*kept, *(line for line in new if line not in kept), *(end or [""] if new else end)])


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
