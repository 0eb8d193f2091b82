"""The kept beginning of a body: all of it or nothing, and never more than its limit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.http_policies import HTTPRetry
from gateway.exchange.replay import REPLAY_BYTES, TOO_LARGE, Replay, replay_for
from gateway.routing.policies import RetryPolicy, compile_retries

NAMED = compile_retries(HTTPRetry.model_validate({"attempts": 1, "retryOn": "503"}), timeout=None)


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=20), max_size=20), st.integers(0, 60))
def test_a_body_is_kept_whole_or_not_at_all(chunks: list[bytes], limit: int) -> None:
    replay = Replay(limit)
    length = 0
    for chunk in chunks:
        fits = replay.fits(chunk)
        length += len(chunk)
        assert replay.append(chunk) == fits == (not replay.overflowed)
        assert replay.size == sum(map(len, replay.chunks())) <= limit
    assert replay.overflowed == (length > limit)
    assert b"".join(replay.chunks()) == (b"" if replay.overflowed else b"".join(chunks))
    assert len(replay) == len(replay.chunks())
    assert [replay.chunk(index) for index in range(len(replay))] == list(replay.chunks())


def test_a_body_of_exactly_the_limit_is_kept() -> None:
    replay = Replay(4)
    assert replay.append(b"abcd")
    assert repr(replay) == "<Replay 4 of 4>"
    assert not replay.append(b"e")
    assert not replay.append(b"")
    assert repr(replay) == "<Replay overflowed of 4>"


def test_chunks_are_kept_without_a_copy() -> None:
    chunk, replay = bytes(1000), Replay()
    replay.append(chunk)
    assert replay.chunk(0) is chunk
    assert replay.limit == REPLAY_BYTES == 1024 * 1024


@pytest.mark.parametrize(
    ("policy", "method", "length", "mirrored", "kept"),
    [
        (RetryPolicy(), "PUT", 10, False, True),
        (RetryPolicy(), "PUT", None, False, True),
        (RetryPolicy(), "PUT", 101, False, False),
        (RetryPolicy(), "POST", 10, False, False),
        (NAMED, "POST", 100, False, True),
        (NAMED, "POST", 101, False, False),
        (None, "PUT", 10, False, False),
        (None, "POST", 10, True, True),
        (None, "POST", 101, True, False),
    ],
)
def test_a_body_is_kept_only_when_somebody_could_want_it_again(
    policy: RetryPolicy | None, method: str, length: int | None, mirrored: bool, kept: bool
) -> None:
    """Decided before the first byte; a body that says it is too long costs no memory."""
    replay = replay_for(policy, method, length, mirrored=mirrored, limit=100)
    assert (replay is not None) == kept
    assert replay is None or replay.limit == 100


def test_a_body_that_can_go_nowhere_is_answered_as_envoy_does() -> None:
    assert (TOO_LARGE.status, TOO_LARGE.body, TOO_LARGE.details) == (
        507,
        b"exceeded request buffer limit while retrying upstream",
        "request_payload_exceeded_retry_buffer_limit",
    )
