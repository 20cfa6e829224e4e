#!/bin/sh
# flufl.bounce 6.0.0 (PyPI), Python 3.11: a report of success is read as the permanent failure of
# somebody who only stands in the returned headers.
#
# A good guess: a multipart/report whose one recipient has "Action: delivered" and "Status: 2.0.0"
# (RFC 3464 §2.3.3) names no failure.
# Seen: the detector for delivery reports finds none, but all detectors are asked, and one for plain
# texts begins at "the following addresses had", which Exim also writes over "successful delivery
# notifications". It then takes any line that is an address alone: here the last line of a
# folded To field. With To in one line there is no failure.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet flufl.bounce==6.0.0 2>/dev/null
cat >report.py <<'PY'
from email import message_from_string

from flufl.bounce import all_failures

REPORT = """\
From: Mail Delivery System <Mailer-Daemon@mail.example>
To: crm@firm.example
Subject: Delivery Status Notification
Auto-Submitted: auto-generated
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=parts

--parts
Content-Type: text/plain; charset=us-ascii

This message was created automatically by mail delivery software.
 ----- The following addresses had successful delivery notifications -----
<ada@firm.example> (relayed via non "Remote SMTP" router)

--parts
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example

Original-Recipient: rfc822;ada@firm.example
Action: delivered
Final-Recipient: rfc822;ada@firm.example
Status: 2.0.0

--parts
Content-Type: text/rfc822-headers

From: CRM <crm@firm.example>
To: ada@firm.example,{fold}bob@firm.example
Subject: Hello
Message-ID: <1@firm.example>

--parts--
"""

for name, fold in (("folded", "\n "), ("in one line", " ")):
    report = message_from_string(REPORT.format(fold=fold))
    temporary, permanent = all_failures(report)
    print(f"To {name}: temporary {sorted(temporary)}, permanent {sorted(permanent)}")
PY
venv/bin/python report.py | tee seen
cat >expected <<'TXT'
To folded: temporary [], permanent [b'bob@firm.example']
To in one line: temporary [], permanent []
TXT
diff expected seen && echo "as described"
