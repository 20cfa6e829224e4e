"""Handing an envelope to a mail server: the seam, and what stands behind it."""
