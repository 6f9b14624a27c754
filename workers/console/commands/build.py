"""build: make an image from a Dockerfile."""

from contextlib import AsyncExitStack

from adapters.images.repository import is_behind_ssh
from domain.build import platforms
from domain.build.stages import Plan, needs_context
from domain.errors import InvalidValue
from domain.images.manifest import parse_platform
from domain.images.reference import Reference, parse_target
from domain.options import FILE, OptionError, flag, many, one, refused
from domain.text.safe import legible, safe
from domain.text.units import exact_duration, human_size
from workers.build.request import GRANTS, BuildRequest, Built
from workers.console import agents, buildlog, devices, limits
from workers.console.bases import Bases
from workers.console.commands.pull import fetch
from workers.console.contexts import STDIN, Reader, Sources
from workers.console.errors import Plain
from workers.console.keyring import keyring
from workers.console.outputs import bring_out, wanted_output
from workers.console.verb import Example, Invocation, Verb
from workers.transfers import Keys

LARGEST_SECRET = 500 << 10


async def _build(invocation: Invocation) -> int:
    options = invocation.options
    for reference in options.many("tag"):
        parse_target(reference)
    _cache_to(options.many("cache-to"))
    quiet = options.flag("quiet") or _progress(options.text("progress")) == "quiet"
    call = invocation.call
    output = wanted_output(options.many("output"), call)
    to = call.err if output is not None and output.path == STDIN else call.out
    lively = _progress(options.text("progress")) == "auto" and call.terminal.stdout_tty and to is call.out
    screen = buildlog.Quiet(call.err) if quiet else buildlog.Plain(to, call.terminal.cols if lively else 0)

    async def received(size: int) -> None:
        if not quiet:
            await to(f"Sending build context to lading daemon  {human_size(size, 4)}\n".encode())

    async with AsyncExitStack() as stack:
        path = invocation.arguments[0]
        lent = await agents.keyring(call, options.many("ssh"), behind_ssh=is_behind_ssh(path))
        anew = options.flag("no-cache")
        reader = Reader(invocation.engine.builder, stack, received, call, anew, keyring=lent)
        sources = await reader.sources(path, options.text("file"))
        request = await _request(invocation, sources, export=output is not None)
        wanted = invocation.engine.builder.plan(request)
        request = await _with_images(invocation, request, wanted, quiet=quiet)
        if sources.bring is not None and not needs_context(wanted):
            await received(0)
        async with screen.shown():
            built = await invocation.engine.builder.build(request, sources.bring, invocation.who, screen, lent)
    if output is not None:
        await bring_out(call, invocation.engine.builder, built, output)
    else:
        await _tell(invocation, built, quiet=quiet)
    return 0


async def _with_images(invocation: Invocation, request: BuildRequest, plan: Plan, *, quiet: bool) -> BuildRequest:
    """The same, with what is used here for what it needs. Raises: NotFound, Refused, Unavailable."""

    async def get(reference: Reference, platform: str) -> None:
        await fetch(invocation, reference, platform=platform, to_stderr=True, quiet=quiet)

    async def keys(reference: Reference) -> Keys:
        hosts = invocation.engine.images.hosts(reference)
        return await keyring(invocation.call).all(hosts, reference.path)

    async def warn(text: str) -> None:
        if not quiet:
            await invocation.warn(text)

    bases = Bases(invocation.engine, request.platform, invocation.options.flag("pull"), get, keys)
    brought, lent = await bases.bring(plan), await bases.lend(request.cache_from, warn)
    return request.model_copy(update={"bases": brought, "cache_from": lent})


async def _tell(invocation: Invocation, built: Built, *, quiet: bool) -> None:
    path = invocation.options.text("iidfile")
    if path:
        await invocation.call.unlink(path)
        await invocation.call.create_file(path, 0o644, built.image_id.encode())
    if quiet:
        await invocation.say(built.image_id)
        return
    await invocation.say(f"{built.image_id}: {human_size(built.size)}, built in {exact_duration(built.took)}")
    await invocation.say(f"Successfully built {built.image_id.removeprefix('sha256:')[:12]}")
    for reference in built.references:
        await invocation.say(f"Successfully tagged {safe(reference)}")


