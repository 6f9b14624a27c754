"""Variables that tell a container about another one that it is linked to, as programs of the time of links read them.

    DB_NAME=/web/db DB_PORT=tcp://10.212.0.2:5432 DB_PORT_5432_TCP_ADDR=10.212.0.2 DB_ENV_POSTGRES_USER=shop
"""

from collections.abc import Iterator, Sequence

from domain.network.wishes import Networking

_KEPT_APART = frozenset({"PATH", "HOME", "HOSTNAME", "TERM"})


def link_variables(container: str, name: str, address: str, other: Networking, env: Sequence[str]) -> tuple[str, ...]:
    """`name` is what `container` calls the other one, which has this address, these exposed ports and environment."""
    return tuple(_variables(container, name, address, other, env))


def _variables(container: str, name: str, address: str, other: Networking, env: Sequence[str]) -> Iterator[str]:
    head = name.upper().replace("-", "_").replace(".", "_")
    ports = sorted({(each.protocol, each.port) for each in (*other.exposed, *other.publish)})
    if ports:
        protocol, port = ports[0]
        yield f"{head}_PORT={protocol}://{address}:{port}"
    for protocol, port in ports:
        one = f"{head}_PORT_{port}_{protocol.upper()}"
        yield f"{one}={protocol}://{address}:{port}"
        yield from (f"{one}_{what}={value}" for what, value in (("ADDR", address), ("PORT", port), ("PROTO", protocol)))
    yield f"{head}_NAME=/{container}/{name}"
    for item in env:
        key, _, value = item.partition("=")
        if key not in _KEPT_APART:
            yield f"{head}_ENV_{key}={value}"
