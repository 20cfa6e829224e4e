"""The host's transaction, and what is stored with it or after it."""
