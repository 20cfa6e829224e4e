"""Hands an envelope to a mail server: the interface of transports, and the transports."""
