"""Messages that wait for an agent, and how many agents there are to take them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from ..outbox.claimed import Claimed


class Jobs:
    """Messages that wait for an agent, in their order; for any number of threads.

    Nobody can take those in ``unreleased`` before they are released. ``agents`` is how many agents
    take messages. ``all_idle`` is set while all of them wait for more. Once ``closed``, nothing
    more is taken.
    """

    def __init__(self) -> None:
        self.unreleased: deque[Claimed] = deque()
        self.agents: int = 0
        self.all_idle: threading.Event = threading.Event()
        self.closed: bool = False
        self._idle = 0  # agents
        self._surplus = 0  # agents that are to leave
        self._leaving: set[int] = set()  # threads of agents whose connection is still open
        self._waiting: deque[Claimed] = deque()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._waiting) + len(self.unreleased)

    def add(self, first: Sequence[Claimed], last: Sequence[Claimed]) -> None:
        """Put ``first`` ahead of what is waiting, and ``last`` behind what is unreleased."""
        with self._changed:
            self.unreleased.extend(last)
            if first:
                self._waiting.extendleft(reversed(first))
                self._wake_agents()

    def release(self, most: int) -> None:
        """Let agents take up to ``most`` of the unreleased messages."""
        if most <= 0 or not self.unreleased:
            return
        with self._changed:
            for _ in range(min(most, len(self.unreleased))):
                self._waiting.append(self.unreleased.popleft())
            self._wake_agents()

    def take(self) -> Claimed | None:
        """The next message; None if none is waiting right now."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def wait(self) -> Claimed | None:
        """The next message, as soon as there is one; None if this agent is to leave."""
        if self._surplus and self._leaves():
            return None
        while (claimed := self.take()) is None:
            with self._changed:
                if self.closed:
                    return None
                if not self._waiting:
                    self._idle += 1
                    if self._idle >= self.agents:
                        self.all_idle.set()
                    self._changed.wait()
                    self._idle -= 1
            if self._surplus and self._leaves():
                return None
        return claimed

    def add_agents(self, count: int) -> None:
        """``count`` more agents take messages."""
        with self._changed:
            self.agents += count

    def remove_agent(self) -> bool:
        """Count one agent less, unless it is the last one; gives whether it was removed."""
        with self._changed:
            if self.agents > 1:
                self.agents -= 1
                self._surplus = max(0, self._surplus - 1)
                return True
        return False

    def shrink_to(self, most: int) -> None:
        """Have at most ``most`` agents, as soon as the others have finished their message."""
        if self.agents <= most and not self._surplus:
            return
        with self._changed:
            self._surplus = max(0, self.agents - most)
            self._changed.notify_all()

    @property
    def connected(self) -> int:
        """How many agents have a connection or will open one, those that are leaving included."""
        return self.agents + len(self._leaving)

    def disconnected(self) -> None:
        """The agent of this thread has closed its connection."""
        self._leaving.discard(threading.get_ident())

    def close(self) -> list[Claimed]:
        """Let nothing more be taken; gives the messages that nobody has taken."""
        with self._changed:
            self.closed = True
            left = [*iter(self.take, None), *self.unreleased]
            self.unreleased.clear()
            self._changed.notify_all()
        return left

    def _leaves(self) -> bool:
        """Whether the agent of this thread is one too many; it is then no longer counted."""
        with self._changed:
            leaves = self._surplus > 0
            if leaves:
                self._surplus -= 1
                self.agents -= 1
                self._leaving.add(threading.get_ident())
        return leaves

    def _wake_agents(self) -> None:
        self.all_idle.clear()
        self._changed.notify_all()
