"""Registries: where a name leads, and which servers are asked for it."""

import pytest

from domain.errors import InvalidValue
from domain.images.registries import DOCKER_API, Registries, parse_host, parse_registries

OWN = Registries(default="reg.example.com:5000", short_names={"tools": "reg.example.com/team/tools",
                                                              "fixed": "reg.example.com/team/fixed:v3"})  # fmt: skip


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("team/app:v1", "docker.io/team/app:v1"),
        ("localhost/app", "localhost/app:latest"),
    ],
)
def test_without_a_configuration_names_mean_what_they_mean_everywhere(text: str, full: str) -> None:
    """docker.io and library/."""
    assert Registries().expand(text).full == full


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "reg.example.com:5000/busybox:latest"),
        ("team/app:v1", "reg.example.com:5000/team/app:v1"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("tools", "reg.example.com/team/tools:latest"),
        ("tools:v9", "reg.example.com/team/tools:v9"),
        ("fixed", "reg.example.com/team/fixed:v3"),
        ("fixed:v4", "reg.example.com/team/fixed:v4"),
    ],
)
def test_a_default_registry_and_short_names_stand_for_what_has_no_host(text: str, full: str) -> None:
    """What names its host is left alone."""
    assert OWN.expand(text).full == full


def test_the_default_registry_is_another_host_to_talk_to() -> None:
    """And its credentials are filed under its own name."""
    endpoint = Registries().endpoint("docker.io")
    assert (endpoint.host, endpoint.address, endpoint.schemes) == ("docker.io", DOCKER_API, ("https",))


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.8.8", "[::1]:5000"])
def test_loopback_may_be_plain(host: str) -> None:
    """TLS is tried first all the same."""
    assert Registries().endpoint(host).schemes == ("https", "http")


@pytest.mark.parametrize(
    ("host", "lax"),
    [("reg:5000", True), ("reg", False), ("any.example:1", True), ("any.example", True), ("10.1.2.3:5000", True),
     ("10.2.2.3", False), ("reg.example.com", False)],
)  # fmt: skip
def test_insecure_registries_are_hosts_ports_or_networks(host: str, lax: bool) -> None:
    """A name without a port stands for all of them."""
    assert Registries(insecure=("reg:5000", "any.example", "10.1.0.0/16")).is_insecure(host) is lax


def test_mirrors_come_first_in_their_order() -> None:
    """With a prefix of their own, and with the scheme they are written with."""
    registries = Registries(mirrors={"docker.io": ("https://m.example/hub", "http://n.example:5000")})
    first, second, last = registries.endpoints("docker.io")
    assert (first.schemes, first.path("library/x")) == (("https",), "hub/library/x")
    assert (second.schemes, second.address) == (("http",), "n.example:5000")
    assert last.host == "docker.io"
    assert [one.host for one in registries.endpoints("quay.io")] == ["quay.io"]


def test_a_table_is_read_whole() -> None:
    """As the configuration file has it."""
    table = {
        "default": "reg.example.com",
        "insecure": ["10.0.0.0/8"],
        "mirrors": {"docker.io": ["m.example"]},
        "short_names": {"x": "reg.example.com/x"},
        "certificates": "/c",
    }
    assert parse_registries(table, "f") == Registries(
        "reg.example.com", ("10.0.0.0/8",), {"docker.io": ("m.example",)}, {"x": "reg.example.com/x"}, "/c"
    )


@pytest.mark.parametrize(
    "table",
    [
        [],
        {"defualt": "x"},
        {"default": 7},
        {"default": "a b"},
        {"insecure": "x"},
        {"insecure": ["10.0.0.0/99"]},
        {"mirrors": {"docker.io": "m"}},
        {"mirrors": {"docker.io": ["ftp://m"]}},
        {"mirrors": ["m"]},
        {"short_names": {"x": "y"}},
        {"short_names": {"x": "reg.example.com/UPPER"}},
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_key(table: object) -> None:
    """A mistyped key must not silently mean nothing."""
    with pytest.raises(InvalidValue):
        parse_registries(table, "config.toml")


@pytest.mark.parametrize(
    ("text", "host"),
    [("reg.example.com", "reg.example.com"), ("https://reg.example.com:5000/v2/", "reg.example.com:5000"),
     ("https://index.docker.io/v1/", "docker.io"), ("docker.io", "docker.io"), ("myreg", "myreg")],
)  # fmt: skip
def test_a_login_names_a_host_however_it_is_written(text: str, host: str) -> None:
    """With a scheme or without."""
    assert parse_host(text) == host


@pytest.mark.parametrize("text", ["", "a b", "http://", "user@host", "x\x1b[2J"])
def test_a_login_to_what_is_no_host_is_refused(text: str) -> None:
    """In one line that a terminal can bear."""
    with pytest.raises(InvalidValue) as caught:
        parse_host(text)
    assert "\x1b" not in caught.value.message
