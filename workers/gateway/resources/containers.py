"""Containers."""

from domain.lifecycle.pause import Pause
from workers.gateway.call import EMPTY, Answer, Call
from workers.gateway.routes import Route


async def _pause(call: Call) -> Answer:
    id = await call.engine.resolve(call.path["name"])
    await call.engine.execute(id, Pause(), call.who)
    return EMPTY


ROUTES = (Route("POST", "/containers/{name}/pause", _pause),)
