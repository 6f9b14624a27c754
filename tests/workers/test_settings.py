"""Configuration: what wins over what, and what is refused."""

from pathlib import Path

import pytest

from domain.errors import InvalidValue
from workers.settings import BusUser, host_token, read_settings


def _config(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return {"LADING_CONFIG": str(path), "LADING_HOST_NAME": "h"}


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A person at the terminal may try something without editing the machine's file."""
    environ = _config(tmp_path, 'data_root = "/a"\nrun_dir = "/b"\n') | {"LADING_DATA_ROOT": "/c"}
    settings = read_settings(environ)
    assert (settings.data_root, settings.run_dir) == (Path("/c"), Path("/b"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('dataroot = "/a"', "dataroot"),
        ("data_root = 3", "data_root"),
        ('data_root = "relative"', "relative"),
        ('userns = "keep"', "keep"),
        ('userns_ids = "1000"', "1000"),
        ('userns_ids = "0:65536"', "0:65536"),
        ('userns_ids = "100000:1000"', "100000:1000"),
        ('userns_ids = "4294901760:65536"', "4294901760:65536"),
        ('userns_ids = "a:b"', "a:b"),
        ('access_log = "some"', "some"),
        ("= broken", "cannot be read"),
        ('nats_users = "x"', "nats_users"),
        ('[nats_users.ann]\npassword = "short"', "password"),
        ('[nats_users.ann]\npassword = "long enough"\nrole = "king"', "role"),
    ],
)
def test_a_wrong_file_is_refused_with_the_culprit_and_without_passwords(tmp_path: Path, text: str, named: str) -> None:
    """A typo must not silently leave a setting at its default."""
    with pytest.raises(InvalidValue) as refused:
        read_settings(_config(tmp_path, text))
    assert named in refused.value.message
    assert "short" not in refused.value.message


def test_users_of_the_bus_are_tables(tmp_path: Path) -> None:
    """Name, password and role."""
    text = '[nats_users.ann]\npassword = "long enough"\nrole = "operator"\n'
    assert read_settings(_config(tmp_path, text)).nats_users == (
        BusUser(name="ann", password="long enough", role="operator"),
    )


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    """The default one may be missing, one that was asked for may not."""
    with pytest.raises(InvalidValue, match="does not exist"):
        read_settings({"LADING_CONFIG": str(tmp_path / "none.toml")})


def test_a_host_name_becomes_one_token_of_a_subject() -> None:
    """Dots would make levels of it."""
    assert host_token("Web-1.example.org") == "web-1-example-org"
    assert host_token("") == "localhost"
