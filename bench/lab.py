"""What every scenario shares: the subjects, a working directory, how long to measure, and measuring itself.

Lifetime: process.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.load import Volley, fire
from bench.processes import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.load import Shot
    from bench.subjects import Files, Running, Subject


@dataclass(frozen=True, slots=True)
class Sample:
    """One volley at one subject."""

    cpu: float
    """Microseconds of processor time a request."""
    volley: Volley


@dataclass(frozen=True, slots=True)
class Summary:
    """Medians over the rounds."""

    cpu: float
    spread: float
    """Largest minus smallest, as a share of the median."""
    rate: float
    p50: float
    p99: float
    failures: int
    """Of all rounds."""

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Summary:
        """The medians."""
        cpu = [sample.cpu for sample in samples]
        volleys = [sample.volley for sample in samples]
        return cls(
            cpu=median(cpu),
            spread=(max(cpu) - min(cpu)) / median(cpu),
            rate=median(volley.rate for volley in volleys),
            p50=median(volley.p50 for volley in volleys),
            p99=median(volley.p99 for volley in volleys),
            failures=sum(volley.failures for volley in volleys),
        )


class Lab:
    """The frame of a run."""

    def __init__(
        self,
        directory: Path,
        subjects: Sequence[Subject],
        say: Callable[[str], None],
        *,
        rounds: int,
        seconds: float,
        quick: bool,
    ) -> None:
        self.directory = directory
        self.subjects = subjects
        self.say = say
        self.rounds = rounds
        self.seconds = seconds
        """Of one volley."""
        self.quick = quick
        self.pages: list[Callable[[dict[str, Any], Path], None]] = []
        """Scenarios with a page of their own: they write it, given the machine and the folder of the docs."""

    @contextmanager
    def running(
        self, files: Callable[[Subject], Files], *, only: Sequence[str] = ()
    ) -> Iterator[dict[str, Running]]:
        """Every subject that can start, by name; the others are told and left out."""
        with ExitStack() as stack:
            found: dict[str, Running] = {}
            for subject in self.subjects:
                if only and subject.name not in only:
                    continue
                place = self.directory / subject.name
                place.mkdir(exist_ok=True)
                try:
                    running = subject.start(place, files(subject))
                except Missing as reason:
                    self.say(f"[{subject.name}] left out: {reason}")
                    continue
                stack.callback(running.stop)
                found[subject.name] = running
            yield found

    def compare(
        self, running: Mapping[str, Running], shots: Sequence[Shot], *, connections: int = 32, pause: int = 0
    ) -> dict[str, Summary]:
        """Volleys at the subjects in turn, so that a disturbance of the machine meets all of them.

        `pause`: milliseconds between the requests of a connection.
        """
        samples: dict[str, list[Sample]] = {name: [] for name in running}
        for subject in running.values():
            self.volley(subject, shots, seconds=1, connections=connections)
        for round_number in range(self.rounds):
            for name, subject in running.items():
                sample = self.volley(
                    subject, shots, seconds=self.seconds, connections=connections, pause=pause
                )
                samples[name].append(sample)
                self.say(
                    f"round {round_number + 1}/{self.rounds} {name}: {sample.cpu:.1f} us/request,"
                    f" {sample.volley.rate:,.0f} requests/s, p50 {sample.volley.p50:.2f} ms"
                )
        return {name: Summary.of(items) for name, items in samples.items()}

    def volley(
        self,
        subject: Running,
        shots: Sequence[Shot],
        *,
        seconds: float,
        connections: int = 32,
        pause: int = 0,
    ) -> Sample:
        """One volley with the processor time it took."""
        before = subject.child.usage()
        volley = fire(
            self.directory, subject.port, shots, seconds=seconds, connections=connections, pause=pause
        )
        spent = subject.child.usage().cpu - before.cpu
        return Sample(spent / max(1, volley.requests) * 1e6, volley)
