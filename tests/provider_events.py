"""What providers post, in the form that their documentation gives."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flask_interaction_mail import clock

SES_ID = "0102018f3c5e7a11-5b0c9d1e-2f3a-4b5c-8d6e-7f8091a2b3c4-000000"
SENDGRID_ID = "mHkC4RtKQGm0aXWv2qPz3A"
AT = "2026-11-29T19:00:01.000Z"


def ses(kind: str, *people: str, name: str = "eventType", **changes: Any) -> dict[str, Any]:
    """An event of Amazon SES about ``people``; with ``name`` "notificationType" a notification.

    ``changes`` are in the object of the event, those with a name of a recipient's in each of these.
    """
    of_each = {"status", "action", "diagnosticCode"}
    each = {key: changes.pop(key) for key in of_each & changes.keys()}
    told = [{"emailAddress": address, **each} for address in people]
    objects: dict[str, tuple[str, dict[str, Any]]] = {
        "Bounce": (
            "bounce",
            {
                "bounceType": "Permanent",
                "bounceSubType": "General",
                "bouncedRecipients": told,
                "timestamp": AT,
                "feedbackId": "0102018f3c5e9999-5b0c9d1e-0000-4b5c-8d6e-7f8091a2b3c4-000000",
                "reportingMTA": "dsn; a7-12.smtp-out.eu-west-1.amazonses.com",
            },
        ),
        "Complaint": (
            "complaint",
            {
                "complainedRecipients": told,
                "complaintFeedbackType": "abuse",
                "userAgent": "AnyCompany Feedback Loop (V0.01)",
                "timestamp": AT,
                "feedbackId": "0102018f3c5e8888-5b0c9d1e-0000-4b5c-8d6e-7f8091a2b3c4-000000",
            },
        ),
        "Delivery": (
            "delivery",
            {
                "recipients": list(people),
                "processingTimeMillis": 546,
                "reportingMTA": "a8-70.smtp-out.amazonses.com",
                "smtpResponse": "250 2.6.0 Message received",
                "timestamp": AT,
            },
        ),
        "DeliveryDelay": (
            "deliveryDelay",
            {
                "delayedRecipients": told,
                "delayType": "SpamDetected",
                "expirationTime": AT,
                "timestamp": AT,
            },
        ),
        "Reject": ("reject", {"reason": "Bad content"}),
        "Send": ("send", {}),
        "Open": ("open", {"ipAddress": "192.0.2.1", "timestamp": AT}),
    }
    part, found = objects[kind]
    mail = {
        "timestamp": AT,
        "source": "crm@firm.example",
        "messageId": SES_ID,
        "destination": list(people),
        "headersTruncated": False,
        "headers": [{"name": "From", "value": "crm@firm.example"}],
        "commonHeaders": {"from": ["crm@firm.example"], "messageId": SES_ID},
    }
    return {name: kind, "mail": mail, part: found | changes}


def sendgrid(kind: str, address: str, number: int = 1, **changes: Any) -> dict[str, Any]:
    """An event of SendGrid about one recipient; ``number`` tells it from others."""
    return {
        "email": address,
        "timestamp": 1764442801,
        "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
        "event": kind,
        "sg_event_id": f"lC0Rc-FuQmKbnxCWxX1jR{number}",
        "sg_message_id": f"{SENDGRID_ID}.recvd-6cc5f6ff9-vlrwh-1-65F1C5C5-5.0",
        **changes,
    }


@cache
def sendgrid_key(name: str = "ours") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def verification_key(name: str = "ours") -> str:
    """The public key as SendGrid shows it."""
    der = (
        sendgrid_key(name)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return base64.b64encode(der).decode()


def signed(
    *told: dict[str, Any], key: str = "ours", at: int | None = None
) -> tuple[bytes, dict[str, str]]:
    """The body of a request of SendGrid, and its header fields."""
    body = json.dumps(told, separators=(",", ":")).encode() + b"\r\n"
    time = str(int(clock.from_db(clock.now()).timestamp()) if at is None else at)
    signature = sendgrid_key(key).sign(time.encode() + body, ec.ECDSA(hashes.SHA256()))
    return body, {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": time,
        "Content-Type": "application/json",
    }
