"""Builds in the API's words: what the query asks for, and what is told meanwhile.

    POST /build?t=app:2&dockerfile=Dockerfile&buildargs={"VERSION":"2"}        the body is the context, a tar
    {"stream":"Step 1/2 : FROM busybox\\n"} … {"aux":{"ID":"sha256:…"}} {"stream":"Successfully built 4f1c…\\n"}
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from domain.errors import InvalidValue
from domain.images.manifest import parse_platform
from domain.resources import Resources
from domain.spec import Ulimit
from workers.build.request import BuildRequest, Ended, Step
from workers.console.buildlog import Plain
from workers.console.contexts import Sources
from workers.gateway import wishes
from workers.gateway.call import Call, validated
from workers.gateway.lines import Say

_RED, _BACK = b"\x1b[91m", b"\x1b[0m"
_STDERR = 2


def refuse_unsupported(call: Call) -> None:
    """Raises: InvalidValue, naming what this builder cannot do."""
    refused = next(_unsupported(call), None)
    if refused is not None:
        raise InvalidValue(f"{refused} is not supported by Lading")


def _unsupported(call: Call) -> Iterator[str]:
    if call.text("version", "1") != "1":
        yield "BuildKit (version 2 of the builder)"
    if call.text("isolation", "default") != "default":
        yield "isolation"
    if call.flag("squash"):
        yield "squash"
    for name in ("outputs", "cgroupparent"):
        if call.text(name):
            yield name
    if any(json_value(call, "securityopt", [])):
        yield "securityopt"


def request(call: Call, sources: Sources, network: str, *, fresh: bool) -> BuildRequest:
    """What the builder is asked for; `fresh` says that nothing may come from the cache. Raises: InvalidValue."""
    return BuildRequest(
        dockerfile=sources.dockerfile,
        name=sources.name,
        references=tuple(text for text in call.many("t") if text),
        target=call.text("target"),
        arguments=_texts(call, "buildargs"),
        labels=_texts(call, "labels"),
        network=network,
        hosts=tuple(call.many("extrahosts")),
        ignore=sources.ignore,
        no_cache=call.flag("nocache") or fresh,
        keep=not call.flag("rm", default=True) and not call.flag("forcerm"),
        resources=_resources(call),
        ulimits=tuple(_ulimit(given) for given in json_value(call, "ulimits", [])),
        shm_size=call.number("shmsize") or None,
        platform=str(parse_platform(call.text("platform"))) if call.text("platform") else "",
        cache_from=tuple(str(name) for name in json_value(call, "cachefrom", [])),
    )


def _texts(call: Call, name: str) -> dict[str, str]:
    """An object of texts; null is nothing said."""
    found = {key: value for key, value in json_value(call, name, {}).items() if value is not None}
    if not all(isinstance(value, str) for value in found.values()):
        raise InvalidValue(f"invalid {name}: every value must be a text")
    return found


def _resources(call: Call) -> Resources | None:
    found = Resources(
        memory=call.number("memory") or 0,
        memory_swap=call.number("memswap") or 0,
        cpu_shares=call.number("cpushares") or 0,
        cpu_period=call.number("cpuperiod") or 0,
        cpu_quota=call.number("cpuquota") or 0,
        cpuset_cpus=call.text("cpusetcpus"),
        cpuset_mems=call.text("cpusetmems"),
    )
    return None if found == Resources() else found


def _ulimit(given: object) -> Ulimit:
    if not isinstance(given, dict):
        raise InvalidValue("ulimits must be a list of objects")
    wish = validated(wishes.Ulimit, given)
    return Ulimit(name=wish.Name, soft=wish.Soft, hard=wish.Hard)


def json_value(call: Call, name: str, default: Any) -> Any:
    """A parameter that is a JSON list or object, as its default is. Raises: InvalidValue."""
    text = call.text(name)
    if not text:
        return default
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"invalid {name}: it must be JSON") from error
    if found is None:
        return default
    if not isinstance(found, type(default)):
        raise InvalidValue(f"invalid {name}: it must be a JSON {'list' if isinstance(default, list) else 'object'}")
    return found


class Screen(Plain):
    """What a build shows, as documents; what its commands write as errors is red, as the industry's engine has it. With
    `cached`, settings after nothing but steps of the cache count as found there, too: there is nothing to be done."""

    def __init__(self, say: Say, *, cached: bool = True) -> None:
        super().__init__(self._tell)
        self._say_document, self._cached = say, cached

    async def output(self, step: Step, stream: int, data: bytes) -> None:
        """See Progress."""
        await super().output(step, stream, _RED + data + _BACK if stream == _STDERR else data)

    async def ended(self, step: Step, ended: Ended) -> None:
        """See Progress."""
        self._cached = self._cached and ended.how != "ran"
        if ended.how == "set" and self._cached and not step.text.upper().startswith("FROM"):
            ended = replace(ended, how="cached")
        await super().ended(step, ended)

    async def _tell(self, data: bytes) -> None:
        await self._say_document({"stream": data.decode("utf-8", "replace")})
