#!/bin/sh
# Haraka 3.3.4 (npm), tried with Node.js 20: it offers PIPELINING, and answers 503 to every command
# that arrives in one write with a final dot.
#
# A good guess: RFC 2920 §3.1 lets a client send the next MAIL, RCPT and DATA right behind the
# content, and servers that offer PIPELINING take them in order, as Postfix, Exim and Nodemailer's
# smtp-server do.
# Seen: the message before the dot is taken (250), then 503 to MAIL and to RCPT. Sent in a write of
# their own, the same commands are taken. A client that takes the 503 for a verdict on the
# next message fails it for good.
set -eu
folder=$(mktemp -d)
trap 'kill "$(cat "$folder/pid" 2>/dev/null)" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --omit=optional Haraka@3.3.4 >/dev/null 2>&1
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir site site/plugins
cp -r node_modules/Haraka/config site/config
printf 'listen=127.0.0.1:%s\n' "$port" >site/config/smtp.ini
echo take >site/config/plugins
echo haraka.example >site/config/me
cat >site/plugins/take.js <<'JS'
exports.hook_rcpt = (next) => next(OK);
exports.hook_queue = (next) => next(OK);
JS
node node_modules/Haraka/bin/haraka -c "$folder/site" >log 2>&1 &
echo $! >pid
cat >client.py <<'PY'
import socket
import sys
import time

ENVELOPE = b"MAIL FROM:<crm@firm.example>\r\nRCPT TO:<ada@firm.example>\r\n"
CONTENT = b"Subject: x\r\n\r\nHello\r\n.\r\n"


def connect(port):
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except OSError:
            time.sleep(0.1)
    raise SystemExit("Haraka does not listen")


def replies(file, count):
    """The codes of so many replies."""
    codes = []
    while len(codes) < count:
        line = file.readline().decode()
        if line[3:4] != "-":
            codes.append(line[:3])
    return codes


link = connect(int(sys.argv[1]))
file = link.makefile("rb")
replies(file, 1)
link.sendall(b"EHLO client.example\r\n")
offered = b""
while not offered.endswith(b"\r\n") or offered.splitlines()[-1][3:4] == b"-":
    offered += file.readline()
print("offers PIPELINING:", b"PIPELINING" in offered)
link.sendall(ENVELOPE + b"DATA\r\n")
print("one envelope, in one write:", *replies(file, 3))
link.sendall(CONTENT + ENVELOPE)
print("content, and the next envelope behind its dot:", *replies(file, 3))
link.sendall(ENVELOPE)
print("the same envelope in a write of its own:", *replies(file, 2))
PY
python3 client.py "$port" | tee seen
cat >expected <<'TXT'
offers PIPELINING: True
one envelope, in one write: 250 250 354
content, and the next envelope behind its dot: 250 503 503
the same envelope in a write of its own: 250 250
TXT
diff expected seen && echo "as described"
