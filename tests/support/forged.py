"""Tokens that nobody should believe, and some that everybody should: made now, for a real gateway.

Lifetime: config. For tests/security/test_exam_tokens.py.
"""

from __future__ import annotations

import json
import time
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.tokens import b64, jwk, jwks, private_key, raw

RSA, EC, OCT = private_key(), private_key("P-256"), b"k" * 40
PUBLIC = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
KEYS = jwks(jwk(RSA), jwk(EC, "ec", alg="ES256"), jwk(OCT, "oct", alg="HS256"))
NOW = int(time.time())


def token(header: Any = None, key: Any = None, algorithm: str = "RS256", **claims: Any) -> str:
    """A token that is good unless something says otherwise; `...` leaves a claim out."""
    said = {"iss": "https://a", "aud": "shop", "sub": "alice", "exp": NOW + 3600, **claims}
    payload = {name: value for name, value in said.items() if value is not ...}
    head = (
        {"alg": algorithm, "kid": "k1", **header}
        if isinstance(header, dict)
        else {"alg": algorithm, "kid": "k1"}
    )
    return raw(head, payload, RSA if key is None else key, algorithm)


def parts(header: str | bytes, payload: str | bytes, key: Any = RSA, algorithm: str = "RS256") -> str:
    """A token of any bytes, signed."""
    made = [item.encode() if isinstance(item, str) else item for item in (header, payload)]
    return raw(made[0], made[1], key, algorithm)


def unsigned(algorithm: str) -> str:
    return token({"alg": algorithm}).rpartition(".")[0] + "."


