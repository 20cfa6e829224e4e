"""What a host's own Alembic needs where the tables are kept by ours."""

from __future__ import annotations

from .storage.migrations import not_ours

__all__ = ["not_ours"]
