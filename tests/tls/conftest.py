"""Credentials of the shop."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.certificates import Certs, authority, leaf


@pytest.fixture
def certs(tmp_path: Path) -> Certs:
    """A folder with the credential `shop` for shop.test, which trusts the test's authority."""
    made = Certs(tmp_path / "certs")
    made.put("shop", leaf(dns_names=("shop.test", "*.shop.test")), authority())
    return made
