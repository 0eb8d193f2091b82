"""What all resources have in common."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.config import load
from gateway.config.config import FIELDS, Config
from gateway.config.resource import KINDS, VERSIONS, Metadata
from gateway.config.settings import GatewaySettings
from gateway.config.virtual_service import VirtualService


def test_every_kind_has_a_place_in_the_configuration() -> None:
    """A kind that is read is not lost."""
    kinds = {kind for _, kind in KINDS} - {"GatewaySettings"}

    assert set() == kinds - set(FIELDS)
    assert all(hasattr(Config(), name) for name in FIELDS.values())


def test_every_group_has_versions() -> None:
    """The newest is the first: it is the one suggested."""
    assert {group for group, _ in KINDS} == set(VERSIONS)
    assert VERSIONS["networking.istio.io"] == ("v1", "v1beta1", "v1alpha3")


def test_a_resource_has_a_name_for_messages() -> None:
    """Kind, namespace and name."""
    settings = GatewaySettings(
        api_version="gateway.asgi/v1", kind="GatewaySettings", metadata=Metadata(name="a")
    )

    assert settings.title == "GatewaySettings default/a"
    assert settings.key == ("GatewaySettings", "default", "a")
    assert KINDS["networking.istio.io", "VirtualService"] is VirtualService


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "A"},
        {"name": 1},
        {"name": "a", "namespace": "a.b"},
        {"name": "a", "labels": {"a": 1}},
        {"name": "a", "namesapce": "b"},
        {"name": "a", "creationTimestamp": "yesterday"},
    ],
)
def test_metadata_is_checked(fields: dict[str, object]) -> None:
    """Names, and no unknown fields besides those of a cluster."""
    with pytest.raises(ValidationError):
        Metadata.model_validate(fields)


def test_every_kind_has_a_json_schema() -> None:
    """Editors complete documents by it; making it warns of nothing."""
    for cls in KINDS.values():
        assert cls.model_json_schema()["type"] == "object"


def test_a_dump_is_the_document_again() -> None:
    """What is exported can be loaded: aliases, durations and maps are written as Istio reads them."""
    text = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, labels: {x: y}}
spec:
  hosts: [a]
  http:
  - match: [{headers: {x: {}}, withoutHeaders: {y: null}}]
    route: [{destination: {host: b, port: {number: 1}}}]
    timeout: 1m30.25s
"""
    resource = load([], texts={"f": text}).require().virtual_services[0]

    dump = resource.model_dump(mode="json", exclude_unset=True)

    assert dump["spec"]["http"][0]["timeout"] == "90.25s"
    assert VirtualService.model_validate(dump) == resource
