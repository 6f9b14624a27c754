"""How output is kept: what may be wished for, and what it means."""

import pytest

from domain.errors import InvalidValue
from domain.log_options import SPOOL, limits, log_config
from domain.logs import DEFAULT, Limits


@pytest.mark.parametrize(
    ("driver", "options", "expected"),
    [
        ("", {}, DEFAULT),
        ("local", {"max-size": "10m"}, Limits(10 << 20, 5)),
        ("json-file", {"max-size": "1.5k", "max-file": "3"}, Limits(1536, 3)),
        ("local", {"max-size": "1G", "max-file": "1"}, Limits(1 << 30, 1)),
        ("none", {}, SPOOL),
    ],
)
def test_options_become_limits(driver: str, options: dict[str, str], expected: Limits) -> None:
    """Without any, output is bounded as well; `local` is the driver if none is named."""
    config = log_config(driver, options)
    assert (config.driver, config.options) == (driver or "local", options)
    assert limits(config) == expected


@pytest.mark.parametrize(
    ("driver", "options", "complaint"),
    [
        ("syslog", {}, "no log driver named 'syslog' is registered"),
        ("local", {"max-sise": "1m"}, "unknown log opt 'max-sise' for local log driver"),
        ("none", {"max-size": "1m"}, "unknown log opt 'max-size' for none log driver"),
        *(("local", {"max-size": text}, f"invalid value for max-size: '{text}'")
          for text in ("", "x", "-1", "0", "1x", "9999999999999999999t", "m")),
        *(("json-file", {"max-file": text}, f"invalid value for max-file: '{text}'")
          for text in ("", "0", "-1", "1.5", "many", "1001", "٣")),
    ],
)
def test_a_wish_that_cannot_be_met_is_named(driver: str, options: dict[str, str], complaint: str) -> None:
    """With what may be wished for instead."""
    with pytest.raises(InvalidValue) as caught:
        log_config(driver, options)
    assert caught.value.message == complaint
    assert caught.value.hint
