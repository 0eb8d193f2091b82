"""The part of JSON Schema (draft 7) that the shipped schema uses, checked the plain way."""

from __future__ import annotations

import re
from typing import Any

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
KNOWN = {
    "$ref",
    "$schema",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "default",
    "definitions",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maximum",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "propertyNames",
    "required",
    "then",
    "title",
    "type",
}


def errors(value: Any, schema: Any, root: dict[str, Any], at: str = "$") -> list[str]:
    """Everything that does not hold; a keyword that is not known here is a mistake of the test."""
    if isinstance(schema, bool):
        return [] if schema else [f"{at}: not allowed"]
    assert schema.keys() <= KNOWN, schema.keys() - KNOWN
    if "$ref" in schema:
        return errors(value, root["definitions"][schema["$ref"].rpartition("/")[2]], root, at)
    found = _value(value, schema, at)
    if isinstance(value, dict):
        found += _mapping(value, schema, root, at)
    if isinstance(value, list) and "items" in schema:
        found += [
            text for i, item in enumerate(value) for text in errors(item, schema["items"], root, f"{at}[{i}]")
        ]
    for part in schema.get("allOf", ()):
        found += errors(value, part, root, at)
    if "anyOf" in schema and all(errors(value, part, root, at) for part in schema["anyOf"]):
        found.append(f"{at}: none of the alternatives")
    if "if" in schema and not errors(value, schema["if"], root, at):
        found += errors(value, schema["then"], root, at)
    return found


def _value(value: Any, schema: dict[str, Any], at: str) -> list[str]:
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    number = isinstance(value, int | float) and not isinstance(value, bool)
    checks = {
        "type": not types
        or any(
            isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))
            for name in types
        ),
        "const": "const" not in schema or value == schema["const"],
        "enum": "enum" not in schema or value in schema["enum"],
        "pattern": not isinstance(value, str) or re.search(schema.get("pattern", ""), value) is not None,
        "minLength": not isinstance(value, str) or len(value) >= schema.get("minLength", 0),
        "minimum": not number or value >= schema.get("minimum", value),
        "maximum": not number or value <= schema.get("maximum", value),
        "exclusiveMinimum": not number
        or "exclusiveMinimum" not in schema
        or value > schema["exclusiveMinimum"],
        "exclusiveMaximum": not number
        or "exclusiveMaximum" not in schema
        or value < schema["exclusiveMaximum"],
    }
    return [f"{at}: {keyword}" for keyword, holds in checks.items() if not holds]


def _mapping(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    found = [f"{at}: {name} is missing" for name in schema.get("required", ()) if name not in value]
    properties = schema.get("properties", {})
    for name, item in value.items():
        rule = properties[name] if name in properties else schema.get("additionalProperties", True)
        found += errors(item, rule, root, f"{at}.{name}")
        found += errors(name, schema.get("propertyNames", True), root, f"{at}.{name} (name)")
    return found
