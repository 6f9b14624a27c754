"""network create: a network of its own for containers that belong together."""

from domain.options import flag, many, one, refused
from workers.console.verb import Example, Invocation, Verb
from workers.console.words import pairs
from workers.requests import NetworkRequest


async def _create(invocation: Invocation) -> int:
    options, (name,) = invocation.options, invocation.arguments
    request = NetworkRequest(
        name=name or " ",
        driver=options.text("driver"),
        subnets=options.many("subnet"),
        gateways=options.many("gateway"),
        ranges=options.many("ip-range"),
        reserved=pairs("--aux-address", options.many("aux-address")),
        internal=options.flag("internal"),
        attachable=options.flag("attachable"),
        ipv6=options.flag("ipv6"),
        options=pairs("-o, --opt", options.many("opt")),
        labels=pairs("--label", options.many("label"), alone=True),
    )
    await invocation.say(await invocation.engine.networks.create(request, invocation.who))
    return 0


VERB = Verb(
    name="network create",
    usage="[OPTIONS] NETWORK",
    summary="Create a network",
    run=_create,
    least=1,
    most=1,
    options=(
        flag("attachable", "", "Stored and shown; every network takes containers by hand"),
        many("aux-address", "", "An address that no container gets, and what it is for", value="NAME=ADDRESS"),
        one("driver", "d", "Kind of the network: bridge", value="driver", default="bridge"),
        many("gateway", "", "Address of the host in a subnet; its first one if none is given", value="address"),
        flag("internal", "", "No way out of this network and none into it"),
        many("ip-range", "", "Part of a subnet from which containers get addresses", value="subnet"),
        flag("ipv6", "", "Addresses of version 6 as well"),
        many("label", "", "Attach a label", value="KEY[=VALUE]"),
        many("opt", "o", "mtu=BYTES, icc=false, masquerade=false, names=false, host-binding=ADDRESS",
             value="NAME=VALUE"),
        many("subnet", "", "Addresses of the network, as 10.1.2.0/24; a free one if none is given", value="subnet"),
        *refused("--config-from= --config-only --ingress --ipam-driver= --ipam-opt= --ipv4 --scope="),
    ),
    notes="Subnets that overlap a route of this host, or another network, are never chosen and are refused if given.",
    examples=(
        Example("lading network create shop", "a network with a free subnet"),
        Example("lading network create --internal --subnet 10.9.8.0/24 vault", "one without a way out"),
    ),
)
