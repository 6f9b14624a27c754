"""What may be asked of a builder, and what it tells meanwhile and at the end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from domain.agents import Ask
from domain.build.events import How
from domain.images.model import Layer
from domain.resources import Resources
from domain.spec import Ulimit

HOST_NETWORK = "network.host"
GRANTS = (HOST_NETWORK,)
"""What `--allow` may name: a command in the network of this host reaches all that listens on loopback here."""


class BuildRequest(BaseModel):
    """`dockerfile` is the text, `name` what it is called in errors, `ignore` the text of `.dockerignore`; `keep` leaves
    the container of a step that has failed; `hosts` are `NAME:ADDRESS`. With `export` the files of the result are
    wanted, and no image.

    `platform` is what to build for (empty: what the images are for), `bases` maps NAME@PLATFORM to what is to be
    used here for an image that is needed for that platform, and `cache_from` names images to take steps from.
    `allowed` are rights that a Dockerfile may claim (`GRANTS`); none by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dockerfile: str
    name: str = "Dockerfile"
    references: tuple[str, ...] = ()
    target: str = ""
    arguments: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    network: str = ""
    hosts: tuple[str, ...] = ()
    ignore: str = ""
    no_cache: bool = False
    keep: bool = False
    export: bool = False
    resources: Resources | None = None
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int | None = None
    secrets: dict[str, bytes] = Field(default_factory=dict)
    platform: str = ""
    bases: dict[str, str] = Field(default_factory=dict)
    cache_from: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Keyring:
    """What a build may use of its client, and never keeps: agents by their ids, and the hosts that he trusts as
    ssh writes them down (see sshd(8), known_hosts)."""

    agents: Mapping[str, Ask] = field(default_factory=dict)
    known_hosts: bytes = b""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a build; `number` from 1, of `total`."""

    number: int
    total: int
    stage: str
    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How a step has ended: `took` in ns, `size` the bytes that it has added, `image_id` of what is there after it."""

    how: How
    took: int
    size: int = 0
    image_id: str = ""
    container: str = ""


class Progress(Protocol):
    """Who watches a build. Nothing here may fail because nobody looks any more."""

    async def step(self, step: Step) -> None:
        """It has begun."""

    async def running(self, step: Step, container: str, cause: str) -> None:
        """It is not in the cache, because of `cause`, and is carried out in a container, if that is named."""

    async def output(self, step: Step, stream: int, data: bytes) -> None:
        """Its command has written something: 1 stdout, 2 stderr."""

    async def ended(self, step: Step, ended: Ended) -> None:
        """It has ended well."""

    async def note(self, text: str) -> None:
        """Something that the user should know."""


@dataclass(frozen=True, slots=True)
class Built:
    """A build that has ended well; `took` in ns, `size` of all layers; `references` are its names as they are kept,
    `image_id` is empty when only its files were wanted."""

    id: str
    image_id: str
    size: int
    took: int
    references: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
