"""The stable codes of findings, each with what it means and what to do.

Lifetime: config (constants). Filled while modules are imported; a code is never reused for another meaning.
GW00x files and YAML, GW02x documents, GW03x-GW04x fields, GW05x-GW09x rules of kinds,
GW2xx across documents, GW3xx what is not enforced yet.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.model import Severity


class Code(NamedTuple):
    """What a code stands for."""

    title: str
    severity: Severity
    """The usual one; a finding may be milder."""
    explanation: str
    """What happened, why it matters, what to do: for the page of the code."""


_codes: dict[str, Code] = {}
CODES: Mapping[str, Code] = MappingProxyType(_codes)
"""Every code there is."""


def define(code: str, title: str, severity: Severity, explanation: str) -> None:
    """Adds a code; the module that reports it calls this once, at import."""
    known = _codes.setdefault(code, Code(title, severity, explanation))
    assert known == (title, severity, explanation), f"{code} has two meanings"


# -- files and YAML ----------------------------------------------------------------------------

define(
    "GW001",
    "file cannot be read",
    "error",
    "The path does not exist, is not a file or directory, or permission is missing. A directory is read"
    " for *.yaml and *.yml, not below.",
)
define(
    "GW002",
    "file is not UTF-8 text",
    "error",
    "Configuration is UTF-8. Convert the file, and look for binary data or control characters.",
)
define(
    "GW003",
    "file is too large",
    "error",
    "A file has at most 1 MiB, so that a mistake cannot use up the memory of a serving process."
    " Split it: several files and directories can be given.",
)
define("GW004", "YAML syntax", "error", "The text is not YAML. Often the cause is a tab, or indentation.")
define(
    "GW005",
    "key appears twice",
    "error",
    "A mapping has the same key twice. Most tools silently keep the last one; which of the two was"
    " meant, nobody can know. Remove one.",
)
define(
    "GW006",
    "anchors and aliases",
    "error",
    "An alias names no anchor before it, contains itself, or the aliases of a file expand to more than"
    " 100 000 values (a so-called billion laughs). Write the values out.",
)
define("GW007", "nested too deeply", "error", "Values are nested more than 64 deep; no resource is.")
define(
    "GW008",
    "YAML tag",
    "error",
    "Only the tags of plain JSON values (!!str, !!int, !!float, !!bool, !!null, !!map, !!seq) are read."
    " Tags never create objects.",
)
define(
    "GW009",
    "merge key",
    "error",
    "`<<` takes a mapping or a list of mappings, usually aliases. Its keys are added where the mapping"
    " has none of its own.",
)
define("GW010", "key is not text", "error", "The keys of a mapping are text; lists and mappings are none.")
define(
    "GW011",
    "nothing to read",
    "warning",
    "A file, or a directory without *.yaml and *.yml, holds no document. It is read again when it changes.",
)

# -- documents ---------------------------------------------------------------------------------

define(
    "GW020",
    "not a resource",
    "error",
    "A document is a mapping with apiVersion, kind, metadata and spec, as `kubectl apply` takes it.",
)
define(
    "GW021",
    "kind passed over",
    "warning",
    "This kind configures something else, or a part of Istio that has no meaning at an edge gateway."
    " The document has no effect here; a whole application's YAML may be given.",
)
define(
    "GW022",
    "unknown version",
    "error",
    "The kind is known, but not in this apiVersion. Passing it over could leave out a policy.",
)
define(
    "GW023",
    "kind looks misspelt",
    "error",
    "The kind or API group resembles one that is read here, but is none."
    " Passing it over could leave out a policy.",
)
define(
    "GW024",
    "resource appears twice",
    "warning",
    "Two documents have the same kind, namespace and name: the later one replaces the former,"
    " as `kubectl apply` would. Remove one, or rename it.",
)
define(
    "GW025",
    "several GatewaySettings",
    "error",
    "The settings of this process stand in one document; two of them could contradict each other.",
)
define(
    "GW026",
    "not a name",
    "error",
    "Names follow Kubernetes (RFC 1123): letters, digits and dashes; resources lower-case, with dots.",
)

# -- fields ------------------------------------------------------------------------------------

define(
    "GW030",
    "unknown field",
    "error",
    "The field does not exist at this place. Istio refuses it as well: a setting that is silently"
    " ignored is worse than none. Look at the suggestion, and at the indentation.",
)
define(
    "GW031",
    "wrong type",
    "error",
    "The value has another type than the field. Numbers and true/false are text only in quotes:"
    ' version: "1". Write true and false, not yes and no.',
)
define("GW032", "something is missing", "error", "A field that is needed here is not set.")
define("GW033", "not one of the known words", "error", "The field takes one of a few words.")
define(
    "GW034",
    "not a duration",
    "error",
    "Durations are text with a unit: 10s, 250ms, 1m30s, 1h. They are whole milliseconds and, unless a"
    " field says otherwise, at least 1ms. Leave the field out to unset it.",
)
define(
    "GW035",
    "not a host or address",
    "error",
    "Hosts are names of letters, digits and dashes between dots; a wildcard stands only at the start.",
)
define(
    "GW036",
    "not a regex",
    "error",
    "Patterns are RE2, matched against the whole text, and as large as Istio takes them: 32768 instructions."
    " RE2 has no lookaround and no backreferences, and in return takes linear time whatever a client sends.",
)
define("GW037", "out of range", "error", "The value is outside of what the field allows.")
define(
    "GW039",
    "not a header",
    "error",
    "Header names are tokens (RFC 9110); values have no NUL, CR or LF. The Host header is changed by"
    " rewrite.authority or request.set, other parts of the request line not at all.",
)
define("GW040", "fields exclude each other", "error", "Of these fields only one may be set.")
define(
    "GW041",
    "not a label",
    "error",
    "Labels follow Kubernetes: at most 63 letters, digits, dashes, underscores and dots.",
)
define("GW042", "empty entry", "error", "A list has an entry without a value, or a value is null.")
define("GW043", "appears twice", "error", "Two entries of a list say the same thing, or overlap.")
define(
    "GW044",
    "not a format",
    "error",
    "A percent sign in a header value starts an operator, such as %REQ(x-user)%. Write %% for a percent.",
)
define(
    "GW045",
    "not supported",
    "error",
    "The field exists in Istio, but means nothing to an HTTP gateway, or is refused by Istio as well.",
)
define(
    "GW047",
    "replacement that does not fit",
    "error",
    r"A replacement names groups of its regex as \1 to \9, all of a match as \0, and a backslash as \\."
    " RE2 replaces nothing when it names a group that is not there.",
)

# -- rules -------------------------------------------------------------------------------------

define("GW050", "deprecated", "warning", "Istio has a newer way to say this; the old one still works here.")
define("GW051", "has no effect", "warning", "As it stands, this setting changes nothing.")
define(
    "GW052",
    "large body",
    "warning",
    "A direct answer of more than 100 KiB is kept in memory and copied with each configuration.",
)
define(
    "GW053",
    "retries are off",
    "error",
    "attempts: 0, or no attempts, turns retries off, as in Istio; the other fields then contradict it.",
)
define(
    "GW054",
    "weights add up to 0",
    "error",
    "Several destinations, and none has a weight: Istio refuses this. Weights need not add up to 100.",
)
define(
    "GW055",
    "rule without action",
    "error",
    "A rule forwards (route), redirects, answers (directResponse) or delegates: exactly one of them.",
)
define(
    "GW056",
    "delegate",
    "error",
    "A VirtualService without hosts is a delegate: another one names it. It has no gateways of its own"
    " and does not delegate further.",
)
define(
    "GW057",
    "every host, without a gateway",
    "error",
    'Istio refuses the host "*" of a VirtualService without gateways: in a mesh it would catch all traffic'
    " of all sidecars. Here it means every host of every listener, and it is served.",
)
define(
    "GW070",
    "TLS on a plain server",
    "error",
    "A server of protocol HTTP, HTTP2 or GRPC takes no certificates. Its protocol is HTTPS.",
)
define("GW071", "many certificates", "warning", "One RSA and one ECDSA certificate are enough for a server.")
define(
    "GW080",
    "unknown port",
    "error",
    "The endpoint gives a number to a port that the ServiceEntry does not have.",
)
define(
    "GW081",
    "resolution",
    "error",
    "How endpoints are found decides what may be written: STATIC takes IP addresses, DNS host names,"
    " NONE and DYNAMIC_DNS no endpoints at all.",
)
define(
    "GW090",
    "consecutiveErrors",
    "info",
    "Since Istio 1.8 the field is ignored. Here it keeps its meaning of Istio 1.7: so many gateway errors"
    " (502, 503, 504 and connection failures) in a row eject the endpoint.",
)
define(
    "GW091",
    "server is not verified",
    "warning",
    "Without verification TLS protects from nobody who can reach the network path. Give caCertificates.",
)
define(
    "GW092",
    "local errors are not split",
    "error",
    "consecutiveLocalOriginFailures counts only with splitExternalLocalOriginErrors: true.",
)
define("GW093", "contradiction", "error", "Two values of this setting contradict each other.")
define(
    "GW099",
    "cannot be used",
    "error",
    "The value is refused for a reason that has no code of its own; the message says which.",
)
