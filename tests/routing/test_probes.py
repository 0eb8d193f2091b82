"""What the probes find."""

from __future__ import annotations

from support.routing import request

from gateway.routing.probes import Bucket, ByPrefix, Candidate, Few, PatternSets
from gateway.routing.strings import Form, Pattern, regex


def bucket(number: int) -> Few:
    return Few((Candidate(number, (), f"route {number}"),))


def orders(found: list[Bucket]) -> list[int]:
    return sorted(candidate.order for group in found for candidate in group)


def test_all_prefixes_of_a_path_are_found() -> None:
    """Nested ones, the path itself, and none that only begins alike."""
    prefixes = [b"", b"/", b"/a", b"/a/b", b"/a/b/c", b"/a/b/cd", b"/ab", b"/b", b"/a/b/c/d/e/f/g"]
    probe = ByPrefix(lambda asked: asked.path, {prefix: bucket(n) for n, prefix in enumerate(prefixes)})

    for path in ["/", "/a", "/a/b/c", "/a/b/cde", "/ax", "/b/a", "/a/b/c/d/e/f", "/a/b/c/d/e/f/g/h", "/zz"]:
        found: list[Bucket] = []
        probe.collect(request(path), found)
        assert orders(found) == [n for n, prefix in enumerate(prefixes) if path.encode().startswith(prefix)]


def test_patterns_run_together() -> None:
    """Of thousands, in several sets, those that match are found."""
    sets = PatternSets([(regex(f".*[k]ey{number}(;.*)?"), bucket(number)) for number in range(3000)])
    found: list[Bucket] = []

    sets.search(b"a key2500;other", request(), found)

    assert orders(found) == [2500]


def test_a_pattern_that_cannot_run_in_a_set_is_always_a_candidate() -> None:
    """RE2 has no memory for it: the others run on, and it is tried by itself."""
    huge = Pattern(Form.REGEX, b"[ab]{1000}" * 98, lambda _: True)
    sets = PatternSets([(regex("[a]b"), bucket(0)), (huge, bucket(1)), (regex("[b]c"), bucket(2))])
    found: list[Bucket] = []

    sets.search(b"ab", request(), found)

    assert orders(found) == [0, 1]


def test_literal_text_is_literal_in_a_set() -> None:
    """Special characters of a suffix or a search are quoted."""
    patterns = [
        Pattern(Form.SUFFIX, b".b*", lambda _: True),
        Pattern(Form.CONTAINS, b"a+", lambda _: True),
        Pattern(Form.PREFIX, b"(", lambda _: True),
    ]
    sets = PatternSets([(pattern, bucket(number)) for number, pattern in enumerate(patterns)])

    for value, expected in (
        (b"x.b*", [0]),
        (b"xbb", []),
        (b"xa+y", [1]),
        (b"aa", []),
        (b"(a", [2]),
        (b"\nxa+", [1]),
    ):
        found: list[Bucket] = []
        sets.search(value, request(), found)
        assert expected == orders(found)


def test_a_set_without_memory_makes_every_pattern_a_candidate() -> None:
    """RE2 then finds nothing, not even what matches everything: no answer, so each is tried by itself."""
    sets = PatternSets([(regex("[a]b"), bucket(0)), (regex("[b]c"), bucket(1))])
    sets._sets = [(lambda _: None, witness, collectors) for _, witness, collectors in sets._sets]
    found: list[Bucket] = []

    sets.search(b"zz", request(), found)

    assert orders(found) == [0, 1]
