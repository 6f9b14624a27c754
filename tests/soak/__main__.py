"""`python -m tests.soak [--minutes N] [--at-once N] [--only NAME] [--seed N] [--kill ROLE] [--far]`: one engine, and
the cases in turn until the time is over. The exit status is 1 when something was found."""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

from tests.adapters.gateway.test_tls import signed
from tests.soak.cases import CASES as SPOKEN
from tests.soak.deaths import DEATHS
from tests.soak.raw import RAW_CASES, refused_upload_is_told_why
from tests.soak.world import Fault, World, place
from tests.tutorial.engine import ROOT, Engine, until
from tests.tutorial.test_external_server import Operator

_SHOWN = 5
CASES = {**DEATHS, **SPOKEN, "refused_upload_is_told_why": refused_upload_is_told_why, **RAW_CASES}


class Soak:
    """Runs cases in some threads and counts."""

    def __init__(self, world: World, names: list[str], seed: int, until: float) -> None:
        self._world, self._seed, self._until = world, seed, until
        once = RAW_CASES.keys() | DEATHS.keys()
        self._pairs = [(name, tool) for name in names for tool in world.tools[:1 if name in once else None]]
        self._next = 0
        self._lock = threading.Lock()
        self.runs: Counter[str] = Counter()
        self.faults: dict[str, list[str]] = {}

    def work(self) -> None:
        """Until the time is over."""
        while time.monotonic() < self._until:
            with self._lock:
                number = self._next
                self._next += 1
            name, tool = self._pairs[number % len(self._pairs)]
            what = f"{name} by {tool.name}"
            try:
                CASES[name](self._world, tool, Random(f"{self._seed}/{number}"))
            except Exception as error:  # whatever it is, it belongs to the case and not to the soak
                text = str(error) if isinstance(error, Fault) else f"{type(error).__name__}: {error}{place(error)}"
                with self._lock:
                    self.faults.setdefault(what, []).append(f"{time.strftime('%T')} run {number}: {text}")
                print(f"FAULT {what} run {number}: {text}", flush=True)
            with self._lock:
                self.runs[what] += 1

    def kill(self, roles: list[str]) -> None:
        """Until the time is over; never a second one before the first was replaced, for then what runs is lost."""
        chance, engine = Random(self._seed), self._world.engine
        while time.monotonic() < self._until:
            until(lambda: all(engine.processes()[role] for role in ("keeper", "warden", "zygote")), "all are back", 60)
            engine.ok("exec", self._world.box, "true", timeout=60)
            time.sleep(1 + 2 * chance.random())
            engine.kill(chance.choice(roles))
            self.runs["killed"] += 1

    def report(self) -> bool:
        """Print it; whether something was found."""
        for what, count in sorted(self.runs.items()):
            faults = self.faults.get(what, [])
            print(f"{what:60} {count:6} runs {len(faults):5} faults")
            for fault in faults[:_SHOWN]:
                print(f"    {fault}")
        return bool(self.faults)


def _base_image(folder: Path) -> str:
    program = subprocess.run([str(ROOT / ".ci/busybox")], capture_output=True, text=True, check=True).stdout.strip()
    target = str(folder / "busybox.tar")
    subprocess.run([sys.executable, "-I", str(ROOT / ".ci/base_image.py"), program, target], check=True)
    return target


def _bus(engine: Engine) -> Operator:
    """One that others could reach, for this engine."""
    operator = Operator(engine)
    operator.start()
    credentials = engine.folder / "credentials.json"
    credentials.write_text(json.dumps({"daemon": {"user": "engine", "password": "a long password"}}))
    credentials.chmod(0o600)
    engine.configure(f'nats_url = "nats://127.0.0.1:{operator.port}"\nnats_credentials = "{credentials}"\n')
    return operator


def _certified(engine: Engine) -> int:
    """The port at which the engine will serve clients with certificates."""
    folder = engine.folder / "certificates"
    folder.mkdir()
    for name, by in (("authority", "authority"), ("server", "authority"), ("ann", "authority")):
        signed(folder, name, by)
    for name, theirs in (("authority.pem", "ca.pem"), ("ann.pem", "cert.pem"), ("ann.key", "key.pem")):
        (folder / theirs).write_bytes((folder / name).read_bytes())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    engine.configure(
        f'gateway_listen = "127.0.0.1:{port}"\ngateway_certificate = "{folder}/server.pem"\n'
        f'gateway_key = "{folder}/server.key"\ngateway_authority = "{folder}/authority.pem"\n'
    )
    return port


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--only", action="append", default=[], help="a part of a case's name; may be repeated")
    parser.add_argument("--seed", type=int, default=time.time_ns())
    parser.add_argument("--far", action="store_true", help="only our own client, as from another host, over the bus")
    parser.add_argument("--deaths", action="store_true", help="only cases in which the daemon or a helper is killed")
    parser.add_argument("--tls", action="store_true", help="only docker's client, with certificates")
    parser.add_argument("--kill", action="append", default=[], choices=("warden", "keeper", "zygote", "net"),
                        help="kill that process every few seconds: nobody may notice; may be repeated")
    given = parser.parse_args()
    names = [name for name in CASES if given.deaths is (name in DEATHS)]
    names = [name for name in names if not given.only or any(part in name for part in given.only)]
    engine = Engine(Path(tempfile.mkdtemp(prefix="soak-", dir="/var/tmp")))
    operator = _bus(engine) if given.far else None
    port = _certified(engine) if given.tls else 0
    try:
        engine.start()
        engine.ok("import", "--change", 'CMD ["sh"]', _base_image(engine.folder), "busybox:latest")
        gateway = Path(engine.ok("gateway", "start"))
        box = engine.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000000")
        world = World(engine, operator.port if operator else 0, gateway, box)
        if port:
            secured = {"DOCKER_HOST": f"tcp://127.0.0.1:{port}", "DOCKER_TLS_VERIFY": "1",
                       "DOCKER_CERT_PATH": str(engine.folder / "certificates")}
            world.tools = [replace(tool, environment={**tool.environment, **secured}) for tool in world.tools[1:]]
        world.moment = 5.0 if given.kill else world.moment
        soak = Soak(world, names, given.seed, time.monotonic() + given.minutes * 60)
        workers = [threading.Thread(target=soak.work) for _ in range(1 if given.deaths else given.at_once)]
        workers += [threading.Thread(target=soak.kill, args=(given.kill,))] if given.kill else []
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print(f"seed {given.seed}")
        found = soak.report()
        (Path(tempfile.gettempdir()) / "soak-daemon.log").write_text(engine.said())
    finally:
        left = engine.close()
        if operator is not None:
            operator.kill()
    print("\n".join(left), end="")
    return 1 if found or left else 0


if __name__ == "__main__":
    sys.exit(main())
