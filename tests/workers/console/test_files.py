"""cp, diff, export: what is asked of whom, what is said, and what is written down."""

import pytest

from domain.errors import KernelError
from domain.lifecycle.files import NoteCopiedIn, NoteCopiedOut, NoteExported
from tests.workers.console.fakes import FakeCall, FakeEngine, Prompt, Terminal
from tests.workers.console.filefakes import archive


@pytest.fixture(autouse=True)
async def web(engine: FakeEngine, prompt: Prompt) -> str:
    """A container with some files, and a client with some others."""
    id = (await prompt.ok("create", "--name", "web", "alpine:3.10")).out.strip()
    engine.files.tree |= {
        "/etc": "directory", "/etc/hosts": "file", "/link": "link:/etc", "/dev/null": "other", "/lost": "link:/none",
    }  # fmt: skip
    return id


def client(*argv: str, stdin: bytes = b"", **terminal: bool) -> FakeCall:
    """A call of somebody with a home directory."""
    call = FakeCall(argv, input=stdin, terminal=Terminal(**terminal))
    call.side.tree |= {
        "/ann": "directory", "/ann/f": "file", "/ann/d": "directory", "/ann/l": "link:/ann/d",
        "/dev/tty": "other",
    }  # fmt: skip
    return call


@pytest.mark.parametrize(
    ("argv", "directory", "data"),
    [
        (["web:/etc/hosts", "."], "/ann/.", archive("/etc/hosts", "hosts")),
        (["web:/etc/hosts", "new"], "/ann", archive("/etc/hosts", "new")),
        (["web:etc/hosts", "f"], "/ann", archive("/etc/hosts", "f")),
        (["web:/etc", "d"], "/ann/d", archive("/etc", "etc")),
        (["web:/etc/.", "d"], "/ann/d", archive("/etc/.", ".")),
        (["web:/etc", "new/"], "/ann", archive("/etc", "new")),
        (["web:/etc", "l"], "/ann/d", archive("/etc", "etc")),
        (["web:/link", "d"], "/ann/d", archive("/link", "link")),
        (["-L", "web:/link", "new"], "/ann", archive("/link", "new", "follow")),
        (["-a", "web:/etc", "d"], "/ann/d", archive("/etc", "etc", "fine")),
    ],
)
async def test_out_of_a_container(prompt: Prompt, argv: list[str], directory: str, data: bytes) -> None:
    """Each rule of where it lands."""
    call = client("cp", *argv)
    answer = await prompt(*call.argv, call=call)
    assert (answer.status, answer.out, answer.err) == (0, "", "")
    assert call.side.spreads == [(directory, data, "owners" if "-a" in argv else "")]


@pytest.mark.parametrize(
    ("argv", "directory", "data", "owners"),
    [
        (["f", "web:/etc"], "/etc", archive("/ann/f", "f"), False),
        (["f", "web:/etc/hosts"], "/etc", archive("/ann/f", "hosts"), False),
        (["f", "web:/new"], "/", archive("/ann/f", "new"), False),
        (["d", "web:/etc"], "/etc", archive("/ann/d", "d"), False),
        (["d/.", "web:/etc"], "/etc", archive("/ann/d/.", "."), False),
        (["d", "web:/new"], "/", archive("/ann/d", "new"), False),
        (["d", "web:/link"], "/etc", archive("/ann/d", "d"), False),
        (["f", "web:/lost"], "/", archive("/ann/f", "none"), False),
        (["-a", "d", "web:/etc"], "/etc", archive("/ann/d", "d", "fine"), True),
        (["-L", "l", "web:/etc"], "/etc", archive("/ann/l", "l", "follow"), False),
        (["l", "web:/etc"], "/etc", archive("/ann/l", "l"), False),
    ],
)
async def test_into_a_container(
    engine: FakeEngine, prompt: Prompt, argv: list[str], directory: str, data: bytes, owners: bool
) -> None:
    """The same rules, the other way round."""
    call = client("cp", *argv)
    answer = await prompt(*call.argv, call=call)
    assert (answer.status, answer.out, answer.err) == (0, "", "")
    assert engine.files.spreads == [(directory, data, owners)]
    assert engine.files.reached[-1][1:] == (True, True)


async def test_streams_on_either_side(engine: FakeEngine, prompt: Prompt) -> None:
    """An archive as it is, without a word beside it."""
    call = client("cp", "web:/etc", "-", stderr_tty=True)
    answer = await prompt(*call.argv, call=call)
    assert (answer.status, answer.out, answer.err) == (0, archive("/etc", "etc").decode(), "")
    call = client("cp", "-", "web:/etc", stdin=b"a tar")
    assert (await prompt(*call.argv, call=call)).status == 0
    assert engine.files.spreads == [("/etc", b"a tar", False)]


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["web:/nope", "."], "Error response from daemon: Could not find the file /nope in container web"),
        (["web:/etc", "f"], "Error response from daemon: cannot copy directory"),
        (["web:/etc/hosts", "new/"], "Error response from daemon: no such directory"),
        (["web:/etc/hosts", "no/where"], 'invalid output path: directory "/ann/no" does not exist'),
        (["web:/etc/hosts", "/dev/tty"], 'invalid output path: "/dev/tty" must be a directory or a regular file'),
        (["d", "web:/etc/hosts"], "Error response from daemon: cannot copy directory"),
        (["f", "web:/new/"], "Error response from daemon: no such directory"),
        (["nope", "web:/etc"], "lstat /ann/nope: no such file or directory"),
        (["f", "web:/dev/null"], 'destination "web:/dev/null" must be a directory or a regular file'),
        (["-", "web:/etc/hosts"], 'destination "web:/etc/hosts" must be a directory'),
        (["-", "web:/nope"], 'destination "web:/nope" must be a directory'),
        (["web:/a", "web:/b"], "copying between containers is not supported"),
        (["f", "d"], "must specify at least one container source"),
        (["nobody:/x", "."], "Error response from daemon: No such container: nobody"),
    ],
)
async def test_refusals_of_cp(engine: FakeEngine, prompt: Prompt, argv: list[str], text: str) -> None:
    """In the words that scripts match; nothing was copied and nothing is written down."""
    call = client("cp", *argv, stdin=b"a tar")
    answer = await prompt(*call.argv, call=call)
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.splitlines()[0] == text
    assert not engine.files.spreads
    assert not call.side.spreads
    assert not engine.files.noted


