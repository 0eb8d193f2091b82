"""What the console can change, in a real Chromium: it reloads, compares, and drains after a question."""

from __future__ import annotations

from console.chromium import Tab
from console.live import SECRET, Live
from console.pages import show


def test_a_reload_shows_what_changed_and_hides_secrets(wide: Tab, live: Live) -> None:
    """With the keyboard: the outcome is announced, and the difference is there at once."""
    show(wide, live, "configuration")
    text = live.config.read_text()
    live.config.write_text(text.replace("weight: 75", "weight: 60").replace("weight: 25", "weight: 40"))
    wide.run("document.querySelector('[data-do=reload]').focus()")
    wide.press("Enter")
    wide.wait("document.getElementById('announcer').textContent === 'Generation 2 serves.'")
    wide.wait("document.querySelector('.diff')")

    assert "-      weight: 75" in wide.run("document.querySelector('.diff').textContent")
    assert "+      weight: 60" in wide.run("document.querySelector('.diff').textContent")
    assert SECRET not in wide.run("document.documentElement.textContent")
    assert wide.run("document.activeElement.dataset.do") == "reload"
    assert live.stage.app.control.generation == 2

    live.config.write_text(text.replace("hosts: [reviews]", "hots: [reviews]", 1))
    wide.press("Enter")
    wide.wait("document.querySelector('.notice.bad + .findings')")
    assert "GW" in wide.run("document.querySelector('.findings').innerText")
    assert live.stage.app.control.generation == 2
    assert [text for text in wide.complaints if "422" not in text] == []


def test_draining_is_asked_twice(wide: Tab, live: Live) -> None:
    """The first press only explains; Cancel takes the focus, so a second Enter does no harm."""
    show(wide, live, "configuration")
    wide.run("document.querySelector('[data-do=drain]').focus()")
    wide.press("Enter")
    wide.wait("document.activeElement.dataset.do === 'cancel'")
    wide.press("Enter")
    wide.wait("document.activeElement.dataset.do === 'drain'")
    assert str(live.stage.app.control.state) == "ready"

    wide.press("Enter")
    wide.run("document.querySelector('[data-do=drain-now]').click()")
    wide.wait("document.querySelector('#frame .badge').textContent === 'draining'")
    assert str(live.stage.app.control.state) == "draining"
