"""network create, ls, inspect, rm, prune; audit network."""

import json

import pytest

from tests.workers.console.fakes import FakeCall, FakeEngine, Prompt


@pytest.fixture(autouse=True)
async def some(engine: FakeEngine, prompt: Prompt) -> None:
    """Two networks besides those that every host has."""
    await prompt.ok("network", "create", "--label", "tier=front", "shop")
    await prompt.ok("network", "create", "--internal", "--ipv6", "-o", "mtu=1400", "vault")


async def test_create_says_the_id(prompt: Prompt) -> None:
    """64 digits, as scripts take them."""
    (line,) = (await prompt.ok("network", "create", "third")).lines
    assert len(line) == 64


async def test_the_list_is_sorted_by_name(prompt: Prompt) -> None:
    """With the columns of the industry's command line."""
    lines = (await prompt.ok("network", "ls")).lines
    assert lines[0].split() == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    assert [line.split()[1:] for line in lines[1:]] == [
        ["bridge", "bridge", "local"],
        ["host", "host", "local"],
        ["none", "null", "local"],
        ["shop", "bridge", "local"],
        ["vault", "bridge", "local"],
    ]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["type=custom"], ["shop", "vault"]),
        (["type=builtin", "driver=bridge"], ["bridge"]),
        (["name=sho", "name=vau"], ["shop", "vault"]),
        (["label=tier"], ["shop"]),
        (["label=tier=back"], []),
        (["dangling=true"], ["shop", "vault"]),
        (["scope=swarm"], []),
    ],
)
async def test_rows_can_be_chosen(prompt: Prompt, filters: list[str], names: list[str]) -> None:
    """One key or-ed, several and-ed."""
    words = [word for value in filters for word in ("-f", value)]
    assert (await prompt.ok("network", "ls", "--format", "{{.Name}}", *words)).lines == names


@pytest.mark.parametrize(
    ("value", "status"), [("colour=red", 1), ("type=odd", 1), ("dangling=maybe", 1), ("name", 125)]
)
async def test_a_filter_that_cannot_be_meant_is_refused(prompt: Prompt, value: str, status: int) -> None:
    """Never an empty list in its place."""
    assert (await prompt("network", "ls", "-f", value)).status == status


async def test_rows_in_a_form_of_ones_own(prompt: Prompt) -> None:
    """Templates see more than the table."""
    form = '{{.Name}} {{.Internal}} {{.IPv6}} {{.Subnets}} {{.Label "tier"}}'
    lines = (await prompt.ok("network", "ls", "-f", "type=custom", "--format", form)).lines
    assert lines[0] == "shop false false 10.213.0.0/24 front"
    assert lines[1].startswith("vault true true 10.213.1.0/24, fd")


async def test_inspect_shows_everything(prompt: Prompt) -> None:
    """In the industry's keys, below its noun and without."""
    answer = await prompt.ok("network", "inspect", "vault")
    (document,) = json.loads(answer.out)
    assert (document["Internal"], document["EnableIPv6"], document["Options"]) == (True, True, {"mtu": "1400"})
    assert document["IPAM"]["Config"][0] == {"Subnet": "10.213.1.0/24", "Gateway": "10.213.1.1"}
    assert (await prompt.ok("inspect", "-f", "{{.Driver}}", "vault")).lines == ["bridge"]
    assert (await prompt("network", "inspect", "nothing")).status == 1
    verbose = await prompt("network", "inspect", "-v", "vault")
    assert (verbose.status, verbose.out, "--verbose is not supported" in verbose.err) == (125, "", True)


async def test_rm_link_takes_a_name_away_and_no_container(prompt: Prompt) -> None:
    """Of the one that knows another by it."""
    await prompt.ok("create", "--name", "asker", "alpine:3.10")
    await prompt.ok("network", "connect", "--link", "later:db", "shop", "asker")
    refused = await prompt("rm", "--link", "asker/nope", "db")
    assert (refused.status, refused.err.count("no link called nope"), "CONTAINER/NAME" in refused.err) == (1, 1, True)
    assert (await prompt.ok("rm", "--link", "/asker/db")).out == "/asker/db\n"
    assert (await prompt("rm", "--link", "asker/db")).status == 1
    assert (await prompt.ok("ps", "-aq", "-f", "name=asker")).out


