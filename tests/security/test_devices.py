"""Devices of the host in a container: those that were wished, as far as they were wished, where they were wished."""

import os
from pathlib import Path

import pytest

from tests.security.archives import link
from tests.security.conftest import Forge
from tests.tutorial.engine import Engine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

OTHER = ("mknod /disk b 8 0; mknod /mem c 1 1; mknod /kmsg c 1 11; "
         "for f in /disk /mem /kmsg; do head -c 1 $f && echo $f; done")


@pytest.mark.parametrize("options", [
    ("--device", "/dev/zero:/dev/other"), ("--device", "/dev/zero:/dev/other:r"),
    ("--device", "/dev/zero:/dev/other:rw"),
    ("--device-cgroup-rule", "c 10:229 rwm"), ("--device-cgroup-rule", "c 1:5 r"),
])
def test_a_device_more_is_that_one(engine: Engine, options: tuple[str, str]) -> None:
    """For the first process and for an exec, the host's disk, its memory and its log stay closed."""
    engine.ok("run", "-d", "--name", "it", *options, "busybox", "sleep", "1000")
    assert engine.cli("run", "--rm", *options, "busybox", "sh", "-c", OTHER).out == ""
    assert engine.cli("exec", "it", "sh", "-c", OTHER).out == ""


def test_a_device_for_reading_is_not_written(engine: Engine) -> None:
    """Neither by its name nor by another node with the same number, which may not be made either."""
    script = "head -c 1 /dev/x | wc -c; echo x >/dev/x && echo written; mknod /y c 10 234; echo x >/y && echo written"
    said = engine.cli("run", "--rm", "--device", "/dev/zero:/dev/x:r", "busybox", "sh", "-c",
                      script.replace("c 10 234", "c 1 5"))
    assert "1" in said.out.split()
    loop = Path("/dev/loop-control")
    if loop.exists():
        number = loop.stat().st_rdev
        said = engine.cli("run", "--rm", "--device", f"{loop}:/dev/x:r", "busybox", "sh", "-c",
                          f": >/dev/x && echo written; mknod /y c {os.major(number)} {os.minor(number)}; "
                          ": >/y && echo written; true")
        assert "written" not in said.out, said


@pytest.mark.parametrize("target", ["/proc/x", "/sys/x", "/out/x", "/out", "/dev/../out/y", "x", "", "/"])
def test_a_device_lands_in_the_container(forge: Forge, canary: Path, target: str) -> None:
    """Where a link of the image leads inside, or nowhere."""
    image = forge.image(link("out", str(canary)))
    done = forge.engine.cli("run", "--rm", "--device", f"/dev/null:{target}", image, "true")
    assert done.code in (0, 125, 127), done
    assert "internal" not in done.err


@pytest.mark.parametrize("wish", [
    "/etc/passwd", "/", "/nosuch", "/dev/null:/dev/x:q", "/dev/null:/dev/x:", "../dev/null", "/proc/self/exe",
    "/dev/null:/dev/a:/dev/b:rwm", "/dev/null:/dev/x:rwmrwm\n",
])
def test_what_is_no_device_is_not_given(engine: Engine, wish: str) -> None:
    """Neither a file of the host nor a right that does not exist."""
    done = engine.cli("run", "--rm", "--device", wish, "busybox", "sh", "-c", "ls -l /etc/passwd; wc -c </etc/passwd")
    assert done.code in (125, 127), done


@pytest.mark.parametrize("rule", ["c 1:3", "x 1:3 r", "c 1:3 q", "c 1:3 rwm\na *:* rwm", "c -1:3 r",
                                  "c 1:99999999999 r", "c 1:3 r; a", "", "c 1 r", "c *:3 rwm x"])
def test_a_rule_that_is_none_is_refused(engine: Engine, rule: str) -> None:
    """It goes into a file of the kernel, where a second line would be a second rule."""
    assert engine.cli("run", "--rm", "--device-cgroup-rule", rule, "busybox", "true").code == 125
