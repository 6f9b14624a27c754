"""Whether log, rows and kernel say the same, and whether anything is there that no event explains."""

from tests.tutorial.engine import Engine, alive, until

RUNS = {"running", "paused"}
SETTLED = {"created", "running", "paused", "exited", "restarting"}


def settled(engine: Engine, seconds: float = 30.0) -> None:
    """Wait until nothing is under way any more (a container that waits for its next try is at rest)."""
    until(lambda: not unsettled(engine), f"everything comes to rest: {unsettled(engine)}", seconds, pause=0.05)


def unsettled(engine: Engine) -> list[str]:
    """Containers between two states, and what the log says is to be done."""
    moving = [f"{row['id'][:12]} is {row['state']}" for row in engine.rows().values() if row["state"] not in SETTLED]
    scheduled = sum(row["state"] == "restarting" for row in engine.rows().values())
    intents = engine.open_intents() - scheduled
    return moving + ([f"{intents} open intents"] if intents > 0 else [])


def contradictions(engine: Engine) -> list[str]:
    """Log against rows, rows against kernel, kernel and files against the log."""
    done = engine.cli("audit", "verify", timeout=60)
    found = [] if done.code == 0 else [f"audit verify: {done.out}{done.err}"]
    rows, groups = engine.rows(), engine.groups()
    found += _rows_against_kernel(engine, rows, groups)
    found += _files(engine, set(rows))
    found += [f"mount {line}" for line in engine.mounts()]
    return found


def _rows_against_kernel(engine: Engine, rows: dict[str, dict[str, object]], groups: dict[str, set[int]]) -> list[str]:
    found = []
    by_id: dict[str, dict[int, set[int]]] = {}
    for name, pids in groups.items():
        id, _, attempt = name.partition(".")
        by_id.setdefault(id, {})[int(attempt)] = pids
    for id, row in rows.items():
        mine = by_id.pop(id, {})
        lives = row["state"] in RUNS
        pid = int(str(row["pid"])) if lives else 0
        if lives and not any(pid in pids for pids in mine.values()):
            found.append(f"{id[:12]} is {row['state']} with pid {pid}, its groups hold {mine}")
        if lives and len(mine) != 1:
            found.append(f"{id[:12]} has {len(mine)} attempts in the kernel")
        if not lives and mine:
            found.append(f"{id[:12]} is {row['state']} and has control groups: {mine}")
    found += [f"a control group of nobody: {id[:12]} {attempts}" for id, attempts in by_id.items()]
    living = {id for id, row in rows.items() if row["state"] in RUNS}
    found += [f"a process of nobody: {pid} in {group}" for pid, group in engine.processes().contained.items()
              if group.partition(".")[0] not in living and alive(pid)]
    return found


def _files(engine: Engine, ids: set[str]) -> list[str]:
    known = {str(key) for (key,) in engine.select("SELECT key FROM streams WHERE kind = 'container'")}
    found = []
    for path in sorted(engine.ruled_paths()):
        folder, _, name = path.rpartition("/")
        allowed = ids if folder == "containers" else known if folder == "logs" else set()
        if name not in allowed:
            found.append(f"a file of nobody: {path}")
    return found
