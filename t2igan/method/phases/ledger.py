"""What a run has spent on its private pictures, in a file of its folder: a ledger."""

from __future__ import annotations

import json
from pathlib import Path

from t2igan.errors import UserError
from t2igan.inference.files import write_json

FILE_NAME = "privacy.json"


class Ledger:
    """What a run has spent on its private pictures: a release of means, and updates, those that a crash lost included.

    Updates are written before each step, so that a killed process has at most counted one too many. The release is
    written when it is on disk and before it is used.
    """

    def __init__(self, workdir: Path):
        """The ledger of a run's folder, which need not be there yet."""
        self.path = workdir / FILE_NAME
        # As `write` wrote or found it. Nobody else changes it meanwhile: a training holds the lock of its folder.
        self._means_noise: float | None = None

    def updates(self) -> int | None:
        """Returns the updates that are counted, as the file has them; None where there is no ledger.

        Raises:
          UserError: the file is none of ours.
        """
        counted = self._read()
        return None if counted is None else counted[0]

    def means_noise(self) -> float:
        """Returns the noise multiplier of the means that were released, as the file has it; 0 where none were.

        Raises:
          UserError: the file is none of ours.
        """
        counted = self._read()
        return 0.0 if counted is None else counted[1]

    def write(self, updates: int, means_noise: float | None = None) -> None:
        """Counts so many updates in all; on disk when it returns.

        Args:
          updates: all that were made.
          means_noise: noise multiplier of the means that were released; None = as it was.

        Raises:
          UserError: the file that is there is none of ours, or the disk is full or cannot be written.
        """
        if means_noise is not None:
            self._means_noise = means_noise
        elif self._means_noise is None:
            self._means_noise = self.means_noise()
        counted = {"updates": updates} | ({"means_noise": self._means_noise} if self._means_noise else {})
        write_json(self.path, counted, durable=True)

    def _read(self) -> tuple[int, float] | None:
        if not self.path.is_file():
            return None
        try:
            counted = json.loads(self.path.read_text(encoding="utf-8"))
            return int(counted["updates"]), float(counted.get("means_noise", 0.0))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self.path} cannot be read, so nobody knows what was spent; bring it back, or begin in a new "
                f"--workdir"
            ) from error
