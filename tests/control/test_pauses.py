"""The interpreter's settings are given back as they were taken."""

from __future__ import annotations

import contextlib
import gc
import sys

import pytest

from gateway.control.pauses import SWITCH_INTERVAL, considerate, uncollected


def test_threads_give_way_until_the_last_one_is_done() -> None:
    """Overlapping work: the first to end must not take the setting from the other."""
    usual = sys.getswitchinterval()
    one, other = considerate(), considerate()
    with one:
        other.__enter__()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL)
    within = sys.getswitchinterval()
    other.__exit__(None, None, None)

    assert within == pytest.approx(SWITCH_INTERVAL)
    assert sys.getswitchinterval() == usual


def test_a_program_that_switches_faster_keeps_its_setting() -> None:
    """The interval is only ever lowered."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL / 2)
    faster = sys.getswitchinterval()
    try:
        with considerate():
            within = sys.getswitchinterval()
        assert (within, sys.getswitchinterval()) == (faster, faster)
    finally:
        sys.setswitchinterval(usual)


@pytest.mark.parametrize("freeze", [True, False])
def test_collection_rests_and_goes_on(freeze: bool) -> None:
    """Also when the work fails; only a process of our own is frozen."""
    before = gc.get_freeze_count()
    try:
        with contextlib.suppress(KeyError), uncollected(freeze=freeze):
            within = gc.isenabled()
            raise KeyError
        assert (within, gc.isenabled()) == (False, True)
        assert (gc.get_freeze_count() > before) is freeze
    finally:
        gc.unfreeze()


def test_a_program_without_collection_stays_without() -> None:
    """Someone turned it off on purpose."""
    gc.disable()
    try:
        with uncollected(freeze=True):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
