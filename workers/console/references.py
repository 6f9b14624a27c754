"""Names of images as lists show them: which image a name points to now."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.errors import InvalidValue
from domain.images import reference
from workers.console.engine import Engine


@dataclass(frozen=True, slots=True)
class Pointers:
    """Kept names (`busybox:latest`) → the id of the image; None when nobody knows."""

    ids: Mapping[str, str] | None
    _known: dict[tuple[str, str], str] = field(default_factory=dict)

    def shown(self, name: str, id: str) -> str:
        """The name that was used, or 12 digits of the id once the name is gone or points elsewhere."""
        known = self._known.get((name, id))
        if known is None:
            known = self._known[name, id] = self._shown(name, id)
        return known

    def marked(self, name: str, id: str) -> str:
        """The same, and if the name points elsewhere by now, which one that is."""
        shown = self.shown(name, id)
        moved = shown != name and self.ids is not None and self.ids.get(_key(name), id) != id
        return f"{shown} ({name} moved)" if moved else shown

    def _shown(self, name: str, id: str) -> str:
        if self.ids is None or self.ids.get(_key(name)) == id:
            return name
        digits = id.removeprefix("sha256:")
        return name if digits.startswith(name.removeprefix("sha256:")) else digits[:12]


def _key(name: str) -> str:
    try:
        return reference.parse(name).key
    except InvalidValue:
        return name


async def pointers(engine: Engine) -> Pointers:
    """All names of this host."""
    rows = await engine.views.select("refs")
    return Pointers({str(row["reference"]): str(row["image_id"]) for row in rows})
