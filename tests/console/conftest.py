"""Fixtures of the console's tests: a gateway with traffic behind it, and a browser in front."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from console.chromium import Browser, Tab, find
from console.live import Live


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The gateway."""
    live = Live(tmp_path_factory.mktemp("console"))
    yield live
    live.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; skipped where there is none."""
    program = find()
    if program is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium; or name one with CHROMIUM=)")
    with Browser(program) as browser:
        yield browser


@pytest.fixture(scope="module")
def laptop(browser: Browser) -> Iterator[Tab]:
    """The tab behind `wide`: to open one takes longer than most tests."""
    with browser.tab(1280, 860) as tab:
        yield tab


@pytest.fixture(scope="module")
def telephone(browser: Browser) -> Iterator[Tab]:
    """The tab behind `narrow`."""
    with browser.tab(390, 844) as tab:
        yield tab


@pytest.fixture
def wide(laptop: Tab) -> Tab:
    """A tab of a laptop, as new."""
    laptop.forget()
    return laptop


@pytest.fixture
def narrow(telephone: Tab) -> Tab:
    """A tab of a telephone, as new."""
    telephone.forget()
    return telephone