@pytest.mark.parametrize("argv", [["web:/etc", "-"], ["-", "web:/etc"]])
async def test_an_archive_is_neither_typed_nor_read_by_people(prompt: Prompt, argv: list[str]) -> None:
    """A terminal on that side is a mistake."""
    call = client("cp", *argv, stdin_tty=True, stdout_tty=True)
    assert (await prompt(*call.argv, call=call)).status == 1
    assert b"terminal" in call.stderr


@pytest.mark.parametrize(("options", "told"), [([], True), (["-q"], False)])
async def test_the_summary_is_for_a_person(prompt: Prompt, options: list[str], told: bool) -> None:
    """Only on a terminal, and not when it is unwanted."""
    call = client("cp", *options, "web:/etc/hosts", "new", stderr_tty=True)
    size = len(archive("/etc/hosts", "new"))
    answer = await prompt(*call.argv, call=call)
    assert answer.err == (f"Successfully copied {size}B to /ann/new\n" if told else "")
    call = client("cp", *options, "f", "web:/etc", stderr_tty=True)
    answer = await prompt(*call.argv, call=call)
    assert answer.err.endswith("to web:/etc\n") is told


async def test_devices_that_were_left_out_are_told(prompt: Prompt) -> None:
    """Silence would be taken for a whole copy."""
    call = client("cp", "web:/etc", "d")
    call.side.left_out = 2
    answer = await prompt(*call.argv, call=call)
    assert answer.err == "2 device nodes were left out: the host's devices are not a container's to give\n"


async def test_copies_are_written_down(engine: FakeEngine, prompt: Prompt, web: str) -> None:
    """What, how much, and by whom."""
    for argv in (["web:/etc/hosts", "new"], ["f", "web:/etc"]):
        call = client("cp", *argv)
        await prompt(*call.argv, call=call)
    out, into = archive("/etc/hosts", "new"), archive("/ann/f", "f")
    assert engine.files.noted == [
        (web, NoteCopiedOut(path="/etc/hosts", bytes=len(out))), (web, NoteCopiedIn(path="/etc", bytes=len(into))),
    ]  # fmt: skip


async def test_a_copy_that_breaks_off_is_written_down_too(engine: FakeEngine, prompt: Prompt, web: str) -> None:
    """Part of it has left, or is there."""
    engine.files.error = KernelError("input/output error")
    for argv in (["web:/etc/hosts", "new"], ["f", "web:/etc"]):
        call = client("cp", *argv)
        answer = await prompt(*call.argv, call=call)
        assert (answer.status, answer.err) == (1, "Error response from daemon: input/output error\n")
    assert engine.files.noted == [
        (web, NoteCopiedOut(path="/etc/hosts", bytes=5, broken=True)),
        (web, NoteCopiedIn(path="/etc", bytes=len(archive("/ann/f", "f")), broken=True)),
    ]


async def test_diff_prints_one_line_for_each_change(engine: FakeEngine, prompt: Prompt) -> None:
    """Safe for a terminal, however the files are called."""
    engine.files.differences = [("C", "/etc"), ("A", "/etc/\x1b[2Jnew"), ("D", "/gone")]
    assert (await prompt.ok("diff", "web")).lines == ["C /etc", "A /etc/\\x1b[2Jnew", "D /gone"]


async def test_diff_of_very_much_comes_in_pieces(engine: FakeEngine, prompt: Prompt) -> None:
    """All of it, in order."""
    engine.files.differences = [("A", f"/{number}") for number in range(2500)]
    assert (await prompt.ok("diff", "web")).lines == [f"A /{number}" for number in range(2500)]


async def test_export_goes_to_standard_output_or_to_a_private_file(
    engine: FakeEngine, prompt: Prompt, web: str
) -> None:
    """Of the root file system alone; and it is written down."""
    data = archive("/", ".")
    assert (await prompt.ok("export", "web")).out.encode() == data
    call = client("export", "-o", "web.tar", "web", stdout_tty=True)
    assert (await prompt(*call.argv, call=call)).status == 0
    assert call.side.written == {"web.tar": (0o600, data)}
    assert engine.files.reached == [(web, False, False)] * 2
    assert engine.files.noted == [(web, NoteExported(bytes=len(data)))] * 2


async def test_export_refuses_a_terminal(prompt: Prompt) -> None:
    """In the words of the industry's CLI."""
    call = client("export", "web", stdout_tty=True)
    answer = await prompt(*call.argv, call=call)
    assert (answer.status, answer.out) == (1, "")
    assert answer.err == "cowardly refusing to save to a terminal. Use the -o flag or redirect\n"


@pytest.mark.parametrize("verb", ["diff", "export"])
async def test_there_must_be_such_a_container(prompt: Prompt, verb: str) -> None:
    """Status 1, and the name that was typed."""
    answer = await prompt(verb, "nobody")
    assert (answer.status, answer.err) == (1, "Error response from daemon: No such container: nobody\n")
