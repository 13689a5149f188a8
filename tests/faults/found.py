"""Found: what a part did, and what it found wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_EXAMPLES = 5


@dataclass
class Found:
    """Counts of what was done by name; faults by kind, of which some are told in full."""

    done: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def fault(self, kind: str, example: object = "") -> None:
        self.faults[kind] += 1
        if self.faults[kind] <= _EXAMPLES:
            self.examples.append(f"{kind}: {example}")

    def check(self, is_right: bool, kind: str, example: object = "") -> None:
        if not is_right:
            self.fault(kind, example)

    @contextmanager
    def catching(self, kind: str, example: object = "") -> Iterator[None]:
        """Whatever is raised inside is a fault of this kind."""
        try:
            yield
        except Exception as error:
            self.fault(kind, f"{example} {type(error).__name__}: {str(error)[:300]}")

    def add(self, other: Found) -> None:
        self.done.update(other.done)
        self.faults.update(other.faults)
        self.examples.extend(other.examples)

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {name}" for name, count in self.done.items())
        faults = ", ".join(f"{count:,} {kind}" for kind, count in self.faults.items())
        return f"{counts}: {faults or 'none'}"
