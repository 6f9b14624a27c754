"""The programs that users start: they find our packages first, and nothing that lies around."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT
from workers.launcher import root
from workers.launcher.scripts import client_script, daemon_script, first_lines, unit_file


def test_the_root_of_a_checkout_holds_the_rooms() -> None:
    """Everything is imported from there, so a wrong answer would import somebody else's `domain`."""
    assert Path(root()) == ROOT


def test_an_ordinary_interpreter_is_named_in_the_shebang() -> None:
    """Going through /bin/sh was measured 1 ms slower, a tenth of the whole client."""
    assert first_lines("/usr/bin/python3", "-IS") == "#!/usr/bin/python3 -IS\n"


@pytest.mark.parametrize("interpreter", ["/" + "x" * 130 + "/python", "/with a blank/python"])
def test_a_path_that_no_shebang_can_hold_goes_through_the_shell(interpreter: str) -> None:
    """The kernel cuts a long shebang line and splits at blanks, without an error."""
    assert first_lines(interpreter, "-IS").startswith("#!/bin/sh\n")


@pytest.mark.slow
def test_the_shell_fallback_hands_on_every_argument(tmp_path: Path) -> None:
    """Both languages must read the same two lines in their own way."""
    folder = tmp_path / "with a blank"
    folder.mkdir()
    (folder / "python").symlink_to(os.path.realpath(sys.executable))
    script = tmp_path / "program"
    script.write_text(first_lines(str(folder / "python"), "-IS") + "import sys\nsys.stdout.write(repr(sys.argv[1:]))\n")
    script.chmod(0o755)
    done = subprocess.run([script, "a b", "", "$x'"], capture_output=True, text=True, check=True)
    assert done.stdout == "['a b', '', \"$x'\"]"


@pytest.mark.parametrize("script", [client_script(), daemon_script()], ids=["lading", "ladingd"])
def test_the_scripts_are_valid_python(script: str) -> None:
    """They are written by a format string; a stray brace would be found by the first user."""
    compile(script, "script", "exec")


def test_the_client_starts_without_site_packages_and_environment() -> None:
    """-I: nothing from the current directory or PYTHONPATH; -S: no site, which costs as much as the whole client."""
    assert client_script().splitlines()[0].endswith(" -IS")


def test_stopping_the_unit_leaves_containers_alone() -> None:
    """They live in their own processes and outlive the daemon; systemd's default would kill them all."""
    lines = unit_file("/usr/local/bin/ladingd").splitlines()
    assert {"KillMode=process", "Delegate=yes", "TasksMax=infinity"} <= set(lines)


@pytest.mark.slow
def test_a_package_in_the_current_directory_is_not_imported(tmp_path: Path) -> None:
    """The daemon runs as root: whatever lies where it was started must not run with it."""
    (tmp_path / "domain").mkdir()
    (tmp_path / "domain" / "__init__.py").write_text("raise SystemExit('the wrong domain')\n")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import domain; sys.stdout.write(domain.__file__ or '')"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)},
                          capture_output=True, text=True, check=True)
    assert Path(done.stdout).is_relative_to(ROOT)
