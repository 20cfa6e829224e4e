"""Small messages and large ones: what takes long must not stand in the way of the others."""

from __future__ import annotations

from typing import Final, NamedTuple


class Sizes(NamedTuple):
    """Messages of more than ``over`` bytes of content, and of ``upto`` at most."""

    over: int
    upto: int


_NO_END: Final = 2**31 - 1
ANY: Final = Sizes(-1, _NO_END)
LARGE: Final = Sizes(4_000_000, _NO_END)  # of these a worker has one at a time
SMALL: Final = Sizes(-1, LARGE.over)
