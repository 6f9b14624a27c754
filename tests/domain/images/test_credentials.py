"""Credentials: the files of docker and podman are read as they are, and nothing of theirs is lost or told."""

import base64
import json

import pytest

from domain.errors import InvalidValue
from domain.images.credentials import (
    DOCKER_KEY,
    Credentials,
    parse_auth_file,
    parse_helper_answer,
    place_of,
    with_login,
    without_login,
)

ANN = Credentials("ann", "s:e:c")
AUTH = base64.b64encode(b"ann:s:e:c").decode()


def file(**parts: object) -> bytes:
    """A config.json."""
    return json.dumps(parts).encode()


@pytest.mark.parametrize(
    ("key", "place"),
    [
        (DOCKER_KEY, "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("localhost:5000", "localhost:5000"),
        ("https://reg.example.com/v2/", "reg.example.com"),
        ("http://reg.example.com", "reg.example.com"),
        ("reg.example.com/team/app", "reg.example.com/team/app"),
    ],
)
def test_all_spellings_of_a_registry_are_one_place(key: str, place: str) -> None:
    """Docker's key is an address of its first protocol."""
    assert place_of(key) == place


def test_the_most_specific_entry_wins() -> None:
    """podman has credentials for a part of a registry."""
    other = base64.b64encode(b"bob:x").decode()
    found = parse_auth_file(file(auths={"reg:5000": {"auth": AUTH}, "reg:5000/team": {"auth": other}}), "f")
    assert found.find("reg:5000", "team/app") == Credentials("bob", "x")
    assert found.find("reg:5000", "teams/app") == ANN
    assert found.find("other") is None


def test_an_identity_token_beats_the_password_beside_it() -> None:
    """And is what is shown to the token service."""
    entry = {"auth": base64.b64encode(b"00000000-0000-0000-0000-000000000000:").decode(), "identitytoken": "t"}
    found = parse_auth_file(file(auths={"reg:5000": entry}), "f").find("reg:5000")
    assert found is not None
    assert (found.identity_token, found.password, found.basic) == ("t", "", "")


def test_helpers_of_a_registry_come_before_the_store() -> None:
    """credHelpers, then credsStore."""
    found = parse_auth_file(file(credHelpers={"gcr.io": "gcloud"}, credsStore="desktop"), "f")
    assert (found.helper("gcr.io"), found.helper("docker.io")) == ("gcloud", "desktop")
    assert parse_auth_file(b"", "f").helper("docker.io") == ""


@pytest.mark.parametrize("name", ["../../bin/sh", "a b", "x;y", "ä"])
def test_a_helper_is_a_word(name: str) -> None:
    """It becomes a part of a program's name."""
    with pytest.raises(InvalidValue, match="credential helper"):
        parse_auth_file(file(credsStore=name), "f")


@pytest.mark.parametrize(
    "data",
    [b"[]", b"{", file(auths=[]), file(auths={"x": "secret"}), file(auths={"x": {"auth": "secret!"}}),
     file(auths={"x": {"auth": base64.b64encode(b"secret").decode()}}), file(auths={"x": {"auth": 7}})],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused_without_being_quoted(data: bytes) -> None:
    """It holds secrets."""
    with pytest.raises(InvalidValue) as caught:
        parse_auth_file(data, "config.json")
    assert "secret" not in caught.value.message
    assert "config.json" in caught.value.message


def test_a_login_changes_its_entry_and_nothing_else() -> None:
    """What we do not understand stays; an entry under another spelling goes."""
    before = file(HttpHeaders={"X": "y"}, auths={"docker.io": {"auth": AUTH}, "reg:5000": {"auth": AUTH}})
    after = with_login(before, "docker.io", Credentials("bob", "x"), "f")
    assert json.loads(after) == {
        "HttpHeaders": {"X": "y"},
        "auths": {"reg:5000": {"auth": AUTH}, DOCKER_KEY: {"auth": base64.b64encode(b"bob:x").decode()}},
    }
    assert parse_auth_file(after, "f").find("docker.io") == Credentials("bob", "x")


def test_a_logout_takes_the_entry_away_or_does_nothing() -> None:
    """None says that there is nothing to write."""
    data = with_login(b"", "reg:5000", ANN, "f")
    assert without_login(data, "other", "f") is None
    after = without_login(data, "reg:5000", "f")
    assert after is not None
    assert json.loads(after) == {"auths": {}}


def test_secrets_are_in_no_representation() -> None:
    """A log line or a traceback shows a user at most."""
    assert "s:e:c" not in repr(ANN)
    assert "tok" not in repr(Credentials(identity_token="tok"))


def test_the_answer_of_a_helper_is_a_password_or_a_token() -> None:
    """`<token>` is no user."""
    def answer(user: object) -> bytes:
        return json.dumps({"ServerURL": "x", "Username": user, "Secret": "s"}).encode()

    assert parse_helper_answer(answer("ann"), "h") == Credentials("ann", "s")
    assert parse_helper_answer(answer("<token>"), "h") == Credentials(identity_token="s")
    with pytest.raises(InvalidValue):
        parse_helper_answer(answer(None), "h")
