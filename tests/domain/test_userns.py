"""Who gets a user namespace of its own."""

import pytest

from domain.errors import InvalidValue
from domain.isolation import Isolation
from domain.userns import with_userns


@pytest.mark.parametrize(
    ("asked", "default", "wanted"),
    [("", "host", ""), ("", "remap", "remap"), ("host", "remap", "host"), ("remap", "host", "remap")],
)
def test_what_was_asked_for_wins_over_the_configuration(asked: str, default: str, wanted: str) -> None:
    """And what comes of it is written down: another configuration does not change a container that exists."""
    assert with_userns(Isolation(userns=asked), default, network="none").userns == wanted


@pytest.mark.parametrize(
    ("wishes", "network"),
    [({}, "host"), ({}, "container:x"), ({"pid": "host"}, "none"), ({"ipc": "container:x"}, "none"),
     ({"uts": "host"}, "none"), ({"privileged": True}, "none")],
)
def test_nothing_that_is_shared_is_given_to_its_root(wishes: dict[str, object], network: str) -> None:
    """The hint says how to do without; without it all of that is allowed."""
    with pytest.raises(InvalidValue) as caught:
        with_userns(Isolation().model_copy(update=wishes), "remap", network=network)
    assert "--userns host" in caught.value.hint
    assert with_userns(Isolation(userns="host").model_copy(update=wishes), "remap", network=network).userns == "host"


def test_an_unknown_mode_is_refused() -> None:
    """Programs ask, too."""
    with pytest.raises(InvalidValue, match="invalid USER mode"):
        with_userns(Isolation(userns="keep-id"), "host", network="none")