async def _request(invocation: Invocation, sources: Sources, *, export: bool) -> BuildRequest:
    options = invocation.options
    return BuildRequest(
        dockerfile=sources.dockerfile,
        name=sources.name,
        references=options.many("tag"),
        target=options.text("target"),
        arguments=await _arguments(invocation),
        labels=dict(item.partition("=")[::2] for item in options.many("label")),
        network=await _network(invocation),
        hosts=options.many("add-host"),
        ignore=sources.ignore,
        no_cache=options.flag("no-cache"),
        keep=not options.flag("rm") and not options.flag("force-rm"),
        resources=limits.resources(options),
        ulimits=devices.ulimits(options),
        shm_size=devices.shm_size(options),
        secrets=await _secrets(invocation),
        export=export,
        platform=_platform(invocation),
        cache_from=tuple(name for text in options.many("cache-from") for name in _lenders(text)),
        allowed=_allowed(options.many("allow")),
    )


def _allowed(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Rights that the Dockerfile may claim. Raises: OptionError."""
    if wrong := next((text for text in texts if text not in GRANTS), None):
        raise OptionError(f"{wrong!r} cannot be allowed", hint=f"use {', '.join(GRANTS)}")
    return texts


def _platform(invocation: Invocation) -> str:
    """What is built for, as images spell it; empty if nothing is said. Raises: OptionError."""
    text, own = invocation.options.text("platform"), invocation.engine.builder.platform
    if not text or platforms.same(text, own):
        return own if text else ""
    if "," in text:
        raise OptionError("an image can be built for one platform at a time",
                          hint="build once for each, with a tag of its own")
    try:
        return str(parse_platform(text))
    except InvalidValue as error:
        raise OptionError(error.message, hint=error.hint) from error


def _lenders(text: str) -> list[str]:
    """Names of images: `app:1`, `app:1,app:2`, or `type=registry,ref=app:1`. Raises: OptionError."""
    fields = [field for field in text.split(",") if field]
    if not any("=" in field for field in fields):
        return fields
    words = dict(field.partition("=")[::2] for field in fields)
    if words.get("type", "registry") != "registry" or not words.get("ref"):
        raise OptionError(f"steps can only be taken from images, not from {text!r}",
                          hint="name an image: --cache-from app:1")
    return [words["ref"]]


def _cache_to(texts: tuple[str, ...]) -> None:
    """Every image that is built has in it what `--cache-from` needs; nothing else can be written. Raises:
    OptionError."""
    if wrong := next((text for text in texts if text.partition(",")[0] not in ("inline", "type=inline")), None):
        raise OptionError(f"the cache cannot be written to {wrong!r}",
                          hint="push the image: what --cache-from needs is in it (type=inline)")


async def _arguments(invocation: Invocation) -> dict[str, str]:
    """`NAME=value`, or the client's own value of NAME."""
    given = invocation.options.many("build-arg")
    if wrong := next((item for item in given if not item.partition("=")[0]), None):
        raise OptionError(f"invalid build argument: {wrong!r}", hint="write NAME=value, or NAME for your own value")
    own = await invocation.call.getenv([item for item in given if "=" not in item])
    found: dict[str, str] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if equals:
            found[name] = value
        elif name in own:
            found[name] = own[name]
    return found


async def _secrets(invocation: Invocation) -> dict[str, bytes]:
    """`id=NAME,src=FILE`, `id=NAME,env=VARIABLE`, or `id=NAME` for the variable of that name."""
    found: dict[str, bytes] = {}
    for text in invocation.options.many("secret"):
        words = dict(item.partition("=")[::2] for item in text.split(","))
        id, source, variable = words.pop("id", ""), words.pop("src", words.pop("source", "")), words.pop("env", "")
        kind = words.pop("type", "env" if variable or not source else "file")
        if not id or words or kind not in ("file", "env"):
            raise OptionError(f"invalid secret: {text!r}", hint="write it as id=NAME,src=FILE or id=NAME,env=VARIABLE")
        if kind == "file" and source:
            found[id] = await _content(invocation, source)
            continue
        name = variable or source or id
        own = await invocation.call.getenv([name])
        if name not in own:
            raise Plain(f"secret {id}: the variable {name} is not set")
        found[id] = own[name].encode("utf-8", "surrogateescape")
    return found


async def _content(invocation: Invocation, path: str) -> bytes:
    content = b""
    async for piece in invocation.call.open_file(path):
        content += piece
        if len(content) > LARGEST_SECRET:
            raise Plain(f"a secret can have {LARGEST_SECRET >> 10} KiB at most: {legible(path)}")
    return content


def _progress(text: str) -> str:
    if text not in ("auto", "plain", "quiet"):
        raise OptionError(f'invalid argument "{text}" for "--progress" flag', hint="use auto, plain or quiet")
    return text


async def _network(invocation: Invocation) -> str:
    """As `run` takes it; empty for what every container has."""
    text = invocation.options.text("network")
    if text.startswith("container:"):
        return f"container:{await invocation.engine.resolve(text.removeprefix('container:'))}"
    return "" if text == "default" else text


VERB = Verb(
    name="build",
    usage="[OPTIONS] PATH|URL|-",
    summary="Build an image from a Dockerfile",
    run=_build,
    least=1,
    most=1,
    paths=1,
    also=("image build", "builder build"),
    group="Common Commands",
    options=(
        many("add-host", "", "A line for /etc/hosts of RUN steps", value="NAME:ADDRESS"),
        many("allow", "", "A right that the Dockerfile may claim: network.host (RUN --network=host)", value="right"),
        many("build-arg", "", "Value of an ARG; NAME alone takes your own", value="NAME[=VALUE]"),
        many("cache-from", "", "Take finished steps from this image, which is pulled if it is not here", value="image"),
        many("cache-to", "", "Only inline: every image has in it what --cache-from needs", value="where"),
        one("file", "f", "The Dockerfile (PATH/Dockerfile); - for standard input", value=FILE),
        flag("force-rm", "", "Take away the container of a step also when it has failed"),
        one("iidfile", "", "Write the image's id to a file", value=FILE),
        many("label", "", "Attach a label", value="KEY[=VALUE]"),
        one("network", "", "Network of RUN steps: none, host, or one that was made", value="network"),
        flag("no-cache", "", "Build everything anew"),
        many("output", "o", "Bring out the files, and make no image: DIR, type=tar,dest=FILE or -", value="what"),
        one("platform", "", "Build for this platform; RUN needs an emulator if it is not the host's", value="os/arch"),
        one("progress", "", "How it is shown: auto, plain or quiet", value="how", default="auto"),
        flag("pull", "", "Look in the registry for newer images to build on"),
        flag("quiet", "q", "Show nothing but the image's id"),
        flag("rm", "", "Take away containers of steps; --rm=false leaves one that fails", default=True),
        one("shm-size", "", "Size of /dev/shm in RUN steps", value="bytes"),
        many("secret", "", "For RUN --mount=type=secret: id=NAME,src=FILE or id=NAME,env=VARIABLE", value="secret"),
        many("ssh", "", "For RUN --mount=type=ssh: default (SSH_AUTH_SOCK), or ID=SOCKET of an agent", value="agent"),
        many("tag", "t", "Name of the image; may be given several times", value="name[:tag]"),
        one("target", "", "Build only up to this stage", value="stage"),
        many("ulimit", "", "A limit for RUN steps: nofile=1024:2048", value="limit"),
        *(option for option in limits.OPTIONS if option.name in {
            "cpu-period", "cpu-quota", "cpu-shares", "cpus", "cpuset-cpus", "cpuset-mems", "memory", "memory-swap",
            "pids-limit"}),
        *refused("--cgroup-parent= --compress --isolation= --load --push --security-opt= --squash"),
    ),
    notes="""\
Every step is an event (lading audit BUILD), and every RUN a container that is taken away when its changes are kept.
A step that was built before is taken from the cache; one that is not tells why. Only what is in PATH and not hidden by
.dockerignore is sent, and only when a step needs it.""",
    examples=(
        Example("lading build -t site .", "the Dockerfile of this directory"),
        Example("lading build --target test --build-arg VERSION=2 -t app:2 .", "up to one stage, with an argument"),
        Example("lading build -t tool - < Dockerfile", "without a context"),
    ),
)