HEADERS: dict[str, str] = {
    "J01 none": unsigned("none"),
    "J01 None": unsigned("None"),
    "J01 NONE": unsigned("NONE"),
    "J01 nOnE": unsigned("nOnE"),
    "J01 none, with a signature": token({"alg": "none"}),
    "J01 no algorithm": parts("{}", "{}"),
    "J01 empty signature": token().rpartition(".")[0] + ".",
    "J02 HS256 with the PEM": token({"alg": "HS256"}, PUBLIC, "HS256"),
    "J02 HS256 with the PEM, no key id": parts('{"alg":"HS256"}', '{"iss":"https://a","aud":"shop"}', PUBLIC, "HS256"),
    "J03 HS256 with the JWK": token({"alg": "HS256"}, json.dumps(jwk(RSA)).encode(), "HS256"),
    "J04 says RS256, is ES256": token({"alg": "RS256", "kid": "ec"}, EC, "ES256"),
    "J04 says PS256, is RS256": token({"alg": "PS256"}),
    "J04 says RS512, is RS256": token({"alg": "RS512"}),
    "J04 the secret of another algorithm": token({"alg": "HS512", "kid": "oct"}, OCT, "HS512"),
    "J05 crit": token({"crit": ["exp2"]}),
    "J05 empty crit": token({"crit": []}),
    "J05 crit b64": token({"crit": ["b64"], "b64": False}),
    "J06 b64 false": token({"b64": False}),
    "J06 9 KiB": token(name="a" * 9000),
    "J07 jwk of one's own": token({"jwk": jwk(private_key("RSA", "b")), "kid": "own"}, private_key("RSA", "b")),
    "J08 kid as a path": token({"kid": "../../../dev/null"}, b"", "HS256"),
    "J08 kid as SQL": token({"kid": "' OR 1=1 --"}),
    "J08 kid as a number": token({"kid": 1}),
    "J08 kid as a list": token({"kid": ["k1"]}),
    "J08 kid as null": token({"kid": None}),
    "J08 the kid of another key": token({"kid": "ec"}),
    "J14 the empty secret": token({"alg": "HS256"}, b"", "HS256", iss="https://odd", aud=...),
    "J15 zeros": token({"alg": "ES256", "kid": "ec"}, EC, "ES256").rpartition(".")[0] + "." + b64(bytes(64)),
    "J15 signature of DER": token({"alg": "ES256", "kid": "ec"}, EC, "ES256").rpartition(".")[0] + "." + b64(b"\x30\x06\x02\x01\x00\x02\x01\x00"),
    "J16 alg twice": parts('{"alg":"none","alg":"RS256","kid":"k1"}', "{}"),
    "J19 five parts": ".".join(["e30"] * 5),
    "J19 four parts": token() + ".e30",
    "J19 two parts": token().rpartition(".")[0],
    "J19 dpop": token({"typ": "dpop+jwt"}),
    "J19 logout": token({"typ": "application/logout+jwt"}),
    "padding": token() + "==",
    "blank inside": token()[:20] + " " + token()[20:],
    "standard base64": token().replace("-", "+").replace("_", "/") + "/",
    "a dot more": token() + ".",
    "header is a list": parts("[]", "{}"),
    "header is text": parts('"RS256"', "{}"),
    "zip": parts('{"alg":"RS256","kid":"k1","zip":"DEF"}', b"\x78\x9c"),
    "nested token": parts('{"alg":"RS256","kid":"k1","cty":"JWT"}', token()),
    "alg as a list": parts('{"alg":["RS256"],"kid":"k1"}', "{}"),
    "alg with a blank": token({"alg": "RS256 "}),
    "alg in lower case": token({"alg": "rs256"}),
}  # fmt: skip
A = '"iss":"https://a","aud":"shop","sub":"alice"'
HEAD = '{"alg":"RS256","kid":"k1"}'
PAYLOADS: dict[str, str] = {
    "J12 expired": token(exp=NOW - 120),
    "J12 not yet": token(nbf=NOW + 86400),
    "J12 exp as text": token(exp=str(NOW + 600)),
    "J12 exp as float": token(exp=NOW + 600.5),
    "J12 exp 1e400": parts(HEAD, "{" + A + ',"exp":1e400}'),
    "J12 exp NaN": parts(HEAD, "{" + A + ',"exp":NaN}'),
    "J12 exp negative": token(exp=-1),
    "J12 exp true": token(exp=True),
    "J12 exp null": token(exp=None),
    "J12 exp in a list": token(exp=[NOW + 600]),
    "J12 exp of 30 digits": parts(HEAD, "{" + A + ',"exp":' + "9" * 30 + "}"),
    "J12 nbf as text": token(nbf="0"),
    "J12 iat as text": token(iat="now"),
    "J12 exp of 5000 digits": parts(HEAD, "{" + A + ',"exp":' + "9" * 5000 + "}"),
    "J13 issuer and more": token(iss="https://a.evil"),
    "J13 issuer with a slash": token(iss="https://a/"),
    "J13 issuer in capitals": token(iss="HTTPS://A"),
    "J13 part of the issuer": token(iss="https://"),
    "J13 issuer as a list": token(iss=["https://a"]),
    "J13 no issuer": token(iss=...),
    "J13 issuer null": token(iss=None),
    "J13 issuer and a blank": token(iss="https://a "),
    "J13 audience as an object": token(aud={"shop": 1}),
    "J13 audiences of other types": token(aud=["shop", 1]),
    "J16 sub twice": parts(HEAD, "{" + A + ',"sub":"root"}'),
    "J16 sub twice, once escaped": parts(HEAD, "{" + A + ',"s\\u0075b":"root"}'),
    "J16 10 000 lists deep": parts(HEAD, "{" + A + ',"x":' + "[" * 2000 + "]" * 2000 + "}"),
    "J16 NUL": token(sub="alice\0"),
    "J16 no UTF-8": parts(HEAD.encode(), b'{"iss":"https://a","sub":"\xff"}'),
    "J16 half a surrogate": parts(HEAD, "{" + A + ',"name":"\\ud800"}'),
    "J16 UTF-16": parts(HEAD.encode(), ("{" + A + "}").encode("utf-16")),
    "J16 a mark before it": parts(HEAD.encode(), b"\xef\xbb\xbf{" + A.encode() + b"}"),
    "J16 two objects": parts(HEAD, "{" + A + "}{}"),
    "J16 a comment": parts(HEAD, "{" + A + "/**/}"),
    "J16 a comma too many": parts(HEAD, "{" + A + ",}"),
    "sub as a number": token(sub=1),
    "sub as a list": token(sub=["alice"]),
}  # fmt: skip
GOOD = {
    "RS256": token(),
    "ES256": token({"alg": "ES256", "kid": "ec"}, EC, "ES256"),
    "HS256": token({"alg": "HS256", "kid": "oct"}, OCT, "HS256"),
    "several audiences": token(aud=["other", "shop"]),
    "a minute before its begin": token(nbf=NOW + 30),
    "no end": token(exp=...),
    "jku and x5u that nobody reads": token({"jku": "http://127.0.0.1:1/", "x5u": "file:///etc/passwd"}),
    "at+jwt": token({"typ": "at+jwt"}),
}
