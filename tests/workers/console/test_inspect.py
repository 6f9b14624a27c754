"""inspect: documents for containers and images."""

import json

import pytest

from tests.workers.console.fakes import FakeEngine, Prompt


@pytest.fixture(autouse=True)
async def web(prompt: Prompt) -> None:
    """A container called web."""
    await prompt.ok("run", "-d", "--name", "web", "-e", "A=1", "-l", "odd=x\x1b[2J\ny", "alpine:3.10", "sleep", "9")


async def test_documents_are_a_json_array_with_four_blanks(prompt: Prompt) -> None:
    """Containers and images in one answer, in the order of the arguments."""
    answer = await prompt.ok("inspect", "alpine:3.10", "web")
    assert answer.lines[:2] == ["[", "    {"]
    image, container = json.loads(answer.out)
    assert (image["RepoTags"], container["Name"], container["Config"]["Env"]) == (
        ["alpine:3.10"],
        "/web",
        ["PATH=/bin", "A=1"],
    )
    assert container["Config"]["Labels"] == {"odd": "x\x1b[2J\ny"}
    assert "\x1b" not in answer.out


async def test_what_is_missing_leaves_the_rest(prompt: Prompt) -> None:
    """The found ones on stdout, the others on stderr."""
    answer = await prompt("inspect", "nothing")
    assert (answer.status, answer.out, answer.err) == (1, "[]\n", "Error: No such object: nothing\n")
    answer = await prompt("inspect", "-f", "{{.Name}}", "nothing", "web", "NO SUCH")
    assert (answer.status, answer.out) == (1, "/web\n")
    assert answer.err == "Error: No such object: nothing\nError: No such object: NO SUCH\n"


async def test_a_kind_can_be_asked_for(prompt: Prompt) -> None:
    """And then nothing else answers."""
    assert (await prompt("inspect", "--type", "image", "web")).err == "Error: No such image: web\n"
    assert (await prompt("image", "inspect", "web")).err == "Error: No such image: web\n"
    assert (await prompt("container", "inspect", "alpine:3.10")).err == "Error: No such container: alpine:3.10\n"
    assert (await prompt.ok("image", "inspect", "-f", "{{.Os}}", "alpine:3.10")).out == "linux\n"
    answer = await prompt("inspect", "--type", "task", "web")
    assert (answer.status, answer.out) == (1, "")


async def test_templates_print_one_line_each(prompt: Prompt) -> None:
    """With the keys of the document."""
    answer = await prompt.ok("inspect", "-f", "{{.State.Status}} {{.State.Running}} {{len .Config.Env}}", "web", "web")
    assert answer.lines == ["running true 2"] * 2
    assert (await prompt.ok("inspect", "-f", "{{json .Config.Cmd}}", "web")).out == '["sleep","9"]\n'
    assert (await prompt.ok("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}|", "web")).out == "|\n"
    nets = "{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{end}}"
    assert (await prompt.ok("inspect", "-f", nets, "web")).out == "bridge \n"
    assert (await prompt.ok("inspect", "-f", "{{.Config.Labels.odd}}", "web")).out == "x\\x1b[2J\ny\n"
    assert json.loads((await prompt.ok("inspect", "-f", "json", "web")).out)[0]["Name"] == "/web"


async def test_a_missing_key_is_status_1(prompt: Prompt) -> None:
    """With the place."""
    answer = await prompt("inspect", "-f", "{{.State.Nope}}", "web")
    assert (answer.status, answer.out) == (1, "")
    assert 'map has no entry for key "Nope"' in answer.err


async def test_sizes_are_there_on_request(prompt: Prompt) -> None:
    """They cost a walk over the files."""
    assert (await prompt.ok("inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "web")).out == "5 1990005\n"
    assert (await prompt("inspect", "-f", "{{.SizeRw}}", "web")).status == 1


async def test_an_ambiguous_prefix_is_told(engine: FakeEngine, prompt: Prompt) -> None:
    """Not mistaken for a missing object."""
    for _ in range(16):
        await prompt.ok("create", "alpine:3.10")
    assert "multiple IDs found with provided prefix: 1" in (await prompt("inspect", "1")).err
