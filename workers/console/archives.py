"""Where an archive comes from that a verb was given: the client's standard input, or one of its files."""

from workers.console.call import Call
from workers.imagedesk import Content


async def content(call: Call, path: str | None) -> Content:
    """A file is lent if that can be, so that nobody has to copy it. Raises: Refused."""
    if path is None:
        return call.stdin()
    lent = await call.lend_file(path)
    return call.open_file(path) if lent < 0 else lent
