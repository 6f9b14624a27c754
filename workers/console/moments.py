"""`--since`, `--until`, `--at`: one set of forms for every command that looks back (see `domain.text.times`)."""

from domain.errors import InvalidValue
from domain.options import OptionError
from domain.text.times import Moment, parse_moment
from workers.console.engine import Engine
from workers.console.errors import Plain


def moment(option: str, text: str, now: int) -> Moment:
    """What was typed. Raises OptionError."""
    try:
        return parse_moment(text, now)
    except InvalidValue as error:
        raise OptionError(
            f'invalid argument "{text}" for "--{option}" flag: {error.message}', hint=error.hint
        ) from error


async def position_of(engine: Engine, moment: Moment) -> int:
    """The last event at or before the moment. Raises Plain for an event that has not happened."""
    if moment.position is None:
        return await engine.store.position_at(moment.time or 0)
    head = await engine.store.head()
    if moment.position > head:
        raise Plain(f"event {moment.position} has not happened: the last one is {head}")
    return moment.position


async def time_of(engine: Engine, moment: Moment) -> int:
    """The time (ns) of the moment; that of its event when it is an event's number."""
    if moment.position is None:
        return moment.time or 0
    records = await engine.store.read(moment.position - 1, 1) if moment.position > 0 else ()
    if moment.position > 0 and not records:
        raise Plain(f"event {moment.position} has not happened: the last one is {await engine.store.head()}")
    return records[0].time if records else 0
