#!/bin/sh
# dnspython 2.9.2 (PyPI), Python 3.11: a question to a silent name server ends later than the
# lifetime that was given for all of it.
#
# A good guess: lifetime is "the total number of seconds to spend trying to get an answer", so that
# after 1.75 s there is an answer or an error, as after 3.5 s.
# Seen: 2.2 s for 1.75 s with tries of half a second. The pauses between two rounds of tries double,
# and one that is longer than what is left of the lifetime is slept to its end.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet dnspython==2.9.2 2>/dev/null
cat >silent.py <<'PY'
import socket
import time

import dns.resolver

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
    silent.bind(("127.0.0.1", 0))
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], silent.getsockname()[1]
    resolver.timeout = 0.5
    for lifetime in (1.75, 3.5):
        began = time.monotonic()
        try:
            resolver.resolve("firm.example", "TXT", lifetime=lifetime, search=False)
        except dns.resolver.LifetimeTimeout:
            late = time.monotonic() - began - lifetime
            print(f"lifetime {lifetime} s: {'more than 0.3 s late' if late > 0.3 else 'in time'}")
PY
venv/bin/python silent.py | tee seen
cat >expected <<'TXT'
lifetime 1.75 s: more than 0.3 s late
lifetime 3.5 s: in time
TXT
diff expected seen && echo "as described"
