"""Loading and reloading: the last good generation serves, whatever is written into the files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.controlled import BAD, answer, answering, ask, serve, write

from gateway.config import ConfigError
from gateway.control import Control, Outcome, State
from gateway.control import build as building
from gateway.http.request import Request


def test_the_first_load_makes_generation_one(file: Path) -> None:
    """It serves before anything is started; readiness comes with the start."""

    async def main() -> None:
        control = Control(file, watch=False)
        before = control.generation
        control.load_first()
        assert (before, control.generation, answer(control)) == (0, 1, b"one")
        assert control.state is State.STARTING
        await control.start()
        assert control.state is State.READY
        await control.stop()
        assert control.state is State.DRAINING

    asyncio.run(main())


def test_a_bad_first_file_raises_what_check_prints(file: Path) -> None:
    """Position, code and message; nothing serves."""
    file.write_text(BAD)
    control = Control(file)
    with pytest.raises(ConfigError, match=r"routes.yaml:4:8 +error GW") as caught:
        control.load_first()

    assert control.findings == caught.value.findings
    assert (control.generation, control.counts.errors) == (0, 1)


def test_a_missing_first_file_is_a_finding(tmp_path: Path) -> None:
    """Not a traceback."""
    with pytest.raises(ConfigError, match="GW001"):
        Control(tmp_path / "none.yaml").load_first()


def test_a_changed_file_is_applied(file: Path) -> None:
    """The next request obeys; the generation counts up."""

    async def play(control: Control) -> None:
        write(file, answering("two"))
        result = await control.reload("test")
        assert (result.outcome, result.generation, result.reason) == (Outcome.APPLIED, 2, "test")
        assert (control.generation, answer(control)) == (2, b"two")
        assert control.last == result

    serve(file, play)


def test_a_request_keeps_the_generation_it_began_with(file: Path) -> None:
    """Routes, clusters and endpoints of the old snapshot go on working after two reloads."""

    async def play(control: Control) -> None:
        held = control.snapshot
        clusters = dict(held.clusters)
        for word in ("two", "three"):
            write(file, answering(word))
            await control.reload()
        assert (ask(held), answer(control), held.generation) == (b"one", b"three", 1)
        assert dict(held.clusters) == clusters

    serve(file, play)


def test_endpoints_outlive_a_reload(file: Path) -> None:
    """Their connections and counters do with them."""

    async def play(control: Control) -> None:
        (before,) = {e for c in control.snapshot.clusters.values() for e in c.endpoints}
        write(file, answering("two"))
        await control.reload()
        (after,) = {e for c in control.snapshot.clusters.values() for e in c.endpoints}
        assert before is after

    serve(file, play)


def test_unchanged_files_change_nothing(file: Path) -> None:
    """The same content, written anew, is no generation."""

    async def play(control: Control) -> None:
        snapshot = control.snapshot
        write(file, answering("one"))
        result = await control.reload()
        assert (result.outcome, result.generation) == (Outcome.UNCHANGED, 1)
        assert control.snapshot is snapshot

    serve(file, play)


def test_a_bad_file_changes_nothing_and_says_why(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The same snapshot serves; findings, counters and log tell what is wrong and where."""

    async def play(control: Control) -> None:
        snapshot = control.snapshot
        write(file, BAD)
        result = await control.reload()
        assert (result.outcome, result.generation) == (Outcome.REFUSED, 1)
        assert control.snapshot is snapshot
        assert any(finding.fatal and finding.line == 4 for finding in control.findings)
        assert control.counts.errors == 1
        assert "routes.yaml:4:8" in (control.counts.last_error or "")
        assert "routes.yaml:4:8" in caplog.text

    serve(file, play)


