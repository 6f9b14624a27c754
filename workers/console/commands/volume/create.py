"""volume create: a directory that outlives the containers that use it."""

from domain.options import many, one, refused
from workers.console.verb import Example, Invocation, Verb
from workers.console.words import pairs
from workers.requests import VolumeRequest


async def _create(invocation: Invocation) -> int:
    options = invocation.options
    request = VolumeRequest(
        name=invocation.arguments[0] if invocation.arguments else "",
        driver=options.text("driver"),
        options=pairs("-o, --opt", options.many("opt")),
        labels=pairs("--label", options.many("label"), alone=True),
    )
    await invocation.say(await invocation.engine.volumes.create(request, invocation.who))
    return 0


VERB = Verb(
    name="volume create",
    usage="[OPTIONS] [VOLUME]",
    summary="Create a volume",
    run=_create,
    most=1,
    options=(
        one("driver", "d", "Kind of the volume: local", value="driver", default="local"),
        many("label", "", "Attach a label", value="KEY[=VALUE]"),
        many("opt", "o", "What it consists of: type=, device=, o= as mount(8) knows them", value="NAME=VALUE"),
        *refused("--availability= --group= --limit-bytes= --required-bytes= --scope= --secret= --sharing= --type= "
                 "--topology-preferred= --topology-required="),
    ),
    notes="A volume that is there already stays as it is, and its name is printed.\n"
          "Without options it is a directory below the engine's data root; with them something is mounted there\n"
          "for as long as a container runs that uses it.",
    examples=(
        Example("lading volume create data", "then: lading run -v data:/var/lib/data …"),
        Example("lading volume create -o type=tmpfs -o device=tmpfs -o o=size=64m scratch", "in memory"),
        Example("lading volume create -o type=nfs -o device=:/export -o o=addr=nas,rw shared", "on a server"),
        Example("lading volume create -o type=none -o device=/srv/www -o o=bind www", "a directory with a name"),
    ),
)
