"""Real mail servers side by side: the same messages into each, and an account of each recipient.

``python -m tests.servers.stand`` is what ``make servers`` runs. Each server listens on ports of
loopback and keeps its files in a folder of its own; what the machine runs is not touched.
"""
