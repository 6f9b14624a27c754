"""ContainerSpec: what the user wants to run, validated; the environment's values travel apart, because they are sealed.

Shapes: `stop_timeout` in seconds (-1: wait for ever), `tmpfs` maps an absolute path to mount options.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

RestartName = Literal["no", "on-failure", "always", "unless-stopped"]
NetworkMode = Literal["none", "host"]


class RestartPolicy(BaseModel):
    """When a container that ended is started again; `retries` 0 means without limit (`on-failure` only)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: RestartName = "no"
    retries: Annotated[int, Field(ge=0)] = 0


class ContainerSpec(BaseModel):
    """All that was asked for, after the image's own configuration was merged in.

    `image` is the reference as typed, `image_id` what it pointed to (`sha256:…`). `argv` is entrypoint and command
    joined: what the first process executes. `env_names` are the names of the sealed environment, in order.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    image: str
    image_id: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env_names: tuple[str, ...] = ()
    workdir: str = "/"
    user: str = ""
    hostname: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    init: bool = False
    read_only: bool = False
    tmpfs: dict[str, str] = Field(default_factory=dict)
    stop_signal: str = "SIGTERM"
    stop_signal_given: bool = False
    stop_timeout: int = 10
    restart: RestartPolicy = RestartPolicy()
    network: NetworkMode = "none"
    auto_remove: bool = False

    @property
    def argv(self) -> tuple[str, ...]:
        """What the first process executes."""
        return self.entrypoint + self.command
