"""A host as it was written for 0.1: it is kept as it is, and must run with what came later."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta

from flask import Flask, abort, has_request_context, jsonify, session
from flask_admin import Admin, AdminIndexView
from flask_admin.contrib.sqla import ModelView
from flask_mail import Attachment, Mail, Message
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

from flask_interaction_mail import (
    CURRENT_USER,
    AddressError,
    Contact,
    ContentError,
    Directory,
    HeaderError,
    InteractionMail,
    InteractionMailError,
    Kind,
    Merge,
    MessagingNotConfigured,
    MessagingSettings,
    NoRecipient,
    Notification,
    Party,
    Reason,
    RecipientVerdict,
    Role,
    SecretUnreadable,
    SessionOver,
    SettingsConflict,
    SettingsError,
    Status,
    TablesMissing,
    TemplateMissing,
    TransportError,
    cancel_notification,
    get_notification,
    merge_completed,
    merge_denied,
    notification_cancelled,
    notification_deferred,
    notification_failed,
    notification_held,
    notification_queued,
    notification_sent,
    request_merge,
    send_notification,
    settings_changed,
)
from flask_interaction_mail.migrate import not_ours
from flask_interaction_mail.models import MessageRow

ERRORS = (
    AddressError,
    ContentError,
    HeaderError,
    MessagingNotConfigured,
    NoRecipient,
    SecretUnreadable,
    SessionOver,
    SettingsConflict,
    SettingsError,
    TablesMissing,
    TemplateMissing,
    TransportError,
)
ADA = Party("Ada Moreau", "ada", id=1, role=Role.ADMINISTRATOR)
BEN = Party("Ben Okafor", "ben@crm.example", id=2, locale="en")
STEWARDS = Party("Data Stewards", "stewards", kind="group")
PAIR = (
    Contact(7, "Grace Hopper", location="Clients", url="https://crm.example/contacts/7"),
    Contact(8, "Hopper, Grace", location="Clients"),
)


class People(Directory):
    def current_user(self) -> Party | None:
        return (
            {"ada": ADA, "ben": BEN}.get(session.get("user", "")) if has_request_context() else None
        )

    def merge_recipients(self, location: str) -> list[Party]:
        return [STEWARDS] if location == "Clients" else []

    def folder_owners(self, location: str) -> list[Party]:
        return [ADA]

    def locations(self) -> list[str]:
        return ["Clients"]

    def parties(self) -> list[Party]:
        return [ADA, BEN, STEWARDS]


class ForAda(AdminIndexView):
    def is_accessible(self) -> bool:
        return session.get("user") == "ada"


def may(right: str) -> bool:
    """Ada may do everything, also read bodies."""
    return session.get("user") == "ada" and right in (
        "view", "edit", "test", "outbox", "body", "resend", "purge",
    )  # fmt: skip


db = SQLAlchemy()
admin = Admin(name="CRM", index_view=ForAda())
mail = Mail()
messaging = InteractionMail(db=db, directory=People())
log = logging.getLogger("host")


class Thing(db.Model):  # type: ignore[name-defined,misc]
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(50), nullable=False, unique=True)


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="the host's own key, kept",
        SQLALCHEMY_DATABASE_URI=os.environ["HOST_DATABASE"],
        INTERACTION_MAIL_DELIVERY="worker",
        INTERACTION_MAIL_CONNECTIONS=2,
        INTERACTION_MAIL_LEASE=timedelta(seconds=30),
        INTERACTION_MAIL_REQUEST_WINDOW=24,
        INTERACTION_MAIL_RATE=10,
        INTERACTION_MAIL_BODY_RETENTION=7,
        INTERACTION_MAIL_LOG_RETENTION=timedelta(days=90),
        SESSION_COOKIE_SAMESITE="Lax",
    )
    app.config.from_prefixed_env()
    db.init_app(app)
    Migrate(app, db)
    messaging.init_app(app, admin=admin, access=may)
    admin.add_view(ModelView(Thing, db))
    admin.init_app(app)
    mail.init_app(app)
    told = app.config["TOLD"] = []
    for signal in (
        notification_queued,
        notification_sent,
        notification_deferred,
        notification_held,
        notification_failed,
        notification_cancelled,
    ):
        signal.connect(_hear(told, signal.name), app, weak=False)
    settings_changed.connect(
        lambda app, previous, settings, changed_by: told.append("settings"), app, weak=False
    )
    _routes(app)
    return app


def _hear(told, name):
    def hear(app: Flask, notification: Notification) -> None:
        told.append(f"{name}: {notification.subject}")

    return hear


def _routes(app: Flask) -> None:
    @app.post("/login/<user>")
    def login(user: str):
        session["user"] = user
        return ""

    @app.post("/merge")
    def merge():
        merge_denied.send(app, merge=Merge(PAIR))
        abort(403)

    @app.post("/request")
    def ask():
        notification = request_merge(Merge((PAIR[1], PAIR[0]), requester=ADA, reason="twice"))
        return _told(notification)

    @app.post("/merged")
    def merged():
        merge_completed.send(app, merge=Merge(PAIR, requester=BEN))
        db.session.commit()
        return ""

    @app.post("/thing/<name>")
    def thing(name: str):
        db.session.add(Thing(name=name))
        notification = send_notification(
            [BEN, "Carla <carla@crm.example>"],
            f"New: {name}",
            text="A thing.",
            html="<p>A thing.</p>",
            cc="dora@crm.example",
            bcc=["audit"],
            reply_to=ADA,
            sender=CURRENT_USER,
            headers={"X-Host": "crm"},
            attachments=[("thing.txt", "text/plain", b"thing"), Attachment("a.bin", data=b"\0")],
            kind="thing",
            key=f"thing-{name}",
            send_at=datetime.now(UTC) - timedelta(seconds=1),
            expires_at=datetime.now(UTC) + timedelta(days=1),
            session=db.session,
        )
        db.session.commit()
        return _told(get_notification(notification.id))

    @app.post("/import/<int:count>")
    def imported(count: int):
        send_notification(None, None, template="import_done", context={"count": count})
        return ""

    @app.post("/cancel/<id>")
    def cancel(id: str):
        done = cancel_notification(id)
        db.session.commit()
        return jsonify(done)

    @app.post("/flask-mail")
    def flask_mail():
        mail.send(Message("From Flask-Mail", ["emil@crm.example"], "Hello", sender="crm"))
        return ""

    @app.get("/stored")
    def stored():
        rows = db.session.query(MessageRow).order_by(MessageRow.created_at)
        return jsonify([[row.subject, Status(row.status).value] for row in rows])

    @app.errorhandler(InteractionMailError)
    def failed(error: InteractionMailError):
        assert isinstance(error, ERRORS)
        return str(error), 400


def _told(notification: Notification | None):
    if notification is None:
        return jsonify(None)
    verdicts: list[RecipientVerdict] = list(notification.recipients)
    assert isinstance(notification.status, Status)
    assert notification.reason is None or Reason(notification.reason)
    assert notification.kind in (Kind.REQUEST, "thing")
    return jsonify(
        id=str(notification.id),
        message_id=notification.message_id,
        status=notification.status,
        recipients=[one.address for one in verdicts],
    )


def own_migrations(app: Flask) -> Migrate:
    """As a host with ``INTERACTION_MAIL_MIGRATIONS = "own"`` sets its own Alembic up."""
    return Migrate(app, db, include_name=not_ours)


def names(settings: MessagingSettings) -> tuple[str | None, str | None]:
    return settings.default_to, settings.default_from
