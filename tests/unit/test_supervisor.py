"""When a worker that has ended is started again."""

from __future__ import annotations

from flask_interaction_mail.cli.supervisor import delay_after


def test_each_quick_end_doubles_the_delay_up_to_half_a_minute() -> None:
    """From a second on, and back to it after a minute of life."""
    delays = [0.0]
    for lived in (0.1, 59.0, 0.1, 0.1, 0.1, 0.1, 0.1, 60.0, 1.0):
        delays.append(delay_after(lived, delays[-1]))
    assert delays[1:] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 1.0, 2.0]
