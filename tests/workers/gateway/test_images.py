"""Images: lists, documents, names, removals, and their ways in and out."""

import base64
import json
from typing import Any

import pytest

from domain.errors import InvalidValue, NotFound, StorageError
from tests.workers.console.fakes import EPOCH, SECOND, FakeEngine
from tests.workers.gateway.client import Client, FakeWire
from workers.gateway import credentials

ALPINE, WEB = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
DIGEST = f"sha256:{'7' * 64}"


def told(answer: FakeWire) -> list[dict[str, Any]]:
    """The lines of an answer that tells how far it is."""
    return [json.loads(line) for line in answer.body.splitlines()]


def asking(**filters: object) -> str:
    """A list with these filters."""
    return f"/images/json?filters={json.dumps(filters)}"


@pytest.fixture
def web(engine: FakeEngine) -> None:
    """A second image, with two names, a digest and a label, made a minute later."""
    engine.images.add("b", "web:1", "web:2", f"web@{DIGEST}", created=EPOCH + 60 * SECOND, Labels={"tier": "front"})


@pytest.mark.usefixtures("web")
async def test_a_list_has_a_row_for_each_image_with_all_its_names(client: Client) -> None:
    """Newest first; what was not asked for is -1."""
    web, alpine = (await client.ask("GET", "/images/json")).document
    assert web == {
        "Id": WEB, "ParentId": "", "RepoTags": ["web:1", "web:2"], "RepoDigests": [f"web@{DIGEST}"],
        "Created": EPOCH // SECOND + 60, "Size": 1_990_000, "SharedSize": -1, "VirtualSize": 1_990_000,
        "Labels": {"tier": "front"}, "Containers": -1,
    }
    assert (alpine["RepoTags"], alpine["Labels"]) == (["alpine:3.10"], None)


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize(("filters", "names"), [
    ({"reference": ["web"]}, [["web:1", "web:2"]]),
    ({"reference": ["web:2"]}, [["web:2"]]),
    ({"reference": {"alpine:*": True}}, [["alpine:3.10"]]),
    ({"label": ["tier=front"]}, [["web:1", "web:2"]]),
    ({"label": ["tier", "other"]}, []),
    ({"dangling": ["true"]}, []),
    ({"before": ["web:1"]}, [["alpine:3.10"]]),
    ({"since": ["alpine:3.10"]}, [["web:1", "web:2"]]),
    ({"until": [str(EPOCH // SECOND + 30)]}, [["alpine:3.10"]]),
])  # fmt: skip
async def test_filters_choose_images_and_names(client: Client, filters: dict[str, Any], names: list[list[str]]) -> None:
    """Several labels must all fit."""
    assert [image["RepoTags"] for image in (await client.ask("GET", asking(**filters))).document] == names


async def test_an_unknown_filter_is_refused(client: Client) -> None:
    """It would choose other images than was meant."""
    answer = await client.ask("GET", asking(size=["5"]))
    assert (answer.status, answer.message) == (400, "invalid filter 'size'")


async def test_an_image_without_a_name_is_told_as_each_version_expects(engine: FakeEngine, client: Client) -> None:
    """Old clients split `<none>:<none>`, new ones want nothing."""
    engine.images.add("c")
    target = asking(dangling=["true"])
    (new,) = (await client.ask("GET", target)).document
    (old,) = (await client.ask("GET", target, version="/v1.41")).document
    assert (new["RepoTags"], old["RepoTags"], old["RepoDigests"]) == ([], ["<none>:<none>"], ["<none>@<none>"])


@pytest.mark.usefixtures("web")
async def test_shared_sizes_are_told_on_request(client: Client) -> None:
    """These two have no layer in common."""
    assert {image["SharedSize"] for image in (await client.ask("GET", "/images/json?shared-size=1")).document} == {0}


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize("name", ["web:1", "web%3A1", "b" * 12, WEB])
async def test_an_image_is_inspected_by_any_of_its_names(client: Client, name: str) -> None:
    """Also with a coded colon, as some clients write it."""
    document = (await client.ask("GET", f"/images/{name}/json")).document
    assert (document["Id"], document["RepoDigests"]) == (WEB, [f"web@{DIGEST}"])


async def test_what_is_not_there_is_no_such_image(client: Client) -> None:
    """docker-py chooses ImageNotFound by this text."""
    for target in ("/images/nope/json", "/images/nope/history"):
        answer = await client.ask("GET", target)
        assert (answer.status, answer.message) == (404, "No such image: nope:latest")
    assert (await client.ask("DELETE", "/images/nope")).status == 404


async def test_the_history_has_an_entry_for_each_step(engine: FakeEngine, client: Client) -> None:
    """The newest one has the id."""
    (step,) = (await client.ask("GET", "/images/alpine:3.10/history")).document
    assert (step["Id"], step["Size"], step["Tags"]) == (ALPINE, 1_990_000, ["alpine:3.10"])


async def test_tags_are_given_and_taken_away(engine: FakeEngine, client: Client) -> None:
    """Removal tells what it did, as a list."""
    assert (await client.ask("POST", "/images/alpine:3.10/tag?repo=reg.example.com/a&tag=1")).status == 201
    assert engine.images.done == [("tag", ALPINE, "reg.example.com/a:1")]
    assert (await client.ask("POST", "/images/alpine:3.10/tag")).status == 400
    answer = await client.ask("DELETE", "/images/alpine:3.10?force=1&noprune=1")
    assert answer.document == [{"Untagged": "alpine:3.10"}, {"Deleted": ALPINE}]
    assert engine.images.done[-1] == ("remove", "alpine:3.10", True, False)


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize(("filters", "gone"), [
    ({}, []), ({"dangling": ["true"]}, []), ({"dangling": ["false"]}, [ALPINE, WEB]),
    ({"dangling": ["false"], "label": ["tier=front"]}, [WEB]), ({"dangling": ["false"], "label!": ["tier"]}, [ALPINE]),
    ({"dangling": ["false"], "until": [str(EPOCH // SECOND + 30)]}, [ALPINE]),
])  # fmt: skip
async def test_a_prune_takes_what_was_asked_for(client: Client, filters: dict[str, Any], gone: list[str]) -> None:
    """Without `dangling=false` only what has no name."""
    answer = await client.ask("POST", f"/images/prune?filters={json.dumps(filters)}")
    assert [each["Deleted"] for each in answer.document["ImagesDeleted"] or () if "Deleted" in each] == gone


async def test_a_pull_tells_how_far_it_is(engine: FakeEngine, client: Client) -> None:
    """In the words that clients look for; the last line names the image."""
    engine.images.remote["docker.io/library/busybox:1"] = "d"
    answer = await client.ask("POST", "/images/create?fromImage=busybox&tag=1")
    lines = told(answer)
    assert lines[0] == {"status": "Pulling from library/busybox", "id": "1"}
    assert {line["status"] for line in lines} >= {"Pulling fs layer", "Pull complete"}
    assert lines[-2]["status"].startswith("Digest: sha256:")
    assert lines[-1] == {"status": "Status: Downloaded newer image for busybox:1"}


async def test_a_pull_without_a_tag_brings_all_of_them(engine: FakeEngine, client: Client) -> None:
    """As the API says; the docker CLI always names one."""
    engine.images.remote |= {"docker.io/library/busybox:1": "d", "docker.io/library/busybox:2": "e"}
    ids = [line["id"] for line in told(await client.ask("POST", "/images/create?fromImage=busybox"))
           if line["status"].startswith("Pulling from")]
    assert ids == ["1", "2"]


async def test_a_pull_of_what_the_registry_does_not_have_is_refused_as_a_whole(client: Client) -> None:
    """Not in a stream that had begun well."""
    answer = await client.ask("POST", "/images/create?fromImage=busybox&tag=9")
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json")
    assert (await client.ask("POST", "/images/create")).status == 400
    assert (await client.ask("POST", "/images/create?fromImage=A")).status == 400


async def test_what_fails_after_a_word_was_said_is_told_in_the_stream(engine: FakeEngine, client: Client) -> None:
    """The status was sent."""
    engine.images.remote["docker.io/library/busybox:1"] = "d"
    answer = await client.ask("POST", "/images/create?fromImage=busybox&tag=1")

    async def broken(*args: object, **more: object) -> str:
        raise StorageError("the disk is full")

    engine.images.import_stream = broken  # type: ignore[method-assign]
    answer = await client.ask("POST", "/images/create?fromSrc=-&repo=x", body=b"tar")
    assert (answer.status, answer.message) == (500, "the disk is full")
    engine.images.load_stream = broken  # type: ignore[method-assign]
    answer = await client.ask("POST", "/images/load", body=b"tar")
    assert (answer.status, told(answer)) == (
        200, [{"errorDetail": {"message": "the disk is full"}, "error": "the disk is full"}]
    )


async def test_an_import_takes_the_body(engine: FakeEngine, client: Client) -> None:
    """With a name, a note and changes."""
    target = "/images/create?fromSrc=-&repo=base&tag=1&message=hi&changes=CMD+%5B%22sh%22%5D&changes=USER+ann"
    assert told(await client.ask("POST", target, body=b"tar")) == [{"status": f"sha256:{'e' * 64}"}]
    assert engine.images.done == [("import", b"tar", "base:1", "hi", ('CMD ["sh"]', "USER ann"), "")]
    assert (await client.ask("POST", "/images/create?fromSrc=/etc/passwd", body=b"")).status == 400


async def test_archives_go_in_and_out(engine: FakeEngine, client: Client) -> None:
    """Several names in one archive; what is not there is refused before the first byte."""
    assert told(await client.ask("POST", "/images/load?quiet=1", body=b"tar")) == [
        {"stream": "Loaded image: alpine:3.10\n"}
    ]
    answer = await client.ask("GET", "/images/get?names=alpine:3.10")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-tar")
    assert (await client.ask("GET", "/images/alpine:3.10/get")).body == answer.body
    assert (await client.ask("GET", "/images/nope/get")).status == 404
    assert (await client.ask("GET", "/images/get")).status == 400


async def test_a_push_ends_with_its_digest(engine: FakeEngine, client: Client) -> None:
    """As a line for people, and as a document for programs."""
    engine.images.add("c", "reg.example.com/web:1")
    lines = told(await client.ask("POST", "/images/reg.example.com/web/push?tag=1"))
    assert lines[0] == {"status": "The push refers to repository [reg.example.com/web]"}
    assert lines[-1]["aux"].keys() == {"Tag", "Digest", "Size"}
    assert lines[-2]["status"] == f"1: digest: {lines[-1]['aux']['Digest']} size: {lines[-1]['aux']['Size']}"
    assert (await client.ask("POST", "/images/nope/push?tag=1")).status == 404


async def test_a_registry_is_asked_what_a_name_means(engine: FakeEngine, client: Client) -> None:
    """Nothing is pulled."""
    engine.images.remote["docker.io/library/busybox:1"] = "d"
    kind = "application/vnd.oci.image.index.v1+json"
    assert (await client.ask("GET", "/distribution/busybox:1/json")).document == {
        "Descriptor": {"mediaType": kind, "digest": f"sha256:{'d' * 64}", "size": 7},
        "Platforms": [{"architecture": "amd64", "os": "linux"}],
    }
    assert (await client.ask("GET", "/distribution/busybox:9/json")).status == 404


@pytest.mark.parametrize(("target", "word"), [
    ("/images/alpine:3.10/json?platform=linux/arm64", "platform"), ("/images/load?platform=x", "platform"),
    ("/images/get?names=alpine&platform=x", "platform"), ("/images/alpine/push?platform=x", "platform"),
    ("/images/search?term=x&limit=101", "limit"), ("/images/search?term=", "term"),
])  # fmt: skip
async def test_what_cannot_be_done_is_refused_by_name(client: Client, target: str, word: str) -> None:
    """Nothing is dropped silently."""
    method = "POST" if "load" in target or "push" in target else "GET"
    answer = await client.ask(method, target)
    assert answer.status == 400
    assert word in answer.message


def coded(document: object) -> str:
    """As clients send it."""
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


def test_credentials_come_in_a_header() -> None:
    """A password or an identity token; nobody's when there is nothing."""
    ann = credentials.one(coded({"username": "ann", "password": "s3cret?>", "serveraddress": "reg.example.com"}))
    assert (ann.user, ann.password) == ("ann", "s3cret?>")
    assert credentials.one(coded({"identitytoken": "t"}).rstrip("=")).identity_token == "t"
    for nothing in ("", coded({}), coded(None)):
        assert not credentials.one(nothing)
    several = credentials.several(coded({"https://index.docker.io/v1/": {"username": "ann", "password": "x"}}))
    found = several.find("docker.io")
    assert found is not None
    assert found.user == "ann"


@pytest.mark.parametrize("text", ["???", "aGk=", coded([1]), coded({"username": 5}), coded({"registrytoken": "t"})])
def test_credentials_that_cannot_be_meant_are_refused_and_not_quoted(text: str) -> None:
    """They are secrets."""
    with pytest.raises(InvalidValue) as refusal:
        credentials.one(text)
    assert text not in str(refusal.value)


async def test_credentials_reach_the_registry_that_is_asked(engine: FakeEngine, client: Client) -> None:
    """And no other one."""
    seen: list[object] = []

    async def pull(reference: object, who: object, keys: object, *more: object) -> object:
        seen.append(keys)
        raise NotFound("no")

    engine.images.pull = pull  # type: ignore[method-assign, assignment]
    header = f"X-Registry-Auth: {coded({'username': 'ann', 'password': 'x'})}"
    await client.ask("POST", "/images/create?fromImage=reg.example.com/web&tag=1", headers=[header])
    (keys,) = seen
    assert isinstance(keys, dict)
    assert {host: found.user for host, found in keys.items()} == {"reg.example.com": "ann"}
