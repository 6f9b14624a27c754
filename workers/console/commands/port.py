"""port: which ports of the host lead to a container."""

from collections.abc import Sequence

from domain.container import LIVE
from domain.network.ports import Binding, bracketed
from workers.console.errors import Plain
from workers.console.verb import Example, Invocation, Verb


async def _port(invocation: Invocation) -> int:
    name, *wanted = invocation.arguments
    container = await invocation.engine.container(await invocation.engine.resolve(name))
    invocation.reading.about("container", container.id)
    if container.state not in LIVE and not wanted:
        return 0
    bindings = container.lease.bindings if container.lease is not None and container.leased else ()
    if not wanted:
        lines = [f"{each.port}/{each.protocol} -> {_place(each)}" for each in _sorted(bindings)]
        await invocation.out("".join(f"{line}\n" for line in lines))
        return 0
    port, protocol = _asked(wanted[0])
    found = [each for each in _sorted(bindings) if (each.port, each.protocol) == (port, protocol)]
    if not found:
        raise Plain(f"Error: No public port '{port}/{protocol}' published for {name}")
    await invocation.out("".join(f"{_place(each)}\n" for each in found))
    return 0


def _asked(text: str) -> tuple[int, str]:
    number, _, protocol = text.partition("/")
    if not (number.isascii() and number.isdigit() and len(number) < 6):
        raise Plain(f"Error: invalid port '{text}'", hint="write it as 80 or 53/udp")
    return int(number), (protocol or "tcp").lower()


def _sorted(bindings: Sequence[Binding]) -> list[Binding]:
    return sorted(bindings, key=lambda each: (each.port, each.protocol, ":" in each.host_ip, each.host_ip))


def _place(binding: Binding) -> str:
    return f"{bracketed(binding.host_ip)}:{binding.host_port}"


VERB = Verb(
    name="port",
    usage="CONTAINER [PORT[/PROTOCOL]]",
    summary="List the ports of the host that lead to a container",
    run=_port,
    least=1,
    most=2,
    also=("container port",),
    reads="inspect",
    examples=(
        Example("lading port web", "all of them"),
        Example("lading port web 80", "only the place on the host"),
    ),
)
