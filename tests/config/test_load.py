"""Files, directories and texts to one configuration."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import Config, ConfigError, Finding, Loaded, load, render, split_paths
from gateway.config.settings import DEFAULTS


def own(loaded: Loaded) -> tuple[Finding, ...]:
    """Findings about documents themselves, and not about what lies between them."""
    return tuple(item for item in loaded.findings if item.code < "GW2")


def service(name: str, host: str = "b", namespace: str | None = None) -> str:
    place = f", namespace: {namespace}" if namespace else ""
    return (
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
        f"metadata: {{name: {name}{place}}}\nspec:\n  hosts: [{name}]\n"
        f"  http: [{{route: [{{destination: {{host: {host}}}}}]}}]\n"
    )


def test_files_and_directories_are_read_in_order(tmp_path: Path) -> None:
    """Given order; inside a directory by name, only *.yaml and *.yml, not hidden, not below."""
    (tmp_path / "d").mkdir()
    for name in ("b.yml", "a.yaml", ".hidden.yaml", "c.txt"):
        (tmp_path / "d" / name).write_text(service(name.strip(".").split(".")[0]))
    (tmp_path / "d" / "sub").mkdir()
    (tmp_path / "d" / "sub" / "x.yaml").write_text(service("x"))
    (tmp_path / "z.conf").write_text(service("z"))

    loaded = load([tmp_path / "z.conf", str(tmp_path / "d")])

    assert own(loaded) == ()
    assert [item.metadata.name for item in loaded.require().virtual_services] == ["z", "a", "b"]
    assert [str(tmp_path / name) for name in ("z.conf", "d/a.yaml", "d/b.yml")] == list(loaded.sources)


def test_a_mounted_config_map_is_read_once(tmp_path: Path) -> None:
    """Kubernetes links the files through a hidden directory that changes at once."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "r.yaml").write_text(service("a"))
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "r.yaml").symlink_to("..data/r.yaml")

    loaded = load([tmp_path])

    assert own(loaded) == ()
    assert len(loaded.require().virtual_services) == 1


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    """By itself and by its directory."""
    (tmp_path / "r.yaml").write_text(service("a"))

    assert own(load([tmp_path / "r.yaml", tmp_path])) == ()


def test_several_paths_may_be_joined(tmp_path: Path) -> None:
    """As in GATEWAY_CONFIG; a single path need not be in a list."""
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text(service(name))
    joined = os.pathsep.join(str(tmp_path / f"{name}.yaml") for name in "ab")

    assert len(load(joined).require().virtual_services) == 2
    assert len(load(tmp_path / "a.yaml").require().virtual_services) == 1
    assert split_paths(os.pathsep.join(["a", "", "b"])) == ["a", "b"]


def test_a_missing_file_is_a_finding(tmp_path: Path) -> None:
    """Fatal, and the other files are checked all the same."""
    (tmp_path / "r.yaml").write_text(service("a_"))

    loaded = load([tmp_path / "none.yaml", tmp_path / "r.yaml", "a\0b"])

    assert loaded.config is None
    assert {"GW001", "GW026", "GW035"} <= {item.code for item in loaded.findings}
    with pytest.raises(ConfigError, match="No such file"):
        loaded.require()


def test_what_is_no_text_or_too_large_is_a_finding(tmp_path: Path) -> None:
    """Binary, and one byte too many."""
    (tmp_path / "bin.yaml").write_bytes(b"a: 1\nb: \xff\n")
    (tmp_path / "big.yaml").write_bytes(b"#" * 101)

    findings = load([tmp_path], max_bytes=100).findings

    assert [(item.code, item.line, item.column) for item in findings] == [("GW003", 1, 1), ("GW002", 2, 4)]


def test_nothing_to_read_is_a_warning(tmp_path: Path) -> None:
    """An empty file or directory is allowed, and told."""
    (tmp_path / "e").mkdir()
    (tmp_path / "f.yaml").write_text("# later\n---\n")

    loaded = load([tmp_path / "e", tmp_path / "f.yaml"])

    assert [(item.code, item.severity) for item in own(loaded)] == [("GW011", "warning")] * 2
    assert Config() == loaded.config
    assert loaded.require().settings is DEFAULTS


def test_a_later_document_replaces_a_former_one() -> None:
    """By kind, namespace and name; the place of the first is kept, the warning stands at the second."""
    loaded = load([], texts={"f": service("a"), "g": f"{service('b')}---\n{service('a', 'new')}"})

    config = loaded.require()
    assert [(item.path, item.line, item.column, item.severity, item.code) for item in own(loaded)] == [
        ("g", 10, 18, "warning", "GW024")
    ]
    assert [item.spec.http[0].route[0].destination.host for item in config.virtual_services] == ["new", "b"]
    assert config.origin(config.virtual_services[0]).path == "g"


