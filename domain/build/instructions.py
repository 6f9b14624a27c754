"""The instructions of a Dockerfile as data: what was written, not yet what it means (variables stand as they are)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.build.lines import Heredoc
from domain.build.places import Place


@dataclass(frozen=True, slots=True)
class Instruction:
    """`text` is the whole instruction on one line, as history and screens show it."""

    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class From(Instruction):
    """The beginning of a stage: `base` is an image, an earlier stage, or `scratch`."""

    base: str
    name: str = ""
    platform: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """A command: a list of words (`exec`), or one text for the shell."""

    words: tuple[str, ...]
    exec: bool = False


@dataclass(frozen=True, slots=True)
class MountWish:
    """`RUN --mount=…`: its keys and values, with variables as they are."""

    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Run(Instruction):
    """A command to be carried out; `heredocs` are what its text mentions."""

    command: Words
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[MountWish, ...] = ()
    network: str = ""
    security: str = ""


@dataclass(frozen=True, slots=True)
class Copy(Instruction):
    """COPY, or ADD (`add`): files into the image. `heredocs` maps a source like `<<EOF` to what it holds."""

    sources: tuple[str, ...]
    destination: str
    add: bool = False
    heredocs: tuple[Heredoc, ...] = ()
    source: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool = False
    unpack: bool | None = None

    @property
    def verb(self) -> str:
        """As messages call it."""
        return "ADD" if self.add else "COPY"


@dataclass(frozen=True, slots=True)
class Env(Instruction):
    """Variables of the image."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Label(Instruction):
    """Labels of the image."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Arg(Instruction):
    """Arguments of the build; None: no default."""

    pairs: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Cmd(Instruction):
    """What a container executes if nothing else is said."""

    command: Words


@dataclass(frozen=True, slots=True)
class Entrypoint(Instruction):
    """What a container executes; the command is its argument."""

    command: Words


@dataclass(frozen=True, slots=True)
class Shell(Instruction):
    """What texts are given to."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expose(Instruction):
    """Ports that the image serves."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Volume(Instruction):
    """Directories that become volumes."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class User(Instruction):
    """Who executes commands from here on."""

    user: str


@dataclass(frozen=True, slots=True)
class Workdir(Instruction):
    """Where commands are executed from here on."""

    path: str


@dataclass(frozen=True, slots=True)
class StopSignal(Instruction):
    """What asks a container to end."""

    signal: str


@dataclass(frozen=True, slots=True)
class Healthcheck(Instruction):
    """How a container's health is found out; `command` None for NONE. Times are in ns, 0 for not given."""

    command: Words | None
    times: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OnBuild(Instruction):
    """An instruction for those who build on this image, as it was written."""

    trigger: str


@dataclass(frozen=True, slots=True)
class Maintainer(Instruction):
    """The author, as it was said before labels."""

    author: str
