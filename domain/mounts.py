"""What a container sees at a path of its own besides its image: directories of the host, volumes, memory."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Propagation = Literal["", "private", "rprivate", "slave", "rslave", "shared", "rshared"]


class Mount(BaseModel):
    """One place inside, clean and absolute, and what is there.

    `source` is an absolute path of the host (`bind`), the name of a volume (`volume`), or empty (`tmpfs`). `anonymous`
    volumes were made for this container and go with it. `copy_image` lets an empty volume begin with what the image has
    at that place. `subpath` is a directory in the volume. `recursive` takes along what is mounted below a source.
    `options` are those of a tmpfs, as `--tmpfs` writes them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["bind", "volume", "tmpfs"]
    source: str = ""
    target: str
    read_only: bool = False
    propagation: Propagation = ""
    recursive: bool = True
    anonymous: bool = False
    copy_image: bool = True
    subpath: str = ""
    options: str = ""