def test_other_namespaces_are_other_resources() -> None:
    """The same name in two namespaces is no repetition; the default namespace has a name."""
    text = f"{service('a')}---\n{service('a', namespace='x')}---\n{service('a', namespace='default')}"

    assert [item.code for item in own(load([], texts={"f": text}))] == ["GW024"]


def test_there_is_one_settings_document() -> None:
    """Two with different names contradict each other; the same name replaces."""
    one = "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: %s}\n---\n"

    assert [item.code for item in own(load([], texts={"f": one % "a" + one % "b"}))] == ["GW025"]
    assert [item.code for item in own(load([], texts={"f": one % "a" + one % "a"}))] == ["GW024"]


def test_errors_that_are_not_fatal_leave_a_configuration() -> None:
    """`gateway check` fails, the process starts."""
    text = service("a").replace("hosts: [a]", "hosts: ['*']")

    loaded = load([], texts={"f": text})

    assert [(item.severity, item.fatal) for item in own(loaded)] == [("error", False)]
    assert loaded.config is not None


def test_resources_know_where_they_stand() -> None:
    """Later checks point into the file by the model's own names."""
    config = load([], texts={"f": service("a")}).require()

    here = config.origin(config.virtual_services[0]).position(
        "spec", "http", 0, "route", 0, "destination", "host"
    )

    assert (here.path, here.line, here.column, here.length) == ("f", 6, 40, 1)


def test_a_resource_made_in_code_has_no_place() -> None:
    """A configuration built by hand is usable all the same."""
    resource = load([], texts={"f": service("a")}).require().virtual_services[0]

    config = Config.of([resource])

    assert config.origin(resource).position("spec").path == "<memory>"
    assert (resource,) == config.resources()


def test_the_digest_follows_every_byte() -> None:
    """Also a comment, and where one file ends and the next begins."""
    digests = {
        load([], texts=texts).digest
        for texts in ({"f": "a"}, {"f": "a "}, {"f": "a", "g": ""}, {"f": "", "g": "a"}, {"f": "a#"})
    }

    assert len(digests) == 5
    assert load([], texts={"f": "a"}).digest in digests


def test_equal_files_are_equal_configurations() -> None:
    """Compared by value, wherever the resources stand."""
    assert load([], texts={"f": service("a")}).config == load([], texts={"g": f"# x\n{service('a')}"}).config


def test_loading_is_thread_safe() -> None:
    """Many threads at once come to what one alone does."""
    text = "---\n".join(service(f"a{i}") for i in range(20)) + "---\n" + service("b_")
    alone = load([], texts={"f": text})

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda _: load([], texts={"f": text}), range(16)))

    assert [alone.findings] * 16 == [item.findings for item in together]


_WORDS = st.sampled_from(
    [
        "apiVersion: networking.istio.io/v1\n",
        "kind: VirtualService\n",
        "kind: DestinationRule\n",
        "kind: Gateway\n",
        "kind: ServiceEntry\n",
        "kind: GatewaySettings\n",
        "apiVersion: gateway.asgi/v1\n",
        "metadata: {name: a}\n",
        "metadata:\n",
        "spec:\n",
        "  hosts: [a]\n",
        "  http:\n",
        "  - match:\n",
        "    - uri: {regex: '('}\n",
        "---\n",
        "    route:\n",
        "    - destination: {host: b}\n",
        "      weight: -1\n",
        "  host: a\n",
        "  trafficPolicy: {}\n",
        "  servers: [{port: {number: 1}}]\n",
        "kind: List\n",
        "items: [{}]\n",
        "spec: []\n",
        "  x: 1\n",
        "  - 1\n",
    ]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["hosts", "http", "match", "uri", "exact", "route", "destination", "host", "timeout"]
            )
            | st.sampled_from(
                ["headers", "port", "number", "subsets", "name", "labels", "servers", "retries", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=250)
@given(st.text() | st.lists(_WORDS, max_size=25).map("".join))
def test_any_text_gives_a_configuration_or_findings(text: str) -> None:
    """Never another exception, and everything can be printed."""
    loaded = load([], texts={"f": text})

    assert (loaded.config is None) == any(item.fatal for item in loaded.findings)
    assert all(item.severity == "error" for item in loaded.findings if item.fatal)
    render(loaded.findings, loaded.sources, color=True)


@settings(max_examples=150)
@given(
    st.sampled_from(["VirtualService", "DestinationRule", "Gateway", "ServiceEntry", "WorkloadEntry"]),
    _VALUES,
)
def test_any_values_give_a_configuration_or_findings(kind: str, spec: object) -> None:
    """Every shape of value in every place."""
    import json

    text = json.dumps(
        {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec}
    )

    loaded = load([], texts={"f": text})

    assert (loaded.config is None) == any(item.fatal for item in loaded.findings)
    render(loaded.findings, loaded.sources)
