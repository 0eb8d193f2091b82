"""Faults: who is held back, who is answered with an error, and how often."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.http_policies import HTTPFaultInjection
from gateway.exchange.fault import abort, delay
from gateway.http.flags import Flag
from gateway.http.reply import Reply
from gateway.http.request import Request
from gateway.routing.policies import MILLION, Fault, compile_fault

PLAIN = Request("GET", "http", b"a", "a", b"/", b"", [])
CALL = Request("POST", "http", b"a", "a", b"/", b"", [(b"content-type", b"application/grpc")])


class Loaded(Random):
    """Dice that show what they are told, and count their throws."""

    def __init__(self, *shown: int) -> None:
        super().__init__()
        self.shown = list(shown)

    def randrange(self, *_: int) -> int:
        return self.shown.pop(0)


def test_a_route_without_a_share_throws_no_dice() -> None:
    dice = Loaded()
    assert delay(Fault(abort_share=1, abort_status=500), dice) == 0.0
    assert abort(Fault(delay_share=1, delay=1.0), PLAIN, dice) is None


@given(st.integers(0, MILLION), st.integers(0, MILLION - 1))
def test_a_fault_happens_below_its_share(share: int, draw: int) -> None:
    fault = Fault(delay_share=share, delay=2.0, abort_share=share, abort_status=500)
    assert (delay(fault, Loaded(draw)) == 2.0) == (draw < share)
    assert (abort(fault, PLAIN, Loaded(draw)) is not None) == (draw < share)


def test_delay_and_abort_throw_dice_of_their_own() -> None:
    fault = Fault(delay_share=10, delay=1.0, abort_share=10, abort_status=500)
    dice = Loaded(9, 10, 10, 9)
    assert delay(fault, dice) == 1.0
    assert abort(fault, PLAIN, dice) is None
    assert delay(fault, dice) == 0.0
    assert abort(fault, PLAIN, dice) is not None


def test_shares_of_a_document_come_true() -> None:
    made = compile_fault(
        HTTPFaultInjection.model_validate(
            {
                "delay": {"fixedDelay": "3s", "percentage": {"value": 100}},
                "abort": {"httpStatus": 418, "percentage": {"value": 25}},
            }
        )
    )
    assert made is not None
    dice = Random(3)
    assert {delay(made, dice) for _ in range(100)} == {3.0}
    aborted = sum(abort(made, PLAIN, dice) is not None for _ in range(4000))
    assert 850 < aborted < 1150


@pytest.mark.parametrize(
    ("fault", "request_", "status", "headers"),
    [
        (Fault(abort_share=MILLION, abort_status=418), PLAIN, 418, {}),
        (Fault(abort_share=MILLION, abort_grpc_status=14), PLAIN, 200, {}),
        (Fault(abort_share=MILLION, abort_grpc_status=14), CALL, 200, {b"grpc-status": b"14"}),
        (Fault(abort_share=MILLION, abort_status=418), CALL, 200, {b"grpc-status": b"2"}),
        (Fault(abort_share=MILLION, abort_status=503), CALL, 200, {b"grpc-status": b"14"}),
    ],
)
def test_an_abort_is_answered_as_envoy_does(
    fault: Fault, request_: Request, status: int, headers: dict[bytes, bytes]
) -> None:
    """Envoy 1.40: a gRPC fault is 200 for who did not call by gRPC."""
    found = abort(fault, request_, Random(1))
    assert found is not None
    assert (found.status, found.flag, found.details) == (status, Flag.FAULT_INJECTED, "fault_filter_abort")
    if headers:
        message = {b"content-type": b"application/grpc", b"grpc-message": b"fault filter abort"}
        assert dict(found.headers) == headers | message
        assert not found.body
    else:
        assert found == Reply(status, b"fault filter abort", Flag.FAULT_INJECTED, "fault_filter_abort")
