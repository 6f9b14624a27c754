"""Options of health checks, and where their results are shown."""

import json

import pytest

from domain.health import Probe, Verdict
from domain.lifecycle.health import ReportHealth, Status
from domain.spec import HealthCheck
from tests.workers.console.fakes import EPOCH, SECOND, FakeEngine, Prompt
from workers.mover import Caller

ID = "1" * 64


async def find(engine: FakeEngine, status: Status, code: int = 0) -> None:
    """The probes of the container have come to a verdict."""
    report = ReportHealth(attempt=1, status=status, streak=3 if code else 0, exit_code=code, output="hm")
    await engine.execute(ID, report, Caller())
    engine.verdicts[ID] = Verdict(status, report.streak, (Probe(EPOCH, EPOCH + SECOND, code, "hm"),))


async def check_of(engine: FakeEngine) -> HealthCheck | None:
    """What the only container has."""
    return (await engine.container(ID)).settled.health


async def test_all_options_of_a_check(engine: FakeEngine, prompt: Prompt) -> None:
    """Durations as Go writes them; the command goes through a shell."""
    await prompt.ok(
        "run", "-d", "--health-cmd", "wget -q localhost", "--health-interval=1m30s", "--health-timeout=500ms",
        "--health-retries=5", "--health-start-period=1h", "--health-start-interval=1ms", "--health-action=restart",
        "alpine:3.10",
    )  # fmt: skip
    assert await check_of(engine) == HealthCheck(
        test=("CMD-SHELL", "wget -q localhost"), interval=90.0, timeout=0.5, retries=5, start_period=3600.0,
        start_interval=0.001, action="restart",
    )  # fmt: skip


async def test_the_check_of_the_image_is_inherited_changed_or_switched_off(engine: FakeEngine, prompt: Prompt) -> None:
    """What is not said is as the image says."""
    engine.images.add("b", "checked:1", Cmd=["sh"], Healthcheck={"Test": ["CMD", "true"], "Interval": 5 * SECOND})
    await prompt.ok("run", "-d", "checked:1")
    assert await check_of(engine) == HealthCheck(test=("CMD", "true"), interval=5.0)
    await prompt.ok("run", "-d", "--name", "other", "--health-retries", "9", "checked:1")
    changed = (await engine.container(await engine.resolve("other"))).settled.health
    assert changed == HealthCheck(test=("CMD", "true"), interval=5.0, retries=9)
    await prompt.ok("run", "-d", "--name", "none", "--no-healthcheck", "checked:1")
    assert (await engine.container(await engine.resolve("none"))).settled.health is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--no-healthcheck", "--health-cmd", "x"], "--no-healthcheck conflicts with --health-* options"),
        (["--no-healthcheck", "--health-retries", "3"], "--no-healthcheck conflicts with --health-* options"),
        (["--health-cmd", "x", "--health-interval", "-1s"], "--health-interval cannot be negative"),
        (["--health-cmd", "x", "--health-timeout", "999us"], "--health-timeout cannot be less than 1ms"),
        (["--health-cmd", "x", "--health-retries", "-1"], "--health-retries cannot be negative"),
        (["--health-cmd", "x", "--health-interval", "5"], 'invalid argument "5" for "--health-interval" flag'),
        (["--health-cmd", "x", "--health-retries", "many"], 'invalid argument "many" for "--health-retries" flag'),
        (["--health-cmd", "x", "--health-action", "pray"], "invalid health action 'pray'"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "create"])
async def test_what_cannot_be_meant_is_refused(prompt: Prompt, verb: str, options: list[str], told: str) -> None:
    """With status 125, before anything is written down."""
    answer = await prompt(verb, *options, "alpine:3.10")
    assert (answer.status, answer.out) == (125, "")
    assert told in answer.err
    assert (await prompt.ok("ps", "-aq")).out == ""


async def test_ps_shows_the_health_of_what_runs(engine: FakeEngine, prompt: Prompt) -> None:
    """In the words that scripts match."""
    await prompt.ok("run", "-d", "--name", "web", "--health-cmd", "x", "alpine:3.10")
    await prompt.ok("run", "-d", "--name", "db", "alpine:3.10")

    async def status() -> str:
        return (await prompt.ok("ps", "-f", "name=web", "--format", "{{.Status}}")).out.rstrip("\n")

    assert (await status()).endswith(" (health: starting)")
    await find(engine, "healthy")
    assert (await status()).endswith(" (healthy)")
    assert "(healthy)" in (await prompt.ok("ps")).out
    await find(engine, "unhealthy", 1)
    assert (await status()).endswith(" (unhealthy)")
    names = ("--format", "{{.Names}}")
    assert (await prompt.ok("ps", "-f", "health=unhealthy", *names)).lines == ["web"]
    assert (await prompt.ok("ps", "-f", "health=none", *names)).lines == ["db"]
    assert (await prompt.ok("ps", "-f", "health=healthy", *names)).lines == []
    await prompt.ok("pause", "web")
    assert (await status()).endswith(" (Paused)")
    await prompt.ok("unpause", "web")
    await prompt.ok("stop", "web")
    assert (await prompt.ok("ps", "-a", "-f", "health=unhealthy", *names)).lines == ["web"]


async def test_inspect_shows_the_check_and_its_last_results(engine: FakeEngine, prompt: Prompt) -> None:
    """With the keys that scripts read."""
    await prompt.ok("create", "--name", "web", "--health-cmd", "x", "--health-interval", "5s", "alpine:3.10")
    assert (await prompt.ok("inspect", "-f", "{{json .State.Health}}", "web")).out == "null\n"
    check = json.loads((await prompt.ok("inspect", "-f", "{{json .Config.Healthcheck}}", "web")).out)
    assert (check["Test"], check["Interval"], check["Retries"]) == (["CMD-SHELL", "x"], 5 * SECOND, 3)
    await prompt.ok("start", "web")
    assert (await prompt.ok("inspect", "-f", "{{.State.Health.Status}}", "web")).out == "starting\n"
    await find(engine, "unhealthy", 1)
    health = json.loads((await prompt.ok("inspect", "-f", "{{json .State.Health}}", "web")).out)
    assert (health["Status"], health["FailingStreak"]) == ("unhealthy", 3)
    assert health["Log"] == [
        {"Start": "2025-11-25T16:16:02Z", "End": "2025-11-25T16:16:03Z", "ExitCode": 1, "Output": "hm"}
    ]


async def test_a_change_of_health_is_an_event(engine: FakeEngine, prompt: Prompt) -> None:
    """`health_status: unhealthy`, and the filter takes it with and without the word behind the colon."""
    await prompt.ok("run", "-d", "--name", "web", "--health-cmd", "x", "alpine:3.10")
    await find(engine, "unhealthy", 1)
    for wanted in ("health_status", "health_status: unhealthy"):
        told = await prompt.ok("events", "--since", "0", "--until", "0s", "-f", f"event={wanted}")
        assert len(told.lines) == 1
        assert "container health_status: unhealthy" in told.out
