"""What is measured, in the order of the report: one file per question, each with `measure(bench) -> rows`."""

from collections.abc import Callable

from bench.cases import (
    append,
    building,
    copying,
    crash,
    echo,
    executing,
    gateway,
    lifecycle,
    listing,
    logs,
    memory,
    networks,
    parallel,
    rebuild,
    registry,
    run,
    throughput,
)
from bench.report import Row
from bench.setting import Setting

CASES: dict[str, Callable[[Setting], list[Row]]] = {
    "run": run.measure,
    "parallel": parallel.measure,
    "lifecycle": lifecycle.measure,
    "exec": executing.measure,
    "echo": echo.measure,
    "throughput": throughput.measure,
    "logs": logs.measure,
    "copying": copying.measure,
    "building": building.measure,
    "registry": registry.measure,
    "listing": listing.measure,
    "networks": networks.measure,
    "gateway": gateway.measure,
    "append": append.measure,
    "rebuild": rebuild.measure,
    "memory": memory.measure,
    "crash": crash.measure,
}
