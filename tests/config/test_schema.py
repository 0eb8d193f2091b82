"""The JSON Schema that editors use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.json_schema import errors

import gateway.config
from gateway.config.resource import KINDS
from gateway.config.schema import FILE, json_schema
from gateway.config.yaml import read

ROOT = Path(__file__).parents[2]
SCHEMA = json_schema()
FILES = [
    ROOT / "routes.yaml",
    *sorted(ROOT.glob("examples/*.yaml")),
    *sorted(Path(__file__).parent.glob("seed/*.yaml")),
]


def said(text: str) -> list[str]:
    (tree,) = read(text, "f")[0]
    return errors(tree.value, SCHEMA, SCHEMA)


def document(kind: str, spec: str, version: str = "networking.istio.io/v1") -> str:
    return f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n"


def test_the_shipped_file_is_current() -> None:
    """`scripts/docs` writes it."""
    shipped = Path(gateway.config.__file__).parent / FILE

    assert json.loads(shipped.read_text(encoding="utf-8")) == SCHEMA


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_loads_is_valid(path: Path) -> None:
    """No editor underlines a file of ours."""
    for tree in read(path.read_text(encoding="utf-8"), path.name)[0]:
        assert errors(tree.value, SCHEMA, SCHEMA) == []


def test_every_kind_is_described() -> None:
    """By its own definition, in all its versions."""
    assert {branch["if"]["properties"]["kind"]["const"] for branch in SCHEMA["allOf"]} == {
        kind for _, kind in KINDS
    }
    assert said(document("VirtualService", "{hosts: [a], http: []}", "networking.istio.io/v1alpha3")) == []
    assert said(document("VirtualService", "{}", "networking.istio.io/v2")) != []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (document("VirtualService", "{host: [a]}"), "$.spec.host"),
        (document("VirtualService", "{hosts: a}"), "$.spec.hosts"),
        (document("VirtualService", "{http: [{timeout: 10}]}"), "$.spec.http[0].timeout"),
        (document("VirtualService", "{http: [{timeout: soon}]}"), "$.spec.http[0].timeout"),
        (document("VirtualService", "{http: [{redirect: {scheme: ftp}}]}"), "$.spec.http[0].redirect.scheme"),
        (document("VirtualService", "{http: [{match: [{port: 0}]}]}"), "$.spec.http[0].match[0].port"),
        (document("DestinationRule", "{}"), "$.spec"),
        (
            document("PeerAuthentication", "{mtls: {mode: strict}}", "security.istio.io/v1"),
            "$.spec.mtls.mode",
        ),
        ("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {nam: a}\n", "$.metadata.nam"),
    ],
)
def test_what_does_not_load_is_underlined(text: str, place: str) -> None:
    """Unknown fields, wrong types, words, ranges and what is missing, at the field."""
    assert any(error.startswith(f"{place}:") for error in said(text))


def test_other_kinds_and_the_cluster_s_fields_pass() -> None:
    """A whole application's YAML, as kubectl prints it."""
    assert said("apiVersion: apps/v1\nkind: Deployment\nanything: [goes]\n") == []
    text = document("VirtualService", "{hosts: [a], http: []}").replace(
        "{name: a}", "{name: a, uid: b, resourceVersion: '1'}"
    )
    assert said(text + "status: {a: b}\n") == []
    assert errors(None, SCHEMA, SCHEMA) == []


def test_fields_are_described() -> None:
    """Hovering over a field says what it is."""
    assert "retries included" in SCHEMA["definitions"]["HTTPRoute"]["properties"]["timeout"]["description"]
    assert SCHEMA["definitions"]["WorkloadEntrySpec"]["properties"]["weight"]["description"] == "0 is 1."
