"""Who had an address on a network, from when to when: `audit address`."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from domain.text.safe import safe, safe_json
from domain.text.times import local, rfc3339_fixed
from workers.console.errors import Plain
from workers.console.listing import Field, Shape
from workers.console.moments import moment, time_of
from workers.console.verb import Invocation


@dataclass(frozen=True, slots=True)
class Tenure:
    """One container with the address; times in ns, `until` 0: it has it still."""

    address: str
    network: str
    network_name: str
    container: str
    name: str
    since: int
    until: int


_FIELDS = {
    "Address": Field[Tenure]("ADDRESS", lambda t: t.address),
    "Network": Field[Tenure]("NETWORK", lambda t: t.network_name),
    "NetworkID": Field[Tenure]("NETWORK ID", lambda t: t.network[:12]),
    "ID": Field[Tenure]("CONTAINER ID", lambda t: t.container[:12]),
    "Name": Field[Tenure]("NAME", lambda t: t.name),
    "Since": Field[Tenure]("FROM", lambda t: local(t.since)),
    "Until": Field[Tenure]("UNTIL", lambda t: local(t.until) if t.until else "now"),
}
_TABLE = tuple(_FIELDS[name] for name in ("Since", "Until", "Network", "ID", "Name"))


async def tenures(invocation: Invocation, text: str) -> int:
    """All that overlap the window of `--since` and `--until`, oldest first. Raises Plain, OptionError."""
    try:
        address = str(ip_address(text))
    except ValueError as error:
        raise Plain(f"invalid address: {safe(text)}", hint="give an IP address of a container") from error
    since, until = await _bound(invocation, "since"), await _bound(invocation, "until")
    rows = await invocation.engine.views.select("tenures", where={"address": address}, order="since")
    found = [await _tenure(invocation, row) for row in rows]
    told = [one for one in found
            if (until is None or one.since <= until) and (since is None or not one.until or one.until >= since)]
    if invocation.options.flag("json"):
        await invocation.out("".join(safe_json(_document(one)) + "\n" for one in told))
    else:
        form = invocation.options.text("format")
        await invocation.out(Shape(_FIELDS, _TABLE).render(told, form, columns=invocation.columns))
    return 0


async def _tenure(invocation: Invocation, row: Mapping[str, object]) -> Tenure:
    """With the container's last name."""
    id = str(row["container"])
    known = await invocation.engine.views.get("past", id)
    return Tenure(
        address=str(row["address"]),
        network=str(row["network"]),
        network_name=str(row["network_name"]),
        container=id,
        name=str(known["name"]) if known is not None else "",
        since=int(str(row["since"])),
        until=int(str(row["until"])),
    )


async def _bound(invocation: Invocation, name: str) -> int | None:
    text = invocation.options.one(name)
    return None if text is None else await time_of(invocation.engine, moment(name, text, invocation.now()))


def _document(one: Tenure) -> dict[str, object]:
    return {
        "address": one.address,
        "network": one.network,
        "network_name": one.network_name,
        "container": one.container,
        "name": one.name,
        "since": rfc3339_fixed(one.since),
        "until": rfc3339_fixed(one.until) if one.until else None,
    }
