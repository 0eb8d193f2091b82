"""Which requests were sampled: said by the header they were forwarded with."""

from __future__ import annotations

import pytest

from gateway.admin.console import Sources
from gateway.admin.console.traces import traces
from gateway.explain.trace import trace_of

ID = b"0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("headers", "sampled"),
    [
        ({b"traceparent": b"00-%b-b7ad6b7169203331-01" % ID}, True),
        ({b"traceparent": b"cc-%b-b7ad6b7169203331-01-what" % ID}, True),
        ({b"traceparent": b"00-%b-b7ad6b7169203331-00" % ID, b"x-b3-sampled": b"1"}, False),
        ({b"traceparent": b"00-%b-b7ad6b7169203331-01" % (b"0" * 32)}, False),
        ({b"traceparent": b"00-<script>-01"}, False),
        ({b"b3": b"%b-b7ad6b7169203331-1" % ID}, True),
        ({b"b3": b"%b-b7ad6b7169203331-d-05e3ac9a4f6e3b90" % ID}, True),
        ({b"b3": b"%b-b7ad6b7169203331-0" % ID}, False),
        ({b"b3": b"0"}, False),
        ({b"x-b3-traceid": ID.upper(), b"x-b3-sampled": b"1"}, True),
        ({b"x-b3-traceid": ID, b"x-b3-flags": b"1"}, True),
        ({b"x-b3-traceid": ID}, False),
        ({b"x-b3-traceid": ID + b"<b>", b"x-b3-sampled": b"1"}, False),
        ({}, False),
    ],
)
def test_the_forwarded_header_says_whether_it_was_sampled(headers: dict[bytes, bytes], sampled: bool) -> None:
    """W3C's goes before B3's; what is neither is no trace."""
    assert trace_of(headers) == (ID.decode() if sampled else "")


def test_without_a_recorder_there_are_none() -> None:
    """And no error."""
    assert traces(Sources(None)) == {"traces": []}  # type: ignore[arg-type]
