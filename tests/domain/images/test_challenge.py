"""Challenges and tokens: what a registry wants to know, however it writes it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.images.challenge import (
    SHORTEST_LIFE,
    Challenge,
    Token,
    chosen,
    parse_challenges,
    parse_token,
    pull_scope,
    push_scope,
)

BEARER = 'Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push"'


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([BEARER], [("bearer", {"realm": "https://auth.example/token", "service": "reg",
                                "scope": "repository:a/b:pull,push"})]),
        (['Basic realm="x"'], [("basic", {"realm": "x"})]),
        (['basic'], [("basic", {})]),
        (['Negotiate YII=, Basic Realm="a, \\"b\\""'], [("negotiate", {}), ("basic", {"realm": 'a, "b"'})]),
        (['Digest qop=auth , nonce="n"', 'Bearer realm=plain'], [("digest", {"qop": "auth", "nonce": "n"}),
                                                               ("bearer", {"realm": "plain"})]),
        (['Bearer realm="unended'], [("bearer", {})]),
        ([""], []),
    ],
)  # fmt: skip
def test_challenges_are_read_as_they_are_meant(headers: list[str], found: list[tuple[str, dict[str, str]]]) -> None:
    """Several in one header, several headers, quotes, commas in quotes, other spellings."""
    assert [(one.scheme, dict(one.values)) for one in parse_challenges(headers)][: len(found)] == found


@given(st.text(max_size=200))
def test_no_header_breaks_the_reader(header: str) -> None:
    """Whatever a server writes there."""
    parse_challenges([header])


def test_a_token_is_preferred_to_a_password() -> None:
    """And what nobody can answer is not chosen."""
    basic, bearer = Challenge("basic", {}), Challenge("bearer", {"realm": "r"})
    assert chosen((basic, bearer)) is bearer
    assert chosen((Challenge("bearer", {}), basic)) is basic
    assert chosen((Challenge("negotiate", {}),)) is None


def test_scopes_name_the_rights() -> None:
    """As the Distribution project writes them."""
    assert (pull_scope("a/b"), push_scope("a/b")) == ("repository:a/b:pull", "repository:a/b:pull,push")


@pytest.mark.parametrize(
    ("document", "token"),
    [
        ({"token": "t", "expires_in": 300}, Token("t", 300.0)),
        ({"access_token": "t"}, Token("t", SHORTEST_LIFE)),
        ({"token": "t", "expires_in": 1}, Token("t", SHORTEST_LIFE)),
        ({"token": "t", "expires_in": "soon"}, Token("t", SHORTEST_LIFE)),
    ],
)
def test_a_token_lives_a_minute_at_least(document: object, token: Token) -> None:
    """As the protocol has it for issuers that do not say, or say less."""
    assert parse_token(json.dumps(document).encode()) == token


@pytest.mark.parametrize("document", [{}, [], {"token": 7}, {"token": "a\r\nX: y"}])
def test_what_is_no_token_is_refused(document: object) -> None:
    """It goes into a header."""
    with pytest.raises(InvalidValue):
        parse_token(json.dumps(document).encode())
