"""The seam to the database for all that makes short transactions of its own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import sqlalchemy as sa


class Transactions(Protocol):
    """Opens short transactions of our own; ``writing`` commits at its end."""

    def reading(self) -> AbstractContextManager[sa.Connection]: ...

    def writing(self) -> AbstractContextManager[sa.Connection]: ...
