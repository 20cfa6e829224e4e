#!/bin/sh
# pyspf 2.0.14 (PyPI), Python 3.11: a redirect that is not followed costs a look-up, and so turns
# a valid list of ten look-ups into a permanent error.
#
# A good guess: RFC 7208 §6.1 has "redirect" ignored where an "all" stands, so that only the ten
# mechanisms count, which is the limit of §4.6.4.
# Seen: "permerror: Too many DNS lookups" with the redirect, "fail" without it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pyspf==2.0.14 dnspython==2.9.2 2>/dev/null
cat >redirect.py <<'PY'
import spf

TEN = " ".join(f"a:host{number}.example" for number in range(10))
LISTS = {
    "without a redirect": f"v=spf1 {TEN} -all",
    "with one beside -all": f"v=spf1 {TEN} -all redirect=other.example",
}


def answer(text):
    def look_up(name, kind, *_, **__):
        if (name, kind) == ("firm.example", "TXT"):
            return [((name, kind), (text.encode(),))]
        if name.startswith("host") and kind == "A":
            return [((name, kind), "192.0.2.1")]
        return []

    return look_up


for name, text in LISTS.items():
    spf.DNSLookup = answer(text)
    query = spf.query(i="203.0.113.9", s="crm@firm.example", h="mail.firm.example")
    result, _, explanation = query.check()
    print(f"{name}: {result}, {query.lookups} look-ups")
PY
venv/bin/python redirect.py 2>/dev/null | tee seen
cat >expected <<'TXT'
without a redirect: fail, 10 look-ups
with one beside -all: permerror, 11 look-ups
TXT
diff expected seen && echo "as described"
