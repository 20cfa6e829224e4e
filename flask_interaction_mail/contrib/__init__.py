"""Bridges to packages that are extras: each is imported only where it is used."""
