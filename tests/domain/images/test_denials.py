"""Refusals of registries: which error, which words, what to do."""

import json

import pytest

from domain.errors import LadingError, NotFound, Refused
from domain.images.denials import Asked, RegistryDenied, RegistryFailed, codes, denial

NOBODY = Asked("reg.example.com", "reg.example.com/team/app:v1")
ANN = Asked("reg.example.com", "reg.example.com/team/app:v1", "ann")
PUSH = Asked("reg.example.com", "reg.example.com/team/app:v1", "ann", "push")


def body(code: str, message: str = "said") -> bytes:
    """An error as the protocol has it."""
    return json.dumps({"errors": [{"code": code, "message": message, "detail": None}]}).encode()


@pytest.mark.parametrize(
    ("status", "data", "asked", "kind", "words"),
    [
        (401, b"", NOBODY, RegistryDenied, "no basic auth credentials"),
        (401, b"", ANN, RegistryDenied, "does not accept the credentials of ann: unauthorized"),
        (403, body("DENIED", "requested access denied"), PUSH, RegistryDenied, "denied it (asked as ann)"),
        (404, body("MANIFEST_UNKNOWN", "manifest unknown"), ANN, NotFound, "not found: manifest unknown"),
        (404, body("NAME_UNKNOWN"), NOBODY, NotFound, "does not exist or needs a login, says"),
        (429, b"", NOBODY, RegistryFailed, "toomanyrequests"),
        (503, b"<html>", NOBODY, RegistryFailed, "fails at the moment: status 503"),
        (400, body("DIGEST_INVALID", "wrong digest"), PUSH, Refused, "answered 400: wrong digest"),
    ],
)
def test_each_refusal_is_one_clear_line(
    status: int, data: bytes, asked: Asked, kind: type[LadingError], words: str
) -> None:
    """The class says whether it may be tried again, the words what it was."""
    error = denial(status, data, asked)
    assert type(error) is kind
    assert words in error.message
    assert "\n" not in error.message


@pytest.mark.parametrize("data", [b"", b"<html>no</html>", b"[]", b'{"errors": 7}', b'{"errors": [7]}', b"\xff\xfe"])
def test_bodies_that_are_no_errors_break_nothing(data: bytes) -> None:
    """Proxies answer with pages."""
    denial(404, data, NOBODY)
    assert isinstance(codes(data), tuple)


def test_plain_words_are_quoted() -> None:
    """Some registries write no JSON."""
    assert codes(b"quota exceeded\n") == (("", "quota exceeded"),)
