"""Networks and volumes in the API's words."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from domain.errors import InvalidValue
from tests.workers.console.fakes import FakeEngine
from tests.workers.gateway.client import Client
from workers.gateway.call import validated
from workers.gateway.resources.networks import Create, request
from workers.requests import NetworkRequest


def asked(**fields: Any) -> NetworkRequest:
    """The request that this body makes."""
    return request(validated(Create, {"Name": "shop", **fields}))


def test_nothing_but_a_name_is_the_engines_own_choice() -> None:
    """Also with the nulls and defaults that docker, compose and docker-py send."""
    nothing = NetworkRequest(name="shop")
    assert asked() == nothing
    assert asked(
        CheckDuplicate=True, Driver="", Scope="", Options=None, Labels=None, EnableIPv4=None, EnableIPv6=None,
        IPAM={"Driver": "default", "Config": None, "Options": None}, ConfigFrom=None, ConfigOnly=False, Ingress=False,
        Internal=False, Attachable=False, SomethingNew=[1],
    ) == nothing  # fmt: skip


def test_what_a_network_can_be_is_taken_over() -> None:
    """Pools of both families, with their own words."""
    pools = [
        {"Subnet": "10.1.0.0/16", "IPRange": "10.1.2.0/24", "Gateway": "10.1.0.9",
         "AuxiliaryAddresses": {"printer": "10.1.2.3"}},
        {"Subnet": "fd00::/64", "IPRange": None, "Gateway": ""},
    ]  # fmt: skip
    assert asked(
        Driver="bridge", Internal=True, Attachable=True, EnableIPv6=True, Options={"mtu": "1400"}, Labels={"a": "b"},
        IPAM={"Config": pools},
    ) == NetworkRequest(
        name="shop", subnets=("10.1.0.0/16", "fd00::/64"), gateways=("10.1.0.9",), ranges=("10.1.2.0/24",),
        reserved={"printer": "10.1.2.3"}, internal=True, attachable=True, ipv6=True, options={"mtu": "1400"},
        labels={"a": "b"},
    )  # fmt: skip


@pytest.mark.parametrize(("fields", "word"), [
    ({"Ingress": True}, "Ingress"), ({"ConfigOnly": True}, "ConfigOnly"), ({"Scope": "swarm"}, "Scope"),
    ({"ConfigFrom": {"Network": "x"}}, "ConfigFrom"), ({"EnableIPv4": False}, "EnableIPv4"),
    ({"IPAM": {"Driver": "infoblox"}}, "IPAM.Driver"), ({"IPAM": {"Options": {"a": "b"}}}, "IPAM.Options"),
])  # fmt: skip
def test_what_a_network_cannot_be_is_refused_by_name(fields: dict[str, Any], word: str) -> None:
    """Nothing is dropped silently."""
    with pytest.raises(InvalidValue, match=word):
        asked(**fields)


async def made(client: Client, **fields: object) -> str:
    """A network, through the API."""
    answer = await client.ask("POST", "/networks/create", {"Name": "shop", **fields})
    assert answer.status == 201, answer.body
    id: str = answer.document["Id"]
    return id


async def test_a_network_is_made_listed_inspected_and_removed(client: Client) -> None:
    """By name and by id."""
    id = await made(client, Labels={"tier": "front"}, IPAM={"Config": [{"Subnet": "10.9.8.0/24"}]})
    for name in ("shop", id, id[:12]):
        document = (await client.ask("GET", f"/networks/{name}")).document
        assert (document["Id"], document["IPAM"]["Config"][0]["Subnet"]) == (id, "10.9.8.0/24")
    names = [network["Name"] for network in (await client.ask("GET", "/networks")).document]
    assert names == ["bridge", "host", "none", "shop"]
    assert (await client.ask("POST", "/networks/create", {"Name": "shop"})).status == 409
    assert (await client.ask("GET", "/networks/shop?scope=swarm")).status == 404
    assert (await client.ask("DELETE", "/networks/shop")).status == 204
    assert (await client.ask("DELETE", "/networks/shop")).status == 404
    assert (await client.ask("DELETE", "/networks/bridge")).status == 403
    assert (await client.ask("POST", "/networks/create", {"Name": "host"})).status == 403
    options = (await client.ask("GET", "/networks/bridge")).document["Options"]
    assert options["com.docker.network.bridge.name"].startswith("ldg")


@pytest.mark.parametrize(("filters", "names"), [
    ({"name": ["sho"]}, ["shop"]), ({"label": {"tier=front": True}}, ["shop"]), ({"label": ["tier", "x"]}, []),
    ({"type": ["builtin"]}, ["bridge", "host", "none"]), ({"driver": ["null"]}, ["none"]),
    ({"dangling": ["true"]}, ["shop"]), ({"scope": ["swarm"]}, []),
])  # fmt: skip
async def test_filters_choose_networks(client: Client, filters: dict[str, Any], names: list[str]) -> None:
    """As for the command line, but that labels must all fit."""
    await made(client, Labels={"tier": "front"})
    answer = await client.ask("GET", f"/networks?filters={json.dumps(filters)}")
    assert [network["Name"] for network in answer.document] == names


async def test_a_container_joins_and_leaves_a_network(engine: FakeEngine, client: Client) -> None:
    """Also its last one: clients are not asked twice."""
    await made(client)
    id = await client.create()
    config = {"Aliases": ["www"], "IPAMConfig": None, "Links": None, "DriverOpts": None}
    answer = await client.ask("POST", "/networks/shop/connect", {"Container": "web", "EndpointConfig": config})
    assert (answer.status, answer.body) == (200, b"")
    networks = (await client.ask("GET", f"/containers/{id}/json")).document["NetworkSettings"]["Networks"]
    assert networks["shop"]["Aliases"] == ["www"]
    answer = await client.ask("POST", "/networks/shop/disconnect", {"Container": "web"})
    assert answer.status == 200
    assert (await client.ask("POST", "/networks/shop/connect", {"Container": "nope"})).status == 404
    assert (await client.ask("POST", "/networks/shop/connect")).status == 400


async def test_a_prune_of_networks_spares_those_in_use(client: Client) -> None:
    """And those that do not fit the filter."""
    await made(client, Labels={"keep": ""})
    assert (await client.ask("POST", '/networks/prune?filters={"label!":["keep"]}')).document == {
        "NetworksDeleted": None
    }
    assert (await client.ask("POST", "/networks/prune")).document == {"NetworksDeleted": ["shop"]}


async def test_a_volume_is_made_listed_inspected_and_removed(client: Client) -> None:
    """A second creation gives what is there; a forced removal of what is not is no failure."""
    body = {"Name": "data", "Driver": "local", "DriverOpts": None, "Labels": {"tier": "db"}}
    answer = await client.ask("POST", "/volumes/create", body)
    assert (answer.status, answer.document["Name"], answer.document["Labels"]) == (201, "data", {"tier": "db"})
    assert (await client.ask("POST", "/volumes/create", {"Name": "data"})).document == answer.document
    assert (await client.ask("GET", "/volumes/data")).document == answer.document
    assert (await client.ask("GET", "/volumes")).document == {"Volumes": [answer.document], "Warnings": None}
    assert (await client.ask("DELETE", "/volumes/data")).status == 204
    missing = await client.ask("DELETE", "/volumes/data")
    assert (missing.status, missing.message) == (404, "get data: no such volume")
    assert (await client.ask("DELETE", "/volumes/data?force=1")).status == 204


@pytest.mark.parametrize("name", ["nope", "u", "a b", "-x"])
async def test_what_cannot_be_the_name_of_a_volume_is_that_of_none(client: Client, name: str) -> None:
    """`docker inspect` asks for one kind of thing after the other, until one is not missing."""
    assert (await client.ask("GET", f"/volumes/{quote(name)}")).status == 404
    assert (await client.ask("DELETE", f"/volumes/{quote(name)}")).status == 404
    assert (await client.ask("DELETE", f"/volumes/{quote(name)}?force=1")).status == 204


async def test_a_volume_of_another_driver_is_refused(client: Client) -> None:
    """There are no plugins."""
    for body in ({"Driver": "nfs"}, {"ClusterVolumeSpec": {"Group": "a"}}, {"DriverOpts": {"size": "5"}}):
        assert (await client.ask("POST", "/volumes/create", body)).status == 400


@pytest.mark.parametrize(("target", "version", "gone"), [
    ("/volumes/prune", "/v1.50", 1), ('/volumes/prune?filters={"all":["true"]}', "/v1.50", 2),
    ("/volumes/prune", "/v1.41", 2), ('/volumes/prune?filters={"all":["1"],"label":["x"]}', "/v1.50", 0),
])  # fmt: skip
async def test_a_prune_of_volumes_takes_named_ones_only_on_request(
    client: Client, target: str, version: str, gone: int
) -> None:
    """Older versions of the API took all."""
    await client.ask("POST", "/volumes/create", {"Name": "data"})
    await client.ask("POST", "/volumes/create", {})
    answer = await client.ask("POST", target, version=version)
    assert len(answer.document["VolumesDeleted"] or ()) == gone


@pytest.mark.parametrize(("filters", "names"), [
    ({"name": ["dat"]}, ["data"]), ({"label": ["tier=db"]}, ["data"]), ({"driver": ["nfs"]}, []),
    ({"dangling": ["true"]}, ["data"]),
])  # fmt: skip
async def test_filters_choose_volumes(client: Client, filters: dict[str, Any], names: list[str]) -> None:
    """As for the command line."""
    await client.ask("POST", "/volumes/create", {"Name": "data", "Labels": {"tier": "db"}})
    found = (await client.ask("GET", f"/volumes?filters={json.dumps(filters)}")).document["Volumes"]
    assert [volume["Name"] for volume in found] == names
