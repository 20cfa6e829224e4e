"""The week before the demo: what people sent, what servers said, and who looked after it.

All of it is done with the extension, each thing at its time (see ``past.py``), and delivered to
the demo's own mail server. Only what that server answers is made up.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from itertools import repeat
from typing import Any, Final

from flask import Flask
from flask_mail import Message

from flask_interaction_mail import (
    Notification,
    Party,
    get_notification,
    merge_completed,
    request_merge,
    send_notification,
)
from flask_interaction_mail.catcher import DROPPED, Catcher

from .administrator import Administrator
from .contacts import mail
from .database import db
from .directory import user_party
from .merging import describe, describe_done, merge
from .models import Contact, Folder, User
from .past import Past
from .seed import COMPANY_DOMAIN

DAYS: Final = 7
UNKNOWN: Final = "j.hartmann@northwind.example"
FULL: Final = "events@borges.example"
STRICT: Final = "office@borges.example"
GREYLISTING: Final = "press@contoso.example"
SHAKY: Final = "notary@smith.example"
FORMER: Final = "m.olsen@fabrikam.example"
FAR: Final = "archive@contoso.example"
GONE: Final = "550 5.1.1 User unknown: they have left the company"
LATER: Final = "451 4.7.1 Greylisting in action, please try again in 5 minutes"
BUSY: Final = "421 4.3.2 The system is being updated, please try again later"

# When, to whom, about what, and the text: every day.
ROUTINE: Final = (
    (time(7), "olindt", "Your folders yesterday", "Client List: 12 changes.\nFirm List: 3."),
    (time(7, 1), "norsini", "Your folders yesterday", "Events: 5 changes, one new contact."),
    (time(8, 15), "dstewart", "Calls to make today", "Café Müller\nContoso plc\nSmith, Jane"),
    (time(17, 45), "sklein", "Contacts without an e-mail address", "Borges and Partners"),
)
# Names that a nightly job took for duplicates.
DUPLICATES: Final = (
    *("Adatum Corp", "Bellows College", "Coho Vineyard", "Datum Institute", "Fourth Coffee"),
    *("Graphic Design", "Humongous Insurance", "Litware Inc", "Lucerne Publishing", "Munson Farms"),
    *("Proseware Ltd", "Tailspin Toys", "Trey Research"),
)


# What mail servers write (RFC 3464), as short as can be.
_REPORT: Final = """\
From: Mail Delivery System <MAILER-DAEMON@relay.example>
To: crm@example.com
Subject: Mail delivery report
Message-ID: <{action}.{to}>
Content-Type: multipart/report; report-type=delivery-status; boundary=part

--part
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example

Final-Recipient: rfc822; {to}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; {said}

--part
Content-Type: text/rfc822-headers

Message-ID: {about}

