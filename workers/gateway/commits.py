"""Images of containers: what a client wants of their configuration becomes instructions of a Dockerfile."""

import json
from collections.abc import Iterator

from domain.errors import InvalidValue
from domain.lifecycle.commit import Commit
from workers.gateway.call import Answer, Call, Reply
from workers.gateway.wishes import Config


async def commit(call: Call) -> Answer:
    """`POST /commit`."""
    name = call.text("container")
    if not name:
        raise InvalidValue("container has to be given: the one to make an image of")
    wish = await call.model(Config)
    repository, tag = call.text("repo"), call.text("tag")
    command = Commit(
        reference=f"{repository}:{tag}" if repository and tag else repository,
        author=call.text("author"),
        message=call.text("comment"),
        changes=(*_instructions(wish), *(line for text in call.many("changes") for line in text.split("\n") if line)),
        pause=call.flag("pause", default=True),
    )
    id = await call.engine.resolve(name)
    return Reply(201, {"Id": await call.engine.commit(id, command, call.who)})


def _instructions(wish: Config) -> Iterator[str]:
    """What a body says; the container's own configuration is that of the image anyway."""
    if wish.Cmd:
        yield f"CMD {json.dumps(wish.Cmd)}"
    if wish.Entrypoint:
        yield f"ENTRYPOINT {json.dumps(wish.Entrypoint)}"
    for item in wish.Env:
        key, equals, value = item.partition("=")
        if equals:
            yield f"ENV {key}={json.dumps(value)}"
    for key, value in wish.Labels.items():
        yield f"LABEL {json.dumps(key)}={json.dumps(value)}"
    for port in wish.ExposedPorts:
        yield f"EXPOSE {port}"
    if wish.Volumes:
        yield f"VOLUME {json.dumps(list(wish.Volumes))}"
    words = (("USER", wish.User), ("WORKDIR", wish.WorkingDir), ("STOPSIGNAL", wish.StopSignal))
    yield from (f"{name} {value}" for name, value in words if value)
    yield from (f"ONBUILD {line}" for line in wish.OnBuild)
