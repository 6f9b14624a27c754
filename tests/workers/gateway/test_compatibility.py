"""The page that says what is served is true: every route is on it, and every refusal is one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.workers.gateway.client import Client
from workers.gateway.resources import ROUTES
from workers.gateway.routes import NEWEST, OLDEST, find

PAGE = Path(__file__).parents[3] / "docs/gateway-compatibility.md"


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of the table below a heading, without their code marks."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")][2:]
    for line in table:
        yield [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]


def test_every_route_is_on_the_page_and_nothing_else_is() -> None:
    """With the first version that has it."""
    served = [
        (route.method, route.pattern.replace("...", ""), f"{route.since[0]}.{route.since[1]}") for route in ROUTES
    ]
    assert sorted((method, path, since) for method, path, since, _ in rows("Requests")) == sorted(served)
    assert len(set(served)) == len(served)
    assert min(route.since for route in ROUTES) == OLDEST


@pytest.mark.parametrize(("request_line", "field", "value"), [row[:3] for row in rows("Fields that are refused")])
async def test_every_refusal_on_the_page_is_one(client: Client, request_line: str, field: str, value: str) -> None:
    """By name, and before anything is made."""
    method, path = request_line.replace("{name}", "alpine:3.10").split()
    if field.startswith("?"):
        answer = await client.ask(method, f"{path}{field}={quote(value)}", body=b"")
        name = {"?version": "BuildKit"}.get(field, field[1:])
    else:
        answer = await client.ask(method, path, document(field, json.loads(value)))
        name = {"Driver": "driver", "DriverOpts": "option", "VolumeDriver": "volume plugin", "Options": "option",
                "Runtime": "runtime", "Isolation": "isolation"}.get(field.rpartition(".")[2], "")  # fmt: skip
        name = name if name in answer.message else field.rpartition(".")[2]
    assert (answer.status, name in answer.message) == (400, True), answer.message


def document(field: str, value: Any) -> dict[str, Any]:
    """A body that would be fine without this field."""
    found: dict[str, Any] = {"Image": "alpine:3.10", "Name": "shop"}
    place = found
    *parents, last = field.split(".")
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return found


def test_routes_do_not_hide_each_other() -> None:
    """A pattern that fits another one's path would take its requests."""
    for route in ROUTES:
        found = find(ROUTES, route.method, route.pattern.replace("...", "").replace("{", "").replace("}", ""), NEWEST)
        assert found is not None
        assert found.route is route
