"""From a request and an image to what runs."""

import pytest

from domain.images.model import Image
from domain.spec import NetworkMode
from workers.blueprint import blueprint
from workers.requests import CreateRequest

ID = "1" * 64


@pytest.mark.parametrize(
    ("network", "given", "name"),
    [("none", "", ID[:12]), ("none", "box", "box"), ("host", "", "node7"), ("host", "box", "box")],
)
def test_a_container_in_the_hosts_network_is_called_like_the_host(network: NetworkMode, given: str, name: str) -> None:
    """Unless it is given a name; one with a network of its own is called by its id."""
    request = CreateRequest(image="a", command=("x",), network=network, hostname=given)
    assert blueprint(request, Image(id="sha256:a"), ID, machine="node7")[0].hostname == name


def test_a_wish_for_confinement_is_spelled_in_one_way() -> None:
    """However it was written."""
    request = CreateRequest.model_validate({"image": "a", "command": ["x"], "isolation": {"cap_drop": ["all"]}})
    spec = blueprint(request, Image(id="sha256:a"), ID)[0]
    assert spec.confinement.cap_drop == ("ALL",)
