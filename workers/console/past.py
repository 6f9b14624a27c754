"""Names in time: what a container is called now, or was called once. An ambiguous name is never guessed at."""

from domain.errors import Ambiguous
from domain.text.safe import safe
from domain.text.times import local
from workers.console.engine import Engine
from workers.console.errors import Plain

_MOST = 10


async def resolve_past(engine: Engine, name: str) -> str:
    """The id behind a name, also of a removed container. Raises NotFound, and Plain with dated candidates."""
    try:
        return await engine.resolve_past(name)
    except Ambiguous as error:
        candidates = await _candidates(engine, name.removeprefix("/"))
        if not candidates:
            raise
        more = f"\nand {len(candidates) - _MOST} older ones" if len(candidates) > _MOST else ""
        listed = "\n".join(candidates[:_MOST])
        raise Plain(
            f"{safe(name)} was the name of {len(candidates)} containers: say which one by its id", hint=listed + more
        ) from error


async def _candidates(engine: Engine, name: str) -> list[str]:
    """One line each, the newest first."""
    rows = await engine.views.select("names", where={"name": name}, order="since", descending=True)
    lines: list[str] = []
    for row in rows:
        past = await engine.views.get("past", str(row["id"]))
        if past is not None:
            removed = int(str(past["removed_at"] or 0))
            end = f"removed {local(removed)}" if removed else "still there"
            lines.append(f"  {str(row['id'])[:12]}  created {local(int(str(past['created_at'])))}, {end}")
    return lines
