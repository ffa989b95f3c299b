"""When a writer commits what waits: episodes go in groups, since each commit makes files and costs time."""

import time

BYTES = 64 * 2**20
"""What waits is committed when it takes so much memory; smaller groups would make many small files."""
SECONDS = 30.0
SHARE = 0.01
"""What waits is committed after so long, or after this share of the time since the writer began, so that a day's work
ends with some hundred groups: a kill costs half a minute, or 1 % of a long run."""
MOST = 256
"""Groups that may wait to be joined to a dataset; a reader opens each."""


class Group:
    """What waits to be committed, counted from the moment that its writer is entered."""

    def __init__(self) -> None:
        self._begun = self._committed = self._since = time.monotonic()
        self._size: int | None = None

    def add(self, size: int) -> bool:
        """Count an episode of so many bytes.

        Returns:
            Whether it is time to commit.
        """
        if self._size is None:
            self._since, self._size = time.monotonic(), 0
        self._size += size
        return self._size >= BYTES or self._is_late(self._since)

    def is_late(self) -> bool:
        """Whether the last commit was long ago; for pauses of unknown length."""
        return self._is_late(self._committed)

    def commit(self) -> None:
        """Begin the next group."""
        self._size = None
        self._committed = time.monotonic()

    def _is_late(self, since: float) -> bool:
        now = time.monotonic()
        return now - since >= max(SECONDS, SHARE * (now - self._begun))
