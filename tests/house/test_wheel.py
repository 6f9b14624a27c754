"""What is in the tree is in the wheel, below one package, and nothing else is."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.house.tree import ROOT, files, packages

RENAMED = {"workers.launcher": "lading_engine"}


def _project() -> dict[str, dict[str, dict[str, object]]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _installed_name(package: str) -> str:
    return RENAMED.get(package, f"lading_engine.{package}")


def test_every_package_of_the_tree_is_listed() -> None:
    """setuptools takes only what pyproject.toml names: a forgotten folder would be missing on every other machine."""
    expected = sorted(_installed_name(name) for name in packages())
    assert sorted(_project()["tool"]["setuptools"]["packages"]) == expected  # type: ignore[call-overload]


def test_every_package_has_an_init_file() -> None:
    """Without it a folder is a namespace package, which anyone on the path may extend."""
    assert [name for name, folder in packages().items() if not (folder / "__init__.py").exists()] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built from a copy, without the network and without build isolation."""
    source = tmp_path_factory.mktemp("source")
    for path in files():
        relative = path.relative_to(ROOT)
        if relative.parts[0] not in ("tests", "bench", "docs"):
            (source / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, source / relative)
    target = tmp_path_factory.mktemp("wheel")
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(target)!r})"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(target.glob("*.whl"))


@pytest.mark.slow
def test_every_file_of_the_rooms_is_in_the_wheel(wheel: Path) -> None:
    """Modules and data files alike: what is read at run time must be there."""
    expected = set()
    for path in files():
        relative = path.relative_to(ROOT)
        if relative.parts[:2] == ("workers", "launcher"):
            expected.add("/".join(("lading_engine", *relative.parts[2:])))
        elif relative.parts[0] in ("domain", "adapters", "workers", "migrations"):
            expected.add("/".join(("lading_engine", *relative.parts)))
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected


@pytest.mark.slow
def test_every_module_of_the_wheel_can_be_imported_where_it_was_unpacked(wheel: Path, tmp_path: Path) -> None:
    """A name that only a checkout has is found here, before somebody installs it."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
        names = [name for name in archive.namelist() if name.endswith(".py") and "/migrations/" not in name]
    modules = sorted(name[:-3].replace("/", ".").removesuffix(".__init__") for name in names)
    inside = [name.removeprefix("lading_engine.") for name in modules if not name.endswith("__main__")]
    program = f"""if True:
        import importlib, sys
        sys.path.insert(0, {str(tmp_path)!r})
        import lading_engine
        assert lading_engine.root() == {str(tmp_path / "lading_engine")!r}
        sys.path.insert(0, lading_engine.root())
        for name in {inside!r}:
            room = name.partition(".")[0] in ("domain", "adapters", "workers")
            importlib.import_module(name if room or name == "lading_engine" else "lading_engine." + name)
        """
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_wheel_lays_nothing_open_in_site_packages(wheel: Path) -> None:
    """`domain` and `adapters` are names that other distributions use, too."""
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lading_engine"}


@pytest.mark.slow
def test_the_wheel_holds_the_licence(wheel: Path) -> None:
    """Apache-2.0 asks that every copy comes with it."""
    assert [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/LICENSE")] != []
