"""What is not taken of a scan, and why."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A file, or the files of a series by its first, that is not taken, and the reason."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f'{self.path}: {self.reason}'