async def test_rm_says_the_name_again(prompt: Prompt) -> None:
    """One failure does not stop the others; -f forgives a missing one."""
    assert (await prompt.ok("network", "rm", "--dry-run", "shop")).out == "shop\n"
    assert "pre-defined" in (await prompt("network", "rm", "--dry-run", "host")).err
    answer = await prompt("network", "rm", "nothing", "shop")
    assert (answer.status, answer.lines) == (1, ["shop"])
    assert (await prompt("network", "rm", "-f", "nothing")).status == 0
    assert "pre-defined" in (await prompt("network", "rm", "host")).err


async def test_prune_asks_first(engine: FakeEngine, prompt: Prompt) -> None:
    """Without a clear yes nothing goes."""
    assert (await prompt("network", "prune", call=_call("no\n"))).status == 0
    assert len(await engine.networks.all()) == 5
    answer = await prompt("network", "prune", call=_call("y\n"))
    assert answer.out.endswith("[y/N] Deleted Networks:\nshop\nvault\n")
    assert len(await engine.networks.all()) == 3


async def test_prune_can_be_looked_at_and_narrowed(prompt: Prompt) -> None:
    """--dry-run changes nothing, filters choose."""
    dry = await prompt.ok("network", "prune", "--dry-run", "--filter", "label!=tier=front")
    assert dry.lines == ["Networks that would be deleted:", "vault"]
    assert (await prompt.ok("network", "prune", "-f", "--filter", "label=tier")).lines == ["Deleted Networks:", "shop"]
    assert (await prompt.ok("network", "prune", "-f", "--filter", "until=24h")).lines == []
    assert (await prompt("network", "prune", "-f", "--filter", "colour=red")).status == 1


async def test_a_removed_network_can_still_be_asked_for(prompt: Prompt) -> None:
    """Who created it, who removed it."""
    await prompt.ok("network", "rm", "shop")
    events = (await prompt.ok("audit", "--format", "{{.Event}} {{.By}}", "network", "shop")).lines
    assert events == ["network-created root", "network-remove-requested root", "network-removed root"]
    assert (await prompt("audit", "network", "nothing")).status == 1
    assert (await prompt("audit", "planet", "mars")).status == 1


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["--subnet", "10.213.0.0/16", "x"], 1, "overlaps network"),
        (["--subnet", "192.0.2.0/25", "x"], 1, "overlaps route 192.0.2.0/24 of this host"),
        (["--subnet", "nonsense", "x"], 1, "nonsense"),
        (["shop"], 1, "network with name shop already exists"),
        (["bridge"], 1, "predefined bridge network"),
        (["-d", "macvlan", "x"], 1, "macvlan"),
        (["-o", "mtu", "x"], 125, "mtu"),
        (["--ipam-driver", "x", "x"], 125, "not supported"),
        ([""], 1, "invalid network name"),
    ],
)
async def test_what_create_cannot_do_it_says_in_one_line(
    prompt: Prompt, words: list[str], status: int, told: str
) -> None:
    """And nothing is half made."""
    answer = await prompt("network", "create", *words)
    assert answer.status == status
    assert told in answer.err
    assert (await prompt.ok("network", "ls", "-q", "-f", "name=x")).lines == []


def _call(text: str) -> FakeCall:
    return FakeCall(("network", "prune"), input=text.encode())


@pytest.mark.parametrize("mode", ["host", "none"])
async def test_ports_that_lead_nowhere_are_told(prompt: Prompt, mode: str) -> None:
    """The container runs without them."""
    done = await prompt("run", "--rm", "--network", mode, "-p", "80:80", "busybox", "true")
    assert f"WARNING: Published ports are discarded when using {mode} network mode" in done.err
