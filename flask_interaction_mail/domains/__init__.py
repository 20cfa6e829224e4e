"""The facts of a mail domain: what its DNS says, and what follows for mail that comes from it.

``look.look`` asks and gives a ``DomainReport``. The rules know no network: they are given a
function that answers. ``resolver`` alone knows dnspython.
"""
