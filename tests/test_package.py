"""What `import gateway` is."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

import gateway


def test_public_names() -> None:
    """Each is there, and listed."""
    assert gateway.__all__ == ["Gateway", "GatewayMiddleware", "Transport", "__version__"]
    for name in gateway.__all__:
        assert getattr(gateway, name)
        assert name in dir(gateway)
    assert gateway.__version__ == metadata.version("asgi-gateway")
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = gateway.Nonsense


def test_importing_it_loads_nothing() -> None:
    """Whoever wants one name pays for that one."""
    code = "import sys, gateway; print([n for n in sys.modules if n.startswith(('gateway.', 'httpx', 'uvicorn'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
