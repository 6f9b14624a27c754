"""network connect, network disconnect: a container on one network more, or less, at once if it runs."""

from domain.network.asked import NetworkWish
from domain.options import flag, many, number, one
from workers.console.networks import driver_options
from workers.console.verb import Example, Invocation, Verb


async def _connect(invocation: Invocation) -> int:
    options, (network, container) = invocation.options, invocation.arguments
    wish = NetworkWish(
        name=network,
        aliases=options.many("alias"),
        ip=options.text("ip"),
        ip6=options.text("ip6"),
        priority=options.number("gw-priority") or 0,
        link_local=options.many("link-local-ip"),
        driver_options=driver_options(options.many("driver-opt")),
    )
    engine = invocation.engine
    await engine.connect(network, await engine.resolve(container), wish, options.many("link"), invocation.who)
    return 0


async def _disconnect(invocation: Invocation) -> int:
    network, container = invocation.arguments
    engine, force = invocation.engine, invocation.options.flag("force")
    await engine.disconnect(network, await engine.resolve(container), invocation.who, force=force)
    return 0


CONNECT = Verb(
    name="network connect",
    usage="[OPTIONS] NETWORK CONTAINER",
    summary="Connect a container to a network",
    run=_connect,
    least=2,
    most=2,
    options=(
        many("alias", "", "One more name of the container there", value="name"),
        many("driver-opt", "", "Option of its interface: com.docker.network.endpoint.ifname=NAME", value="KEY=VALUE"),
        number("gw-priority", "", "The highest leads out, from the next start on"),
        one("ip", "", "Its address there", value="address"),
        one("ip6", "", "The same of version 6", value="address"),
        many("link", "", "Another container under a name that only this one knows", value="CONTAINER[:NAME]"),
        many("link-local-ip", "", "One more address, valid there only: 169.254.8.8", value="address"),
    ),
    notes="A running container gets one interface more at once. Its way out stays the one that it has.",
    examples=(
        Example("lading network connect shop web", "web reaches the containers of shop, and they reach it"),
        Example("lading network connect --alias www --ip 10.1.2.9 shop web", "with another name and a fixed address"),
    ),
)
DISCONNECT = Verb(
    name="network disconnect",
    usage="[OPTIONS] NETWORK CONTAINER",
    summary="Disconnect a container from a network",
    run=_disconnect,
    least=2,
    most=2,
    options=(flag("force", "f", "Also from its last network"),),
    examples=(
        Example("lading network disconnect shop web", "at once"),
        Example("lading network disconnect -f bridge web", "although it is then on none"),
    ),
)
