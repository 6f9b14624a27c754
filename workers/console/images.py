"""Images as lists show them: one row for each name, and the filters of `images`."""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from domain.errors import InvalidValue, LadingError
from domain.filters import together
from domain.images.model import Image, Registered
from domain.images.reference import parse, split_key
from workers.console.engine import Images
from workers.console.moments import moment

NONE = "<none>"


@dataclass(frozen=True, slots=True)
class Named:
    """One name of one image; an image without any has one row with `<none>`."""

    image: Image
    repository: str
    tag: str
    digest: str

    @property
    def dangling(self) -> bool:
        """Whether nothing names the image."""
        return self.repository == NONE


def rows(entries: Sequence[Registered]) -> list[Named]:
    """All rows, newest image first, names of one image in order."""
    ordered = sorted(entries, key=lambda entry: (-entry.image.created, entry.image.id))
    return [row for entry in ordered for row in _names(entry)]


def _names(entry: Registered) -> list[Named]:
    names = [split_key(name) for name in sorted(entry.references)]
    digests = {repository: digest for repository, _, digest in names if digest}
    tagged = {repository for repository, tag, _ in names if tag}
    result = [
        Named(entry.image, repository, tag or NONE, digest or digests.get(repository, NONE))
        for repository, tag, digest in names
        if tag or repository not in tagged
    ]
    return result or [Named(entry.image, NONE, NONE, NONE)]


Test = Callable[[Named], bool]


def matching(argument: str) -> Test:
    """The argument of `images`: a repository, a name with its tag, or a pattern of either."""
    try:
        reference = parse(argument, default_tag=False)
        repository, tag = reference.repository, reference.tag
    except InvalidValue:
        repository, _, tag = argument.partition(":")
    return lambda row: (
        fnmatch.fnmatchcase(row.repository, repository) and (not tag or fnmatch.fnmatchcase(row.tag, tag))
    )


def filters(values: Sequence[str], edges: Mapping[str, Image], now: int) -> Test:
    """What `--filter` values mean together; `edges` are the images that `before` and `since` name."""
    return together(values, lambda key, wanted: _test(key, wanted, edges, now))


def named_in_filters(values: Sequence[str]) -> tuple[str, ...]:
    """The images that `before` and `since` mention."""
    pairs = [value.partition("=") for value in values]
    return tuple(wanted.strip() for key, _, wanted in pairs if key.strip().lower() in ("before", "since"))


def _test(key: str, wanted: str, edges: Mapping[str, Image], now: int) -> Test:
    match key:
        case "dangling":
            return _dangling(wanted)
        case "label":
            return _label(wanted)
        case "reference":
            return matching(wanted)
        case "before":
            return lambda row: row.image.created < edges[wanted].created
        case "since":
            return lambda row: row.image.created > edges[wanted].created
        case "until":
            edge = moment("filter until", wanted, now).time or 0
            return lambda row: row.image.created < edge
    raise InvalidValue(f"invalid filter '{key}'", hint="known: dangling, label, reference, before, since, until")


def _dangling(wanted: str) -> Test:
    if wanted.lower() not in ("true", "1", "false", "0"):
        raise InvalidValue(f"invalid filter 'dangling={wanted}'")
    return lambda row: row.dangling == (wanted.lower() in ("true", "1"))


def _label(wanted: str) -> Test:
    key, equals, value = wanted.partition("=")

    def test(row: Named) -> bool:
        config = row.image.config.get("config")
        labels = config.get("Labels") if isinstance(config, Mapping) else None
        return isinstance(labels, Mapping) and key in labels and (not equals or str(labels[key]) == value)

    return test


async def meant(images: Images, names: Sequence[str]) -> Sequence[str]:
    """Ids of those images that are here under these names; a repository without a tag stands for all its tags."""
    found: dict[str, None] = {}
    for name in names:
        tags = await images.local_tags(name)
        for each in [f"{name}:{tag}" for tag in tags] or [name]:
            with suppress(LadingError):
                found[(await images.find(each)).image.id] = None
    return tuple(found)
