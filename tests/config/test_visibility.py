"""exportTo."""

from __future__ import annotations

import pytest

from gateway.config.visibility import exported


@pytest.mark.parametrize(
    ("export_to", "visible"),
    [
        ((), True),
        (("*",), True),
        ((".",), False),
        (("other", "reader"), True),
        (("other",), False),
        (("~",), False),
    ],
)
def test_export_to_limits_who_sees_a_document(export_to: tuple[str, ...], visible: bool) -> None:
    assert exported(export_to, "own", "reader") == visible
    assert exported((".",), "own", "own")
