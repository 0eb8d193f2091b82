"""How the help of every command ends: what one types, and what the exit code says.

Lifetime: config (constants) and plain functions.
"""

from __future__ import annotations


def closing(*examples: str, codes: str) -> str:
    """The epilog: examples line by line, then the exit codes."""
    lines = "\n".join(f"  {example}" for example in examples)
    return f"\b\nExamples:\n{lines}\n\nExit codes: {codes}."
