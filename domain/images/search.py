"""What a search of a registry finds: foreign JSON, bounded and made safe by whoever prints it.

    {"results": [{"name": "alpine", "description": "…", "star_count": 11, "is_official": true}]}
    {"repositories": ["team/app"]}         of `/v2/_catalog`, where there is no search
"""

from dataclasses import dataclass

from domain.errors import InvalidValue
from domain.images.manifest import parse_json

_LONGEST = 255


@dataclass(frozen=True, slots=True)
class Hit:
    """One repository."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False


def parse_hits(data: bytes) -> tuple[Hit, ...]:
    """The results, in their order. Raises: InvalidValue."""
    document = parse_json(data, "the result of the search")
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list):
        raise InvalidValue("the result of the search is none")
    return tuple(_hit(entry) for entry in results if isinstance(entry, dict) and isinstance(entry.get("name"), str))


def parse_catalog(data: bytes) -> tuple[str, ...]:
    """The names of all repositories. Raises: InvalidValue."""
    document = parse_json(data, "the list of repositories")
    names = document.get("repositories") if isinstance(document, dict) else None
    if not isinstance(names, list):
        raise InvalidValue("the list of repositories is none")
    return tuple(name[:_LONGEST] for name in names if isinstance(name, str))


def _hit(entry: dict[str, object]) -> Hit:
    stars, text = entry.get("star_count"), entry.get("description")
    return Hit(
        name=str(entry["name"])[:_LONGEST],
        description=text if isinstance(text, str) else "",
        stars=stars if isinstance(stars, int) else 0,
        official=entry.get("is_official") is True,
    )
