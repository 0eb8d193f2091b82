"""Every page in a real Chromium: it shows what happens, complains of nothing, and can be used by everybody."""

from __future__ import annotations

import pytest
from console.chromium import Browser, Tab
from console.live import EVIL, SECRET, Live
from console.pages import CONTRAST, WELL_MADE, show

PAGES = {
    "overview": "Busiest routes",
    "graph": "reviews v1",
    "routes": "split",
    "clusters": "Endpoint",
    "requests": "/ok/",
    "traces": "sampled",
    "rejected": "bad_host",
    "identities": "Certificates",
    "configuration": "generation 1",
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_live_data_without_a_complaint(wide: Tab, live: Live, page: str) -> None:
    """No error, no warning, nothing that the policy of the page refused."""
    show(wide, live, page)

    wide.wait(f"document.querySelector('main').innerText.includes({PAGES[page]!r})")
    assert wide.run(WELL_MADE) == []
    assert wide.run("document.title").endswith("- asgi-gateway")
    assert wide.run("document.body.innerText.match(/\\b(?:null|undefined|NaN)\\b|\\[object/)") is None
    assert wide.complaints == []


@pytest.mark.parametrize("page", [*PAGES, "requests?id="])
def test_a_telephone_need_not_scroll_sideways(narrow: Tab, live: Live, page: str) -> None:
    """390 pixels hold every page, a request in full as well."""
    if page.endswith("id="):
        page += live.stage.app.recorder.failed[0][0].request_id
    show(narrow, live, page)

    assert narrow.run("document.documentElement.scrollWidth <= innerWidth")
    assert narrow.run(WELL_MADE) == []
    assert narrow.complaints == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(wide: Tab, live: Live, dark: bool) -> None:
    """4.5 to 1 (WCAG 2.2 AA) in both themes, and the system chooses the theme."""
    wide.theme(dark=dark)
    for page in ("overview", "graph", "clusters", "requests", "rejected", "configuration"):
        show(wide, live, page)
        assert (page, wide.run(CONTRAST)) == (page, [])
    ground = wide.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(14, 19, 26)" if dark else "rgb(244, 246, 249)")


def test_the_chosen_theme_is_remembered(wide: Tab, live: Live) -> None:
    """Against the system's, and before the first paint of the next visit."""
    show(wide, live, "overview")
    wide.run("document.getElementById('theme').click()")
    assert wide.run("document.documentElement.dataset.theme") == "dark"

    wide.send("Page.reload")
    wide.wait("document.documentElement.dataset.theme === 'dark' && document.querySelector('.page')")
    assert wide.run("getComputedStyle(document.body).backgroundColor") == "rgb(14, 19, 26)"


def test_every_page_is_reached_with_the_keyboard(wide: Tab, live: Live) -> None:
    """The skip link is first, links follow in order, and the focus goes to the heading of the new page."""
    show(wide, live, "overview")
    wide.press("Tab")
    assert wide.run("document.activeElement.id") == "skip"
    assert wide.run("document.activeElement.getBoundingClientRect().top >= 0")
    wide.press("Enter")
    assert wide.run("document.activeElement.id") == "main"

    wide.run("document.querySelector('#links a').focus()")
    wide.press("Tab")
    assert wide.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    wide.press("Enter")
    wide.wait("document.querySelector('.page[data-key=graph]:not([aria-busy])')")
    assert wide.run("document.activeElement.id") == "title"
    assert wide.run("document.querySelector('#links a[aria-current]').textContent") == "Graph"
    for _ in range(3):
        wide.press("Tab")
    assert wide.run("document.activeElement.classList.contains('node')")


def test_the_menu_of_a_telephone_opens_and_closes(narrow: Tab, live: Live) -> None:
    """A button that says whether it is open; choosing a page closes it."""
    show(narrow, live, "overview")
    assert not narrow.run("document.getElementById('nav').checkVisibility()")
    narrow.run("document.getElementById('menu').focus()")
    narrow.press("Enter")
    assert narrow.run("document.getElementById('nav').checkVisibility()")
    assert narrow.run("document.getElementById('menu').ariaExpanded") == "true"
    narrow.press("Tab")
    narrow.press("Tab")
    narrow.press("Tab")
    narrow.press("Enter")
    assert narrow.run("document.getElementById('menu').ariaExpanded") == "false"


def test_planted_markup_stays_text(wide: Tab, live: Live) -> None:
    """A path, a header, a route's name, a file's name and rejected bytes that would run if they were HTML."""
    request_id = next(
        exchange.request_id
        for exchange, _ in live.stage.app.recorder.recent
        if b"x-evil" in exchange.request.header_map
    )
    seen = ""
    for page in (*PAGES, f"requests?id={request_id}"):
        show(wide, live, page)
        seen += wide.run("document.querySelector('main').innerText")
        planted = "document.querySelectorAll('main script, main img, main iframe, main [onerror]').length"
        assert (page, wide.run(planted)) == (page, 0)
    assert wide.run("typeof boom") == "undefined"
    assert wide.complaints == []
    assert EVIL in seen
    assert "<script>boom()</script>" in seen
    assert SECRET not in seen


def test_inline_script_would_not_run(wide: Tab, live: Live) -> None:
    """Should markup ever get in, the policy still refuses to run it."""
    show(wide, live, "overview")
    wide.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    wide.wait("true")
    wide.run(
        "new Promise((done) => { const image = new Image(); image.onerror = done; image.src = '/nothing'; })"
    )
    assert wide.run("window.ran === undefined")


def test_a_request_tells_why_it_failed(wide: Tab, live: Live) -> None:
    """From the filter to the one request: cause, attempts over time, the route and what it lost on."""
    show(wide, live, "requests")
    wide.run("document.querySelector('[name=outcome]').value = 'failed'")
    wide.run("document.querySelector('[name=outcome]').dispatchEvent(new Event('change', { bubbles: true }))")
    wide.wait("[...document.querySelectorAll('tbody .code')].every((code) => code.textContent === '503')")
    assert wide.run("location.hash") == "#/requests?outcome=failed"

    wide.run("document.querySelector('tbody a').click()")
    wide.wait("document.querySelector('.why .cause')")
    text = wide.run("document.querySelector('main').innerText")
    assert "answered 503 itself" in text
    assert wide.run("document.querySelectorAll('.waterfall .wait').length") == 1 + 1  # the key, and the bar
    assert "split" in text


def test_an_unknown_request_is_said_to_be_unknown(wide: Tab, live: Live) -> None:
    """It may have been too long ago."""
    show(wide, live, "requests?id=nobody")

    assert "No request with this id" in wide.run("document.querySelector('main').innerText")


def test_what_is_typed_survives_fresh_data(wide: Tab, live: Live) -> None:
    """The field keeps focus, text and cursor while the page is drawn anew."""
    show(wide, live, "routes")
    wide.run("document.querySelector('[name=q]').focus()")
    wide.type("spl")
    wide.wait("document.querySelectorAll('tbody tr').length === 1")
    asked = wide.run("performance.getEntriesByType('resource').length")
    wide.wait(f"performance.getEntriesByType('resource').length > {asked}")

    assert wide.run("[document.activeElement.name, document.activeElement.value]") == ["q", "spl"]
    assert wide.run("document.activeElement.selectionStart") == 3


COUNT_TIMERS = """
    window.timers = new Set();
    const set = window.setTimeout, clear = window.clearTimeout;
    window.setTimeout = (work, delay, ...rest) => {
        const timer = set(() => { window.timers.delete(timer); work(); }, delay, ...rest);
        if (delay >= 1000) window.timers.add(timer);
        return timer;
    };
    window.clearTimeout = (timer) => { window.timers.delete(timer); clear(timer); };
"""


CHANGED = "document.dispatchEvent(new Event('visibilitychange'))"


@pytest.mark.parametrize(
    ("stop", "again"),
    [
        ("document.getElementById('pause').click()", "document.getElementById('pause').click()"),
        (
            f"Object.defineProperty(document, 'hidden', {{ value: true, configurable: true }}), {CHANGED}",
            f"delete document.hidden, {CHANGED}",
        ),
    ],
    ids=["paused", "hidden"],
)
def test_nobody_looks_nobody_asks(browser: Browser, live: Live, stop: str, again: str) -> None:
    """A paused or hidden console costs the gateway nothing; it asks at once when somebody looks again."""
    with browser.tab(1280, 860) as tab:
        tab.send("Page.addScriptToEvaluateOnNewDocument", source=COUNT_TIMERS)
        show(tab, live, "overview")
        tab.wait("timers.size === 1")

        tab.run(stop)
        assert tab.run("timers.size") == 0
        tab.run(again)
        tab.wait("timers.size === 1")


def test_a_gateway_that_ended_is_noticed(browser, tmp_path) -> None:
    """The page says so, and goes on asking."""
    live = Live(tmp_path)
    try:
        with browser.tab(1280, 860) as tab:
            show(tab, live, "overview")
            live.stop()
            tab.wait("document.querySelector('[role=alert]')")
            assert "does not answer" in tab.run("document.getElementById('announcer').textContent")
            assert tab.run("document.querySelector('.page') !== null")
    finally:
        live.stop()


TRACE = "0af7651916cd43dd8448eb211c80319c"
LINKS = "[...document.querySelectorAll('main .title a')].map((link) => [link.textContent, link.href])"


def test_pages_lead_to_the_tools_that_are_configured(
    wide: Tab, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that somebody named, and no others; a trace leads to itself. What is no web address is no link."""
    show(wide, live, "overview")
    assert wide.run(LINKS) == []

    for name, address in (
        ("GRAFANA", "https://grafana.example/d/asgi-gateway-traffic"),
        ("PROMETHEUS", "javascript:boom()"),
        ("JAEGER", "http://127.0.0.1:16686/"),
    ):
        monkeypatch.setenv(f"GATEWAY_{name}_URL", address)
    tools = [
        ["Grafana", "https://grafana.example/d/asgi-gateway-traffic"],
        ["Prometheus", ""],
        ["Jaeger", "http://127.0.0.1:16686/"],
    ]
    for page in ("overview", "requests", "traces"):
        show(wide, live, page)
        wide.wait(f"{LINKS}.length === 3")
        assert wide.run(LINKS) == tools
    traced = next(
        exchange.request_id
        for exchange, _ in live.stage.app.recorder.recent
        if b"traceparent" in exchange.request.header_map
    )
    for page in (f"traces?id={TRACE}", f"requests?id={traced}"):
        show(wide, live, page)
        wide.wait(f"{LINKS}.length === 1")
        assert wide.run(LINKS) == [["Open in Jaeger", f"http://127.0.0.1:16686/trace/{TRACE}"]]
    assert wide.run(f"document.querySelector('.facts a[href=\\'#/traces?id={TRACE}\\']') !== null")
    assert wide.run(WELL_MADE) == []
    assert wide.complaints == []


SEVERAL = """
(() => {
  const real = window.fetch;
  window.fetch = async (...asked) => {
    const told = await (await real(...asked)).json();
    const workers = [{ worker: 0 }, { worker: 1, silent: "no answer" }, { worker: 2, behind: true }];
    return new Response(JSON.stringify({ ...told, workers }));
  };
})()
"""


def test_the_head_of_a_page_names_workers_that_are_not_well(wide: Tab, live: Live) -> None:
    """How many there are, who is silent, who serves older files; of one worker, nothing."""
    show(wide, live, "routes")
    wide.wait("document.querySelector('#frame').innerText.includes('generation')")
    assert "worker" not in wide.run("document.querySelector('#frame').innerText")
    wide.run(SEVERAL)
    wide.wait("document.querySelector('#frame .bad')")

    words = wide.run("[...document.querySelectorAll('#frame > *')].map((part) => part.innerText)")
    assert words[2:5] == ["3 workers", "worker 1 silent", "worker 2 behind"]
    assert wide.complaints == []


def test_an_endpoint_that_fails_is_not_shown_as_well(wide: Tab, live: Live) -> None:
    """It is in rotation still, and every one of its last requests failed."""
    for _ in range(3):
        live.do(live.stage.ask("reviews", "/evil/fail"))
    show(wide, live, "clusters")

    wide.wait(
        "[...document.querySelectorAll('main .badge.bad')].some((badge) => badge.textContent === 'failing')"
    )
    assert "gets requests still" in wide.run("document.querySelector('main').innerText")
