"""Completion: the scripts offer what the verbs take, and shells take the scripts."""

import os
import shutil
import subprocess
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.workers.console.fakes import FakeEngine, Prompt
from workers.console.commands import NOUNS, VERBS
from workers.console.completion.scripts import SHELLS, script
from workers.console.completion.table import Page, pages

PAGES = pages(VERBS, NOUNS)
ROWS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    spelling: {name: (kind, text) for name, kind, text in (row.split("\t") for row in page.rows)}
    for page in PAGES
    for spelling in page.spellings
}
CHOICES = [
    (spelling, name, word)
    for spelling in ("create", "inspect", "kill", "stop", "build")
    for name, (kind, _) in ROWS[spelling].items()
    if name.startswith("--") and kind.startswith("=")
    for word in kind[1:].split(",")
]
ARGUMENTS = {"create": ("alpine",), "inspect": ("web",), "kill": ("web",), "stop": ("web",), "build": ("/nowhere",)}
Complete = Callable[[str], Sequence[str]]


def test_every_verb_is_offered_under_each_of_its_names() -> None:
    """And every noun, and what the client answers by itself."""
    assert set(VERBS) | set(NOUNS) | {"daemon", "help"} <= set(ROWS[""])
    for noun, (_, verbs, _) in NOUNS.items():
        assert set(ROWS[noun]) == set(verbs)
        assert all(f"{noun} {name}" in ROWS for name in verbs)


def test_every_option_that_has_an_effect_is_known_and_no_other() -> None:
    """Those that are refused would be a trap."""
    for name, verb in VERBS.items():
        rows = ROWS[name]
        for option in verb.options:
            assert (f"--{option.name}" in rows) is not option.refused
            if not option.refused:
                assert (rows[f"--{option.name}"][0] == "flag") is not option.takes_value


def test_arguments_are_what_the_usage_says() -> None:
    """One by one, the last as often as it may be repeated, and only containers for which the verb makes sense."""
    assert [ROWS["network connect"][place][0] for place in "12"] == ["networks", "containers"]
    assert (ROWS["rm"]["*"][0], ROWS["stop"]["*"][0], ROWS["start"]["*"][0]) == ("containers", "running", "stopped")
    assert ROWS["run"]["1"][0] == "images"
    assert "." in ROWS["run"]
    assert "." not in ROWS["rm"]


@pytest.mark.parametrize(("verb", "option", "word"), CHOICES, ids=" ".join)
async def test_every_word_that_is_offered_is_taken(prompt: Prompt, verb: str, option: str, word: str) -> None:
    """What is not taken is called invalid, or is not understood."""
    answer = await prompt(verb, option, word, *ARGUMENTS[verb])
    assert "invalid" not in answer.err.lower()
    assert "Usage:" not in answer.err


