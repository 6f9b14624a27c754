"""From a request and an image to what runs."""

import pytest
from pydantic import ValidationError

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


def test_a_wish_for_confinement_that_is_not_understood_is_refused() -> None:
    """A program that mistypes a field would believe it; what is known is taken."""
    with pytest.raises(ValidationError, match="cap_dorp"):
        CreateRequest.model_validate({"image": "a", "isolation": {"cap_dorp": ["ALL"]}})
    request = CreateRequest.model_validate({"image": "a", "command": ["x"], "isolation": {"cap_drop": ["all"]}})
    spec = blueprint(request, Image(id="sha256:a"), ID)[0]
    assert spec.confinement.cap_drop == ("ALL",)
