"""The statements on messages. None commits, except those of ``retention`` and ``presence``."""