async def test_an_unknown_shell_is_told_which_there_are() -> None:
    """In the answer itself."""
    answer = await Prompt(FakeEngine())("completion", "tcsh")
    assert (answer.status, answer.out) == (1, "")
    assert "bash, fish, zsh" in answer.err


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a file and a directory in it, and a client that knows two of everything."""
    client = tmp_path / "bin" / "lading"
    client.parent.mkdir()
    client.write_text(textwrap.dedent(f"""\
        #!/bin/sh
        echo "$LADING_AUTOSTART $*" >> {tmp_path}/asked
        case "$*" in
          *images*) echo alpine:3.20; echo '<none>:<none>' ;;
          *network*) echo bridge; echo learning ;;
          *ps*) case "$*" in *'}}:') echo web:; echo db: ;; *) echo web; echo db ;; esac ;;
        esac
        """))
    client.chmod(0o755)
    here = tmp_path / "here"
    (here / "site").mkdir(parents=True)
    (here / "settings").touch()
    return here


def _ran(place: Path, *argv: str) -> Sequence[str]:
    environment = {**os.environ, "PATH": f"{place.parent}/bin:{os.environ['PATH']}", "HOME": str(place.parent)}
    done = subprocess.run(argv, cwd=place, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return [line.split("\t")[0] for line in done.stdout.splitlines() if line]


def _shell(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _bash(place: Path, line: str) -> Sequence[str]:
    words = line.replace("=", " = ").replace(":", " : ").split() + ([""] if line[-1] in " =:" else [])
    typed = " ".join(f"'{word}'" for word in words)
    (place.parent / "script").write_text(script("bash", PAGES))
    driver = f"""source ../script; COMP_LINE='{line}' COMP_WORDS=({typed}) COMP_CWORD={len(words) - 1}
        _lading; [[ ${{#COMPREPLY[@]}} == 0 ]] || printf '%s\\n' "${{COMPREPLY[@]}}" """
    return _ran(place, _shell("bash"), "--norc", "-c", driver)


def _new(line: str, offer: str) -> str:
    """What is offered behind the last `=` or `:` of the line, which is all that bash is given."""
    word = line[line.rfind(" ") + 1:]
    return offer.removeprefix(word[: max(word.rfind("="), word.rfind(":")) + 1]).rstrip("/")


def _fish(place: Path, line: str) -> Sequence[str]:
    (place.parent / "script").write_text(script("fish", PAGES))
    found = _ran(place, _shell("fish"), "--no-config", "-c", f"source ../script; complete -C '{line}'")
    return [_new(line, offer) for offer in found]


def _zsh(place: Path, line: str) -> Sequence[str]:
    """Zsh completes only for a terminal; its own functions are asked what they would have been given."""
    (place.parent / "script").write_text(script("zsh", PAGES))
    words = line.split() + ([""] if line[-1] == " " else [])
    typed = " ".join(f"'{word}'" for word in words)
    driver = f"""compdef() {{ : }}; source ../script
        compadd() {{ print -l -- "${{(@)argv[(r)--,-1][2,-1]}}" }}; compset() {{ PREFIX=${{PREFIX#*=}} }}
        _files() {{ local -a found=($PREFIX*(N)); [[ $1 != -/ ]] || found=($PREFIX*(N/)); print -rl -- $found }}
        words=({typed}) CURRENT={len(words)} PREFIX='{words[-1]}'; _lading"""
    found = _ran(place, _shell("zsh"), "-f", "-c", driver)
    return [_new(line, offer) for offer in found]


@pytest.mark.parametrize("complete", [_bash, _fish, _zsh], ids=["bash", "fish", "zsh"])
@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("lading pu", ["pull", "push"]),
        ("lading network con", ["connect"]),
        ("lading -D container unp", ["unpause"]),
        ("lading run --memory-s", ["--memory-swap", "--memory-swappiness"]),
        ("lading run -it --rm alp", ["alpine:3.20"]),
        ("lading run --rm alpine:3", ["3.20"]),
        ("lading run alpine -", []),
        ("lading run -e A -eB --network l", ["learning"]),
        ("lading run --network=l", ["learning"]),
        ("lading run --pull a", ["always"]),
        ("lading kill -s KI", ["KILL"]),
        ("lading exec -itu root w", ["web"]),
        ("lading stop -- d", ["db"]),
        ("lading network connect learning ", ["db", "web"]),
        ("lading cp w", ["web:"]),
        ("lading cp s", ["settings", "site"]),
        ("lading build s", ["site"]),
        ("lading run --env-file se", ["settings"]),
        ("lading daemon start --", ["--rebuild"]),
        ("lading daemon stop --", ["--clean"]),
        ("lading no such ", []),
    ],
)
def test_a_shell_offers_what_can_stand_there(
    place: Path, complete: Callable[[Path, str], Sequence[str]], line: str, offers: Sequence[str]
) -> None:
    """After flags in one word, values in their own or in the same, and the end of options."""
    assert sorted(complete(place, line)) == sorted(offers)


@pytest.mark.parametrize("complete", [_bash, _fish, _zsh], ids=["bash", "fish", "zsh"])
def test_the_daemon_is_asked_once_and_none_is_started(
    place: Path, complete: Callable[[Path, str], Sequence[str]]
) -> None:
    """And the one that was named, if one was."""
    assert sorted(complete(place, "lading -H nats://there stop ")) == ["db", "web"]
    assert (place.parent / "asked").read_text().splitlines() == ["0 -H nats://there ps --format {{.Names}}"]


def test_there_is_a_script_for_the_shells_that_are_tried() -> None:
    """No shell without a test."""
    assert set(SHELLS) == {"bash", "fish", "zsh"}
    assert all(isinstance(page, Page) for page in PAGES)
