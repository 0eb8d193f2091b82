"""The JSON Schema of a configuration, made from the models: editors complete and check `routes.yaml` with it.

Lifetime: config. `routes.schema.json` beside this module is its output; `gateway schema` prints it. Rules
that join several fields or documents are not in it: `gateway check` knows them.
"""

from __future__ import annotations

from typing import Any

import gateway.config  # noqa: F401 - registers the kinds
from gateway.config.resource import _FROM_THE_CLUSTER, KINDS, VERSIONS

FILE = "routes.schema.json"
"""Name of the shipped file, beside this module."""


def json_schema() -> dict[str, Any]:
    """A schema of one document of the stream; documents of kinds that are not read here pass."""
    from pydantic.json_schema import models_json_schema  # noqa: PLC0415 - only this command needs it

    _, every = models_json_schema(
        [(cls, "validation") for cls in KINDS.values()], by_alias=True, ref_template="#/definitions/{model}"
    )
    definitions: dict[str, Any] = every["$defs"]
    for definition in definitions.values():
        _simplify(definition)
    for (group, kind), cls in KINDS.items():
        _describe_resource(definitions[cls.__name__], group, kind)
    known = definitions["Metadata"]["properties"]
    known.update({name: {"description": "Of the cluster; ignored."} for name in sorted(_FROM_THE_CLUSTER)})
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of asgi-gateway",
        "description": "One document of a stream, in Istio's own shape.",
        "type": ["object", "null"],
        "properties": {
            "apiVersion": {"anyOf": [{"enum": _api_versions()}, {"type": "string"}]},
            "kind": {"anyOf": [{"enum": sorted(kind for _, kind in KINDS)}, {"type": "string"}]},
        },
        "required": ["apiVersion", "kind"],
        "allOf": [_branch(group, kind, cls.__name__) for (group, kind), cls in sorted(KINDS.items())],
        "definitions": definitions,
    }


def _api_versions() -> list[str]:
    return sorted(f"{group}/{version}" for group, versions in VERSIONS.items() for version in versions)


def _branch(group: str, kind: str, name: str) -> dict[str, Any]:
    """What holds for documents of one kind."""
    pattern = "^" + group.replace(".", "\\.") + "/"
    wanted = {"apiVersion": {"pattern": pattern}, "kind": {"const": kind}}
    return {
        "if": {"type": "object", "properties": wanted, "required": ["apiVersion", "kind"]},
        "then": {"$ref": f"#/definitions/{name}"},
    }


def _describe_resource(schema: dict[str, Any], group: str, kind: str) -> None:
    properties = schema["properties"]
    properties["apiVersion"] = {"enum": [f"{group}/{version}" for version in VERSIONS[group]]}
    properties["kind"] = {"const": kind}
    properties["status"] = {"description": "Of the cluster; ignored."}


def _simplify(schema: Any) -> None:
    """Leaves out what an editor would only repeat: titles that are names, and that unset is null."""
    if isinstance(schema, list):
        for item in schema:
            _simplify(item)
        return
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("title"), str):
        del schema["title"]
    properties = schema.get("properties")
    if isinstance(properties, dict):
        schema["properties"] = {name: _without_null(field) for name, field in properties.items()}
    for item in schema.values():
        _simplify(item)


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    choices = [item for item in field.get("anyOf", ()) if item != {"type": "null"}]
    field = {key: value for key, value in field.items() if key != "default" or value not in (None, [], {})}
    if len(choices) != 1 or len(choices) == len(field.get("anyOf", ())):
        return field
    rest = {key: value for key, value in field.items() if key != "anyOf"}
    # Draft 7 reads nothing beside $ref, so the description would be lost.
    return {**rest, "allOf": choices} if "$ref" in choices[0] else {**choices[0], **rest}
