"""The tables, the database they are in, and helpers for SQL."""
