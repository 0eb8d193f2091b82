"""Trace context on the wire, and who decides what is sampled."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import FakeClock

from gateway.telemetry.scope import TraceChoice
from gateway.telemetry.tracing.context import (
    LONGEST_BAGGAGE,
    MOST_STATES,
    NAMES,
    Incoming,
    incoming,
    outgoing,
    replaced,
)
from gateway.telemetry.tracing.export import Export, wanted
from gateway.telemetry.tracing.sampling import FORCED_PER_SECOND, Sampler

TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
W3C = b"00-%032x-%016x-01" % (TRACE, SPAN)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], Incoming()),
        ([(b"traceparent", W3C)], Incoming(TRACE, SPAN, True, "w3c")),
        ([(b"traceparent", W3C[:-1] + b"2")], Incoming(TRACE, SPAN, False, "w3c")),
        ([(b"traceparent", b"cc" + W3C[2:] + b"-more")], Incoming(TRACE, SPAN, True, "w3c")),
        ([(b"traceparent", W3C + b"-more")], Incoming(broken=True)),
        ([(b"traceparent", b"ff" + W3C[2:])], Incoming(broken=True)),
        ([(b"traceparent", W3C.upper())], Incoming(broken=True)),
        ([(b"traceparent", b"00-%032x-%016x-01" % (0, SPAN))], Incoming(broken=True)),
        ([(b"traceparent", b"00-%032x-%016x-01" % (TRACE, 0))], Incoming(broken=True)),
        ([(b"traceparent", W3C), (b"traceparent", W3C)], Incoming(broken=True)),
        ([(b"traceparent", W3C), (b"b3", b"nonsense")], Incoming(TRACE, SPAN, True, "w3c")),
        ([(b"traceparent", b"x"), (b"b3", b"%032x-%016x-1" % (TRACE, SPAN))], Incoming(broken=True)),
        ([(b"b3", b"%032x-%016x-1" % (TRACE, SPAN))], Incoming(TRACE, SPAN, True, "b3")),
        ([(b"b3", b"%032x-%016x-d-%016x" % (TRACE, SPAN, 7))], Incoming(TRACE, SPAN, True, "b3")),
        ([(b"b3", b"%032x-%016x" % (TRACE, SPAN))], Incoming(TRACE, SPAN, None, "b3")),
        ([(b"b3", b"0")], Incoming(sampled=False, style="b3")),
        ([(b"b3", b"%032x" % TRACE)], Incoming(broken=True)),
        (
            [
                (b"x-b3-traceid", b"%016x" % SPAN),
                (b"x-b3-spanid", b"%016x" % SPAN),
                (b"x-b3-sampled", b"true"),
            ],
            Incoming(SPAN, SPAN, True, "b3multi"),
        ),
        ([(b"x-b3-sampled", b"0")], Incoming(sampled=False, style="b3multi")),
        ([(b"x-b3-flags", b"1")], Incoming(sampled=True, style="b3multi")),
        ([(b"x-b3-traceid", b"%016x" % SPAN)], Incoming(broken=True)),
        ([(b"baggage", b"a=b")], Incoming()),
        ([(b"baggage", b"a" * (LONGEST_BAGGAGE + 1))], Incoming(broken=True)),
        ([(b"traceparent", W3C), (b"tracestate", b",".join([b"a=b"] * 33))], Incoming(broken=True)),
    ],
)
def test_a_context_is_read_as_the_standards_say(headers, found: Incoming) -> None:
    """Whatever is in doubt is as if it were not there."""
    assert incoming(headers) == found
    assert MOST_STATES == 32


IDS = st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(1, 2**64 - 1)


@given(*IDS, st.booleans(), st.sampled_from(["w3c", "b3", "b3multi"]))
def test_what_is_written_can_be_read(trace: int, span: int, parent: int, sampled: bool, style: str) -> None:
    """In every form."""
    lines = outgoing(trace, span, parent, sampled=sampled, styles={style})
    if style != "w3c":
        lines = lines[1:]

    assert incoming(lines) == Incoming(trace, span, sampled, style)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(sorted(NAMES)), st.binary(max_size=60)), max_size=6))
def test_no_header_breaks_the_reading(headers) -> None:
    """Whatever a client sends, ids are either both there or both not."""
    found = incoming(headers)

    assert bool(found.trace) == bool(found.span)
    assert not (found.broken and found.trace)


def test_a_context_is_replaced_whole() -> None:
    """No second traceparent, and with a broken one neither state nor baggage."""
    headers = [(b"a", b"1"), (b"traceparent", b"x"), (b"b3", b"x"), (b"tracestate", b"y"), (b"baggage", b"z")]
    lines = [(b"traceparent", W3C)]

    assert replaced(headers, lines) == [(b"a", b"1"), (b"tracestate", b"y"), (b"baggage", b"z"), *lines]
    assert replaced(headers, lines, all_of_it=True) == [(b"a", b"1"), *lines]


# -- who decides -------------------------------------------------------------------------------


def sampler(percentage: float | None = None, clock: FakeClock | None = None) -> Sampler:
    made = Sampler(rng=random.Random(1), clock=clock or FakeClock())
    made.follow(TraceChoice(percentage=percentage))
    return made


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_TRACES_EXPORTER",
        "OTEL_SDK_DISABLED",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("percentage", "share"), [(None, 0.01), (0.0, 0.0), (30.0, 0.3), (100.0, 1.0)])
def test_the_documents_percentage_is_kept(percentage: float | None, share: float) -> None:
    """One in a hundred when nobody says anything, as in Istio."""
    made = sampler(percentage)
    hits = sum(made.roll() for _ in range(20_000)) / 20_000

    assert made.share == share
    assert abs(hits - share) < 0.015


def test_the_callers_decision_holds() -> None:
    """Both ways, whatever the percentage."""
    assert sampler(0).judge(sampled=True) == (True, "caller")
    assert sampler(100).judge(sampled=False) == (False, "caller")
    assert sampler(100).judge(None) == (True, "dice")


def test_callers_cannot_have_everything_traced() -> None:
    """Beyond so many a second the dice decide; a second later there are so many again."""
    clock = FakeClock()
    made = sampler(0, clock)
    most = int(FORCED_PER_SECOND)
    assert sum(made.judge(sampled=True)[0] for _ in range(3 * most)) == most

    clock.advance(1.0)
    assert sum(made.judge(sampled=True)[0] for _ in range(3 * most)) == most


@pytest.mark.parametrize(
    ("name", "argument", "share", "respects"),
    [
        ("always_on", "", 1.0, False),
        ("parentbased_always_off", "", 0.0, True),
        ("traceidratio", "0.25", 0.25, False),
        ("parentbased_traceidratio", "0.25", 0.25, True),
        ("parentbased_traceidratio", "lots", 1.0, True),
        ("jaeger_remote", "", 0.5, True),
    ],
)
def test_a_sampler_of_the_environment_goes_first(
    monkeypatch, name: str, argument: str, share: float, respects: bool
) -> None:
    """As OpenTelemetry names them; one that is not known is ignored."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    made = sampler(50)

    assert made.share == share
    assert (made.judge(sampled=False)[1] == "caller") == respects


# -- where spans go ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        ({}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318"}, ["otlp"]),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp", "console"]),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, []),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, []),
    ],
)
def test_the_environment_names_the_exporter(monkeypatch, environment: dict[str, str], exporters) -> None:
    """Nothing is exported unless somebody said where to."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert wanted() == exporters


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OTEL_TRACES_EXPORTER", "jaeger", "only otlp, console and none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "only http/protobuf and grpc"),
    ],
)
def test_an_exporter_that_is_not_known_is_a_warning(
    monkeypatch, caplog, name: str, value: str, words: str
) -> None:
    """The gateway starts without traces, and says why."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv(name, value)

    assert Export.from_environment("edge") is None
    assert words in caplog.text