def test_the_log_names_the_worst_fifty(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A thousand mistakes are one record of bearable length, with the errors before the warnings."""
    many = "".join(f"{BAD.replace('name: a', f'name: a{number}')}---\n" for number in range(60))
    warning = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\n"

    async def play(control: Control) -> None:
        write(file, warning + many)
        result = await control.reload()
        (record,) = [item for item in caplog.records if item.levelname == "ERROR"]
        told = record.getMessage()
        assert told.count(" error GW") == 50
        assert "ConfigMap" not in told
        assert f"and {len(result.findings) - 50} more" in told

    serve(file, play)


def test_a_reload_tells_only_what_is_new(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was said before is counted, also where it stands on another line now."""
    unknown = "apiVersion: v1\nkind: %s\nmetadata: {name: c}\n---\n"

    async def play(control: Control) -> None:
        for text, expected in (
            (unknown % "ConfigMap", ["ConfigMap"]),
            ("# a comment\n" + unknown % "ConfigMap", []),
            (unknown % "Secret" + unknown % "ConfigMap", ["Secret", "and 1 as before"]),
            ("", []),
            (unknown % "ConfigMap", ["ConfigMap"]),
        ):
            caplog.clear()
            write(file, text + answering("two"))
            await control.reload()
            told = [item.getMessage() for item in caplog.records if item.levelname == "WARNING"]
            assert len(told) == (1 if expected else 0)
            assert all(word in told[0] for word in expected)
            assert ("ConfigMap" in "".join(told)) == ("ConfigMap" in expected)

    serve(file, play)


def test_going_back_to_what_serves_ends_the_complaint(file: Path) -> None:
    """After a bad edit is undone, nothing is wrong and nothing was replaced."""

    async def play(control: Control) -> None:
        write(file, BAD)
        await control.reload()
        write(file, answering("one"))
        result = await control.reload()
        assert (result.outcome, control.refused, control.generation) == (Outcome.UNCHANGED, False, 1)
        assert not any(finding.fatal for finding in control.findings)

    serve(file, play)


def test_what_takes_a_restart_is_said(file: Path) -> None:
    """The rest is applied; going back to what is open ends the warning."""
    moved = """\
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: here}
spec:
  listen: 127.0.0.1:9999
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers:
  - port: {number: 8081, name: http, protocol: HTTP}
    hosts: ["*"]
---
"""

    async def play(control: Control) -> None:
        write(file, moved + answering("two"))
        result = await control.reload()
        said = [(item.line, item.message) for item in result.findings if item.code == "GW198"]
        assert (result.outcome, answer(control)) == (Outcome.APPLIED, b"two")
        assert [line for line, _ in said] == [5, 12]
        assert "127.0.0.1:9999" in said[0][1]
        assert "8081" in said[1][1]
        write(file, answering("three"))
        result = await control.reload()
        assert not [item for item in result.findings if item.code == "GW198"]

    serve(file, play)


class Ports:
    """A server's, of which the test decides what opens."""

    def __init__(self, failed: dict[int, str]) -> None:
        self.failed, self.told = failed, ""

    def open(self, _: object) -> dict[int, str]:
        self.told += "open "
        return self.failed

    async def admit(self) -> None:
        self.told += "admit "


def test_where_ports_can_be_opened_only_what_fails_is_said(file: Path) -> None:
    """And again at the next reload, which tries again."""
    server = "  - {port: {number: %d, name: http-%d, protocol: HTTP}, hosts: ['*']}\n"
    head = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge}\nspec:\n  servers:\n"

    async def play(control: Control) -> None:
        ports = control.ports = Ports({8082: "taken"})
        document = head + server % (8081, 8081) + server % (8082, 8082) + "---\n"
        for word, expected in (("two", [(7, "taken")]), ("three", [])):
            write(file, document + answering(word))
            result = await control.reload()
            said = [(item.line, item.message) for item in result.findings if item.code == "GW198"]
            assert (said, answer(control)) == (expected, word.encode())
            ports.failed = {}
        assert ports.told == "open admit open admit "

    serve(file, play)


def test_a_port_that_a_reload_closes_serves_no_other_ports_routes(file: Path) -> None:
    """It stays open until the next start; only a port that was never a Gateway's gets the only one's routes."""

    def edge(*ports: int) -> str:
        servers = "".join(
            f"\n  - {{port: {{number: {port}, name: http-{port}, protocol: HTTP}}, hosts: ['*']}}"
            for port in ports
        )
        return f"""\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  servers:{servers}
---
"""

    file.write_text(edge(8081, 8082) + answering("one"))

    async def play(control: Control) -> None:
        assert [control.snapshot.listener(port).name for port in (8081, 8082, 9)] == [
            "http.8081",
            "http.8082",
            "mesh",
        ]
        write(file, edge(8081) + answering("one"))
        await control.reload()
        asked = Request("GET", "http", b"reviews", "reviews", b"/", b"", [])
        assert control.snapshot.listener(8082).match(asked) is None
        assert control.snapshot.listener(8081).match(asked) is not None
        assert control.snapshot.listener(9) is control.snapshot.listener(8081)

    serve(file, play)


def test_a_file_that_cannot_be_read_refuses_all(tmp_path: Path) -> None:
    """A file beside good ones that is too large was meant to count."""
    (tmp_path / "a.yaml").write_text(answering("one"))

    async def play(control: Control) -> None:
        (tmp_path / "b.yaml").write_text("#" * (1024 * 1024 + 1))
        result = await control.reload()
        assert (result.outcome, answer(control)) == (Outcome.REFUSED, b"one")
        assert [finding.code for finding in result.findings if finding.fatal] == ["GW003"]

    serve(tmp_path, play)


def test_a_watch_does_not_repeat_itself(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Other files in the directory stir all the time; the same bad content is told once, unless asked for."""

    async def play(control: Control) -> None:
        write(file, BAD)
        told = [await control.reload("watch") for _ in range(3)]
        assert told[0] is told[1] is told[2]
        assert (control.counts.errors, caplog.text.count("refused")) == (1, 1)
        await control.reload("admin")
        assert control.counts.errors == 2

    serve(file, play)


def test_a_look_that_finds_nothing_is_no_news(file: Path) -> None:
    """The last attempt that meant something stays visible."""

    async def play(control: Control) -> None:
        write(file, answering("two"))
        applied = await control.reload("admin")
        await control.reload("watch")
        assert control.last is applied

    serve(file, play)


def test_a_mistake_of_ours_refuses_too(file: Path, monkeypatch, caplog: pytest.LogCaptureFixture) -> None:
    """An exception while compiling is a finding, with the traceback in the log; traffic goes on."""

    def fail(*_arguments: object, **_named: object) -> None:
        raise ZeroDivisionError("whoops")

    async def play(control: Control) -> None:
        monkeypatch.setattr(building, "compile_snapshot", fail)
        write(file, answering("two"))
        result = await control.reload()
        assert (result.outcome, answer(control)) == (Outcome.REFUSED, b"one")
        assert [(f.code, "whoops" in f.message) for f in result.findings if f.fatal] == [("GW199", True)]
        assert "Traceback" in caplog.text

    serve(file, play)
