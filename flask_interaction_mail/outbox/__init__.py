"""Statements that change messages, and those that several callers share."""
