"""Images that are here: lists, documents, names, removals."""

import time
from collections import Counter
from collections.abc import Sequence

from domain.documents import Document
from domain.errors import InvalidValue
from domain.filters import pairs
from domain.images.document import UNKNOWN, history_document, image_summary
from domain.images.model import Image
from domain.images.registries import parse_host
from domain.images.usage import shares
from workers import inspection
from workers.console import images as words
from workers.console.engine import Engine
from workers.console.pruning import labels_of
from workers.gateway import credentials
from workers.gateway.call import Answer, Call, Reply
from workers.gateway.choosing import BY_AGE_AND_LABELS, prunable, truth
from workers.gateway.moments import moment
from workers.gateway.routes import Route

_NAMED_UNTIL = (1, 43)
"""Up to here an image without a name has `<none>:<none>` for one."""
_FALSE = ("false", "0")
_MOST_HITS = 100


async def summaries(engine: Engine, rows: Sequence[words.Named], *, shared: bool, counted: bool) -> list[Document]:
    """One for each image in the rows, with the names that are there; `shared` and `counted` say whether its part in
    layers of others and its containers are wanted."""
    entries = {entry.image.id: entry for entry in await engine.images.all()}
    parts = shares(entry.image for entry in entries.values()) if shared else {}
    used = Counter(row.image_id for row in await engine.board.rows()) if counted else Counter[str]()
    names: dict[str, set[str]] = {}
    for row in rows:
        names.setdefault(row.image.id, set()).update(_names(row))
    return [
        image_summary(
            entries[id].image,
            [name for name in entries[id].names if name in found],
            entries[id].digests,
            parent=entries[id].parent,
            shared=parts[id].shared if shared else UNKNOWN,
            containers=used[id] if counted else UNKNOWN,
        )
        for id, found in names.items()
        if id in entries
    ]


def _names(row: words.Named) -> Sequence[str]:
    return [] if row.tag == words.NONE else [f"{row.repository}:{row.tag}"]


async def _list(call: Call) -> Answer:
    engine = call.engine
    given = call.filters(("before", "dangling", "label", "reference", "since", "until"))
    if call.text("filter"):
        given.setdefault("reference", []).append(call.text("filter"))
    now = time.time_ns()
    untils = [moment(text, now) for text in given.pop("until", ())]
    edges = {name: (await engine.images.find(name)).image for name in words.named_in_filters(pairs(given))}
    test = words.filters(pairs(given), edges, now)
    rows = [row for row in words.rows(await engine.images.all())
            if test(row) and all(row.image.created < until for until in untils)]
    documents = await summaries(engine, rows, shared=call.flag("shared-size"), counted=False)
    if call.version < _NAMED_UNTIL:
        for document in documents:
            document["RepoTags"] = document["RepoTags"] or ["<none>:<none>"]
            document["RepoDigests"] = document["RepoDigests"] or ["<none>@<none>"]
    return Reply(document=documents)


async def _inspect(call: Call) -> Answer:
    _refuse_platform(call)
    document = await inspection.image(call.engine, call.path["name"])
    call.reading.about("image", inspection.key("image", document))
    return Reply(document=document)


async def _history(call: Call) -> Answer:
    _refuse_platform(call)
    entry = await call.engine.images.find(call.path["name"])
    call.reading.about("image", entry.image.id)
    return Reply(document=history_document(entry.image, entry.names))


def _refuse_platform(call: Call) -> None:
    """An image here is for one platform, and no other one of the same name is kept."""
    if call.text("platform"):
        raise InvalidValue("platform is not supported by Lading here: an image is kept for one platform only")


async def _tag(call: Call) -> Answer:
    repository, tag = call.text("repo"), call.text("tag")
    if not repository:
        raise InvalidValue("invalid reference format: repo is missing")
    await call.engine.images.tag(call.path["name"], f"{repository}:{tag}" if tag else repository, call.who)
    return Reply(status=201)


async def _remove(call: Call) -> Answer:
    if call.many("platforms"):
        raise InvalidValue("platforms is not supported by Lading: an image is kept for one platform only")
    done = await call.engine.images.remove(
        call.path["name"], call.who, force=call.flag("force"), prune=not call.flag("noprune")
    )
    return Reply(document=[dict([line.split(": ", 1)]) for line in done])


async def _search(call: Call) -> Answer:
    limit = call.number("limit") or 25
    if not 1 <= limit <= _MOST_HITS:
        raise InvalidValue(f"limit {limit} is outside the range of [1, {_MOST_HITS}]")
    host, term = _place(call)
    given = call.filters(("is-automated", "is-official", "stars"))
    hits = await call.engine.images.search(host, term, limit, credentials.one(call.headers.get(credentials.AUTH, "")))
    stars = max((_stars(text) for text in given.get("stars", ())), default=0)
    official = [text not in _FALSE for text in given.get("is-official", ())]
    automated = [text not in _FALSE for text in given.get("is-automated", ())]
    return Reply(document=[
        {
            "name": hit.name,
            "description": hit.description,
            "star_count": hit.stars,
            "is_official": hit.official,
            "is_automated": False,
        }
        for hit in hits
        if hit.stars >= stars and all(hit.official is wanted for wanted in official) and not any(automated)
    ])


def _place(call: Call) -> tuple[str, str]:
    """`reg.example.com/web` names its registry, `web` and `team/web` the default one. Raises: InvalidValue."""
    term = call.text("term")
    first, slash, rest = term.partition("/")
    if slash and (any(char in first for char in ".:") or first == "localhost"):
        host, term = parse_host(first), rest
    else:
        host = call.engine.images.expand("x").host
    if not term:
        raise InvalidValue("nothing to look for: term is missing")
    return host, term


def _stars(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidValue(f"invalid filter 'stars={text}'")
    return int(text)


async def _prune(call: Call) -> Answer:
    given = call.filters(("dangling", *BY_AGE_AND_LABELS))
    test = prunable(given)

    def goes(image: Image) -> bool:
        return test(image.created, labels_of(image))

    desk = call.engine.images
    ids = await desk.unused(goes, everything=not truth(given, "dangling", default=True))
    untagged, deleted, freed = await desk.prune(ids, call.who)
    gone = [*({"Untagged": name} for name in untagged), *({"Deleted": id} for id in deleted)]
    return Reply(document={"ImagesDeleted": gone or None, "SpaceReclaimed": freed})


ROUTES = (
    Route("GET", "/images/json", _list, reads="images"),
    Route("GET", "/images/search", _search, reads="search"),
    Route("POST", "/images/prune", _prune, since=(1, 25)),
    Route("GET", "/images/{name...}/json", _inspect, reads="inspect"),
    Route("GET", "/images/{name...}/history", _history, reads="history"),
    Route("POST", "/images/{name...}/tag", _tag),
    Route("DELETE", "/images/{name...}", _remove),
)
