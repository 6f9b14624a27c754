"""inspect: everything that is known about containers, images, networks and volumes, as JSON documents."""

from collections.abc import Awaitable, Callable

from domain.documents import Document
from domain.errors import Ambiguous, InvalidValue, LadingError, NotFound
from domain.messages import StreamKind
from domain.options import Option, flag, one, refused
from domain.text.safe import safe, safe_json
from domain.text.template.apply import Template, parse
from workers import inspection
from workers.console.engine import Engine
from workers.console.errors import Plain, lines
from workers.console.verb import Example, Invocation, Verb

_KINDS = ("container", "image", "network", "volume")


async def _inspect(invocation: Invocation) -> int:
    options = invocation.options
    form = options.text("format")
    template = parse(form) if form not in ("", "json") else None
    kind = invocation.preset.get("type") or options.text("type")
    if kind not in ("", *_KINDS):
        raise Plain(f'"{safe(kind)}" is not a valid value for --type', hint=f"known: {', '.join(_KINDS)}")
    found, failed = await _collect(invocation, kind)
    await _print(invocation, found, template, compact=form == "json")
    for line in failed:
        await invocation.warn(line)
    return 1 if failed else 0


async def _collect(invocation: Invocation, kind: str) -> tuple[list[Document], list[str]]:
    found: list[Document] = []
    failed: list[str] = []
    for name in invocation.arguments:
        try:
            what, document = await _document(invocation.engine, kind, name, size=invocation.options.flag("size"))
            found.append(document)
            invocation.reading.about(what, inspection.key(what, document))
            continue
        except Ambiguous as error:
            failed.append(lines(error))
        except NotFound:
            failed.append(f"Error: No such {kind or 'object'}: {safe(name)}")
        except LadingError as error:
            failed.append(lines(error))
        invocation.reading.missed(failed[-1])
    return found, failed


async def _print(invocation: Invocation, found: list[Document], template: Template | None, *, compact: bool) -> None:
    if template is None:
        text = safe_json(found) if compact else safe_json(found, indent=4)
        return await invocation.say(text)
    for document in found:
        await invocation.say(template.render(document, lines=True))


async def _document(engine: Engine, kind: str, name: str, *, size: bool) -> tuple[StreamKind, Document]:
    """What of these kinds it is, and its document."""
    readers: dict[StreamKind, Callable[[], Awaitable[Document]]] = {
        "container": lambda: inspection.container(engine, name, size=size),
        "image": lambda: inspection.image(engine, name),
        "volume": lambda: inspection.volume(engine, name),
        "network": lambda: inspection.network(engine, name),
    }
    for this, read in readers.items():
        if kind == this:
            return this, await read()
    for this, read in readers.items():
        try:
            return this, await read()
        except Ambiguous:
            raise
        except (NotFound, InvalidValue):
            continue
    raise NotFound(f"No such object: {name}")


OPTIONS: tuple[Option, ...] = (
    one("format", "f", "json, or a template like '{{.Name}}'"),
    flag("size", "s", "Show how much a container has written"),
    one("type", "", "Look only for this kind: container, image, network or volume", value="kind"),
)
VERB = Verb(
    name="inspect",
    usage="[OPTIONS] NAME|ID [NAME|ID...]",
    summary="Show everything about containers, images, networks and volumes",
    run=_inspect,
    least=1,
    options=OPTIONS,
    reads="inspect",
    examples=(
        Example("lading inspect -f '{{.State.ExitCode}}' web", "one value"),
        Example("lading inspect -f '{{json .Config.Labels}}' web", "a part, as JSON"),
    ),
)


def below(noun: str) -> Verb:
    """`container inspect`, `network inspect`, …: only that kind."""
    kind = noun.upper()
    name, key, told = ("data", "Mountpoint", "where it lies") if noun == "volume" else ("web", "Id", "only its id")
    options = tuple(
        option for option in OPTIONS if option.name == "format" or (noun == "container" and option.name == "size")
    )
    if noun == "network":
        options += refused("-v/--verbose", why="it tells of a swarm's services, and no network here has any")
    return Verb(
        name="inspect",
        usage=f"[OPTIONS] {kind} [{kind}...]",
        summary=f"Show everything about one or more {noun}s",
        run=_inspect,
        least=1,
        options=options,
        reads="inspect",
        examples=(
            Example(f"lading {noun} inspect {name}", "the whole document"),
            Example(f"lading {noun} inspect -f '{{{{.{key}}}}}' {name}", told),
        ),
    )
