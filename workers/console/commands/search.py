"""search: look for images in a registry."""

from domain.errors import InvalidValue
from domain.images.registries import parse_host
from domain.images.search import Hit
from domain.options import filter_pair, flag, many, number, one
from workers.console.errors import Plain
from workers.console.keyring import keyring
from workers.console.listing import Field, Shape
from workers.console.verb import Example, Invocation, Verb

_WIDEST = 45
_MOST = 100


def _shape(*, full: bool) -> Shape[Hit]:
    def text(hit: Hit) -> str:
        line = " ".join(hit.description.split())
        return line if full or len(line) <= _WIDEST else line[: _WIDEST - 1] + "…"

    fields = {
        "Name": Field[Hit]("NAME", lambda hit: hit.name),
        "Description": Field[Hit]("DESCRIPTION", text),
        "StarCount": Field[Hit]("STARS", lambda hit: str(hit.stars)),
        "IsOfficial": Field[Hit]("OFFICIAL", lambda hit: "[OK]" if hit.official else ""),
    }
    return Shape(fields, tuple(fields.values()))


async def _search(invocation: Invocation) -> int:
    options = invocation.options
    limit = int(options.text("limit"))
    if not 1 <= limit <= _MOST:
        raise Plain(f"invalid limit: {limit}", hint=f"1 to {_MOST}")
    host, term = _parts(invocation, invocation.arguments[0])
    official, stars = _filters(options.many("filter"))
    credentials = await keyring(invocation.call).find(host)
    hits = await invocation.engine.images.search(host, term, limit, credentials)
    chosen = [hit for hit in hits if hit.stars >= stars and official in (None, hit.official)]
    shape = _shape(full=options.flag("no-trunc"))
    await invocation.out(shape.render(chosen, options.text("format"), columns=invocation.columns))
    return 0


def _parts(invocation: Invocation, text: str) -> tuple[str, str]:
    """`reg.example.com/web` names its registry, `web` and `team/web` the default one."""
    first, slash, rest = text.partition("/")
    if slash and (any(char in first for char in ".:") or first == "localhost"):
        try:
            host, term = parse_host(first), rest
        except InvalidValue as error:
            raise Plain(error.message, hint=error.hint) from error
    else:
        host, term = invocation.engine.images.expand("x").host, text
    if not term:
        raise Plain("nothing to look for", hint="lading search [REGISTRY/]TERM")
    return host, term


def _filters(values: tuple[str, ...]) -> tuple[bool | None, int]:
    official, stars = None, 0
    for value in values:
        key, text = filter_pair(value)
        if key == "is-official" and text in ("true", "false", "1", "0"):
            official = text in ("true", "1")
        elif key == "stars" and text.isascii() and text.isdigit() and len(text) < 10:
            stars = int(text)
        else:
            raise InvalidValue(f"invalid filter '{key}={text}'", hint="known: is-official=true, stars=10")
    return official, stars


VERB = Verb(
    name="search",
    usage="[OPTIONS] [REGISTRY/]TERM",
    summary="Look for images in a registry",
    run=_search,
    least=1,
    most=1,
    options=(
        many("filter", "f", "Only: is-official=true, stars=10", value="filter"),
        one("format", "", "table, json, or a template like '{{.Name}}'"),
        number("limit", "", "At most so many", default="25"),
        flag("no-trunc", "", "Do not shorten descriptions"),
    ),
    notes="In a registry that has no search the names of all repositories are looked through.",
    reads="search",
    examples=(
        Example("lading search nginx", "in the default registry"),
        Example("lading search --format '{{.Name}}' localhost:5000/web", "in another one, names only"),
    ),
)
