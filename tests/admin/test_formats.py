"""Which format a scraper gets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admin.formats import wants_openmetrics

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; Version=1.0.0; Charset=UTF-8", True),
        (PROMETHEUS, True),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.5", True),
        ("text/plain;version=0.0.4;q=0.9,application/openmetrics-text;q=0.1", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=much", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text-like", False),
    ],
)
def test_openmetrics_is_for_those_who_name_it(accept: str, openmetrics: bool) -> None:
    """A browser, curl, and whoever likes text better get text."""
    assert wants_openmetrics(accept) is openmetrics


@given(st.text(alphabet='aplicton/ex-m;,q=.019* \t"\u00e9', max_size=60))
@settings(max_examples=200)
def test_no_header_is_an_error(accept: str) -> None:
    """Whatever somebody writes, there is an answer."""
    assert wants_openmetrics(accept) in {True, False}
