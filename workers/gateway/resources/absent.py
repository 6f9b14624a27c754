"""What other engines have and this one does not: it answers as an engine does on which that was never begun."""

from collections.abc import Sequence

from domain.errors import NotFound
from workers.gateway.call import Answer, Call, Reply
from workers.gateway.errors import Denied
from workers.gateway.routes import Handler, Route

_NO_MANAGER = ('This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
               "to swarm and try again.")
_NO_SWARM = "This node is not part of a swarm"
_EXPERIMENTAL = ("This experimental feature is disabled by default. Start the Docker daemon in experimental mode in "
                 "order to enable it.")
_OF_MANAGERS: Sequence[tuple[str, Sequence[str]]] = (
    ("GET", ("/swarm", "/swarm/unlockkey", "/nodes", "/nodes/{name}", "/services", "/services/{name}",
             "/services/{name}/logs", "/tasks", "/tasks/{name}", "/tasks/{name}/logs", "/secrets", "/secrets/{name}",
             "/configs", "/configs/{name}")),
    ("POST", ("/swarm/update", "/nodes/{name}/update", "/services/create", "/services/{name}/update",
              "/secrets/create", "/secrets/{name}/update", "/configs/create", "/configs/{name}/update")),
    ("DELETE", ("/nodes/{name}", "/services/{name}", "/secrets/{name}", "/configs/{name}")),
    ("PUT", ("/volumes/{name}",)),
)


def _denied(status: int, message: str) -> Handler:
    async def deny(call: Call) -> Answer:
        raise Denied(status, message)

    return deny


async def _no_plugins(call: Call) -> Answer:
    return Reply(document=[])


async def _unknown_plugin(call: Call) -> Answer:
    raise NotFound(f'plugin "{call.path["name"]}" not found')


_manager = _denied(503, _NO_MANAGER)
_experimental = _denied(501, _EXPERIMENTAL)
_plugins = _denied(501, "plugins are not supported by Lading")
_swarm = _denied(501, "a swarm is not supported by Lading")
_buildkit = _denied(501, "BuildKit is not supported by Lading: builds are those of the classic builder")

ROUTES = (
    *(Route(method, pattern, _manager) for method, patterns in _OF_MANAGERS for pattern in patterns),
    Route("POST", "/swarm/init", _swarm),
    Route("POST", "/swarm/join", _swarm),
    Route("POST", "/swarm/leave", _denied(503, _NO_SWARM)),
    Route("POST", "/swarm/unlock", _denied(503, _NO_SWARM)),
    Route("GET", "/plugins", _no_plugins),
    Route("GET", "/plugins/privileges", _plugins),
    Route("POST", "/plugins/pull", _plugins),
    Route("POST", "/plugins/create", _plugins),
    Route("GET", "/plugins/{name...}/json", _unknown_plugin),
    Route("DELETE", "/plugins/{name...}", _unknown_plugin),
    *(Route("POST", f"/plugins/{{name...}}/{verb}", _unknown_plugin)
      for verb in ("enable", "disable", "push", "set", "upgrade")),
    Route("GET", "/containers/{name}/checkpoints", _experimental),
    Route("POST", "/containers/{name}/checkpoints", _experimental),
    Route("DELETE", "/containers/{name}/checkpoints/{checkpoint}", _experimental),
    Route("POST", "/session", _buildkit),
    Route("POST", "/grpc", _buildkit),
    Route("POST", "/build/cancel", _buildkit),
)