--part--
"""


def refuse_as_usual(catcher: Catcher) -> None:
    """Have the mail server say of some addresses what servers say."""
    catcher.refusals |= {
        UNKNOWN: repeat(f"550 5.1.1 <{UNKNOWN}>: User unknown in virtual mailbox table"),
        FULL: repeat(f"452 4.2.2 <{FULL}>: The mailbox is over its quota"),
    }
    catcher.endings[STRICT] = repeat("554 5.7.1 Message rejected: it looks like advertising")


def has_mail(app: Flask) -> bool:
    """Whether anything was ever sent or set up in the database of ``app``."""
    used = (db.metadata.tables[f"interaction_mail_{name}"] for name in ("message", "settings"))
    with app.app_context():
        return any(db.session.execute(db.select(table).limit(1)).first() for table in used)


def play(app: Flask, url: str, catcher: Catcher) -> None:
    """Let a week pass that ends now.

    ``app`` delivers at the end of each app context. ``url`` is what links in messages begin with.
    """
    week = Week(app, url, catcher)
    with _silence(), week.past.receiving(catcher):
        for part in PARTS:
            part(week)
        week.past.end()


class Week:
    """The week as it is played, and what people can do in it."""

    def __init__(self, app: Flask, url: str, catcher: Catcher) -> None:
        self.end = datetime.now(UTC).astimezone()
        self.past = Past(app, url, timedelta(days=DAYS + 1))
        self.alice, self.henrik = (Administrator(app, login) for login in ("amoreau", "hlund"))
        self.catcher = catcher
        self._routine = [
            (self._moment(day, at), to, subject, text)
            for day in range(DAYS - 1, 0, -1)
            for at, to, subject, text in ROUTINE
        ]

    def at(self, days_ago: int, hour: int, minute: int) -> None:
        """Go on to a time of day."""
        self._go_to(self._moment(days_ago, time(hour, minute)))

    def ago(self, minutes: int) -> None:
        """Go on to shortly before the end."""
        self._go_to(self.end - timedelta(minutes=minutes))

    def send(
        self, to: Any, subject: str, text: str, *, by: str | None = None, **more: Any
    ) -> Notification:
        """Send a notification to logins or addresses."""
        with self.past.request_of(by) if by else self.past.request():
            return send_notification(_parties(to), subject, text=text, **more)

    def mail_contact(self, by: str, name: str) -> None:
        """Send a contact to oneself, the Flask-Mail way."""
        with self.past.request_of(by) as user:
            address = f"{user.email}@{COMPANY_DOMAIN}"
            mail.send(Message(f"Contact: {name}", recipients=[address], body=name))

    def ask(self, by: str, first: str, second: str, reason: str) -> Notification | None:
        """Try a merge without the right."""
        with self.past.request_of(by) as user:
            return request_merge(describe(_contact(first), _contact(second), user, reason))

    def comes_back(self, sent: Notification, address: str, action: str, said: str) -> None:
        """The server behind the mail server reports what became of ``sent`` at ``address``."""
        with self.past.app.app_context():
            now = get_notification(sent.id)
        about = now.message_id if now else None
        report = _REPORT.format(
            to=address, action=action, said=said, status=said.split()[1], about=about
        )
        command = ("interaction-mail", "bounces", "read")
        read = self.past.app.test_cli_runner().invoke(args=command, input=report)
        assert read.exit_code == 0, read.output  # noqa: S101 - a story that is wrong ends here

    def merge(self, by: str, survivor: str, other: str) -> None:
        """Merge two contacts."""
        with self.past.request_of(by) as user:
            kept, gone = _contact(survivor), _contact(other)
            done = describe_done(kept, gone, user)
            merge(kept, gone)
            merge_completed.send(self.past.app, merge=done)

    def add_contacts(self, folder: str, *names: str) -> None:
        """Enter contacts."""
        with self.past.request():
            place = db.session.scalars(db.select(Folder).filter_by(name=folder)).one()
            db.session.add_all(Contact(name=name, folder=place) for name in names)

    def _go_to(self, moment: datetime) -> None:
        while self._routine and self._routine[0][0] < moment:
            at, *message = self._routine.pop(0)
            self.past.go_to(at)
            self.send(*message)
        self.past.go_to(moment)

    def _moment(self, days_ago: int, at: time) -> datetime:
        return datetime.combine(self.end.date() - timedelta(days=days_ago), at, self.end.tzinfo)


def _setting_up(week: Week) -> None:
    """Nothing is set up yet; a request fails, and is sent again as soon as it can be."""
    week.at(7, 8, 41)
    early = week.ask("emroberts", "Smith, Jane", "Jane Smith", "She moved to the Leeds office.")
    settings: dict[str, str | None] = {
        "company_domain": COMPANY_DOMAIN,
        "smtp_server": week.catcher.host,
        "smtp_port": str(week.catcher.port),
        "encryption": "none",
        "default_to": "mailadmin",
        "default_from": "crm",
    }
    week.at(7, 9, 2)
    week.alice.test(**settings | {"encryption": "starttls"})
    week.at(7, 9, 6)
    week.alice.test(**settings)
    week.at(7, 9, 7)
    week.alice.save(**settings)
    week.at(7, 9, 10)
    if early:
        week.alice.act("resend", early)
    week.at(7, 10, 32)
    rows = ("import.csv", "text/csv", b"name,city\r\nContoso plc,Dublin\r\n")
    week.send("amoreau", "Your import has finished", "412 contacts, 3 to look at.",
              attachments=[rows], kind="import")  # fmt: skip
    week.at(7, 14, 15)
    week.mail_contact("sklein", "Northwind GmbH")


def _first_days(week: Week) -> None:
    """Ordinary mail: a request for two folders, one to a server that wants to be asked again."""
    week.at(6, 9, 30)
    week.send(("olindt", "norsini"), "Contacts: the week in figures", "31 new, 4 merged.",
              html="<h1>The week in figures</h1><p><b>31</b> new, <b>4</b> merged.</p>",
              cc=["mailadmin"])  # fmt: skip
    week.at(6, 11, 20)
    week.ask("emroberts", "Northwind GmbH", "Northwind", "One of them has the old address.")
    week.catcher.refusals[GREYLISTING] = iter((LATER, LATER))
    week.at(6, 11, 48)
    week.send(GREYLISTING, "Press list: please check your details", "Are these still right?",
              by="dstewart")  # fmt: skip
    week.at(6, 16, 20)
    week.ask("emroberts", "Café Müller", "Cafe Muller", "Gleiche Adresse, Zürich")


def _outage(week: Week) -> None:
    """The server is away for forty minutes: what waits, what is too late, what is not needed."""
    week.at(5, 8, 28)
    week.add_contacts("Client List", "Fabrikam Inc", "Fabrikam, Inc.")
    week.past.watch()
    week.catcher.trouble = BUSY
    week.at(5, 8, 31)
    expires = week.past.real(week.past.now + timedelta(minutes=25))
    week.send(("dstewart", "emroberts"), "Meeting at 9:00: another room", "Room 4, not room 2.",
              by="sklein", expires_at=expires, kind="reminder")  # fmt: skip
    week.past.watch()
    week.at(5, 8, 40)
    week.ask("emroberts", "Fabrikam Inc", "Fabrikam, Inc.", "The same company.")
    week.at(5, 8, 52)
    week.merge("amoreau", "Fabrikam Inc", "Fabrikam, Inc.")
    week.at(5, 9, 9)
    week.catcher.trouble = None
    for minute in (10, 12):  # the first one may only find out that the server works again
        week.at(5, 9, minute)
        week.past.deliver()
    week.past.watch()
    week.at(5, 15, 30)
    week.send(UNKNOWN, "Invitation: autumn reception", "We would be glad to see you.",
              by="emroberts", reply_to="events@example.com")  # fmt: skip


def _nightly_job(week: Week) -> None:
    """Other settings, and a job that sends more at once than one reader should get."""
    week.at(4, 10, 0)
    week.henrik.test()
    week.at(4, 10, 4)
    week.henrik.save(from_policy="default_from", on_ambiguous="hold", alert_waiting="30")
    week.at(4, 22, 0)
    for name in DUPLICATES:
        week.send("dstewart", f"Possible duplicate: {name}", f"{name} is there twice.")


def _returned(week: Week) -> None:
    """The mail server takes what servers behind it refuse, now and again days later."""
    week.at(3, 9, 30)
    first = week.send(FORMER, "Minutes of the spring meeting", "See below.", by="dstewart")
    far = week.send(FAR, "For your archive: the list of guests", "48 guests.", by="sklein")
    week.at(3, 9, 52)
    week.comes_back(first, FORMER, "failed", GONE)
    week.at(3, 13, 40)
    week.comes_back(far, FAR, "delayed", "450 4.4.1 mx.contoso.example does not answer")


def _maintenance(week: Week) -> None:
    """Sending is paused for an hour."""
    week.at(3, 19, 58)
    week.henrik.save(paused="y")
    week.at(3, 20, 20)
    week.send("norsini", "Guest list for Thursday", "48 guests, 3 without a table.", by="sklein")
    week.at(3, 21, 2)
    week.henrik.save(paused=None)
    week.past.deliver()


def _odd_answers(week: Week) -> None:
    """A message that is refused for its text, and one of which nobody knows whether it arrived."""
    week.at(2, 9, 45)
    week.send(STRICT, "Special offer for our partners", "Only this week.", by="emroberts")
    week.catcher.endings[SHAKY] = iter((DROPPED,))
    week.at(2, 13, 12)
    uncertain = week.send(SHAKY, "Contract Smith: the signed copy", "As agreed.", by="dstewart")
    week.at(2, 13, 40)
    week.henrik.act("release", uncertain)
    week.at(2, 17, 30)
    week.alice.export("failed")


def _yesterday(week: Week) -> None:
    """A message is cancelled, one is for somebody who gets no mail, one waits for a decision."""
    week.at(1, 9, 15)
    tomorrow = week.past.real(week.past.now + timedelta(days=1))
    early = week.send("mailadmin", "Newsletter for November", "Draft, please do not forward.",
                      by="emroberts", send_at=tomorrow, kind="newsletter")  # fmt: skip
    week.at(1, 10, 3)
    week.henrik.act("cancel", early)
    week.at(1, 11, 25)
    week.send((Party("نادية حداد", "n.haddad@contoso.example"), "olindt"), "دعوة: Autumn reception",
              "You are welcome.", by="emroberts")  # fmt: skip
    week.at(1, 12, 10)
    again = week.send(FORMER, "Minutes of the summer meeting", "See below.", by="dstewart")
    week.at(1, 12, 31)
    week.comes_back(again, FORMER, "failed", GONE)
    week.at(1, 14, 5)
    week.send("tweber", "Your contacts were reviewed", "Nothing to do.")
    week.catcher.endings[SHAKY] = iter((DROPPED,))
    week.at(1, 15, 50)
    week.send(SHAKY, "Contract Smith: a correction on page 3", "Please replace it.", by="dstewart")


def _today(week: Week) -> None:
    """A full mailbox, a wrong address beside a right one, a probe that fails, what is to come."""
    week.ago(285)
    week.send(FULL, "Your seats at the reception", "Row 2, seats 4 and 5.", by="sklein")
    week.ago(204)
    week.send(("olindt", UNKNOWN), "Minutes of the meeting", "See below.", by="dstewart")
    week.ago(150)
    week.henrik.test()
    week.ago(75)
    week.catcher.trouble = BUSY
    week.past.watch()
    week.catcher.trouble = None
    week.ago(58)
    week.send("olindt", "Three contacts were deleted", "Look whether that was right.")
    week.past.watch()
    week.ago(21)
    tomorrow = week.past.real(week.past.now + timedelta(days=1))
    week.send("dstewart", "Reminder: quarterly review", "Please look through your contacts.",
              send_at=tomorrow, kind="reminder")  # fmt: skip


PARTS: Final = (
    _setting_up,
    _first_days,
    _outage,
    _nightly_job,
    _returned,
    _maintenance,
    _odd_answers,
    _yesterday,
    _today,
)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep old troubles out of the terminal."""
    log = logging.getLogger("flask_interaction_mail")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def _parties(names: str | Party | tuple[str | Party, ...]) -> list[Party | str]:
    several = names if isinstance(names, tuple) else (names,)
    return [_party(name) if isinstance(name, str) else name for name in several]


def _party(name: str) -> Party | str:
    """The user with that login; an address stays one."""
    user = db.session.scalar(db.select(User).filter_by(login=name))
    return user_party(user) if user else name


def _contact(name: str) -> Contact:
    # Some databases take "Café" and "Cafe" for the same.
    alike: Iterable[Contact] = db.session.scalars(db.select(Contact).filter_by(name=name))
    return next(contact for contact in alike if contact.name == name)
