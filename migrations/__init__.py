"""The extension's own Alembic chain, for hosts that do not keep the tables in theirs.

Run it with ``flask interaction-mail db``; nothing here is imported by a running application.
"""
