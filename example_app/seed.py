"""The demo's data: people of every role, groups with and without an address, duplicates."""

from __future__ import annotations

from werkzeug.security import generate_password_hash

from flask_interaction_mail import Role

from .database import db
from .models import Contact, Folder, Group, User

PASSWORD = "merge-me"  # of every demo user
COMPANY_DOMAIN = "example.com"  # short addresses like "emroberts" belong to it

# login, name, e-mail, role, uses the desktop client
USERS = (
    ("amoreau", "Alice Moreau", "amoreau", Role.ADMINISTRATOR, False),
    ("olindt", "Oscar Lindt", "olindt", Role.FOLDER_OWNER, False),
    ("norsini", "Nadia Orsini", "nadia.orsini@example.org", Role.FOLDER_OWNER, False),
    ("dstewart", "Dana Stewart", "dstewart", Role.PROFESSIONAL, True),
    ("emroberts", "Emma Roberts", "emroberts", Role.PROFESSIONAL, False),
    ("sklein", "Sara Klein", "sklein", Role.SECRETARY, True),
    ("tweber", "Tom Weber", "tweber", Role.SECRETARY, False),
    ("guest", "Gus Guest", None, Role.PROFESSIONAL, False),
    ("hlund", "Henrik Lund", "hlund", Role.ADMINISTRATOR, False),
)
# name, owner's login
FOLDERS = (("Client List", "olindt"), ("Firm List", "olindt"), ("Events", "norsini"))
# name, e-mail, members' logins, folders in which they may merge all duplicates
GROUPS = (
    ("Data Stewards", "datastewards", ("dstewart",), ("Client List",)),
    ("Librarians", None, ("sklein",), ("Firm List",)),
)
# folder, name, e-mail, phone, city
CONTACTS = (
    ("Client List", "Acme Ltd", "info@acme.example", None, "London"),
    ("Client List", "ACME Limited", None, "+44 20 7946 0001", "London"),
    ("Client List", "Borges & Partners LLP", "office@borges.example", None, "Lisbon"),
    ("Client List", "Borges and Partners", None, "+351 21 000 0000", None),
    ("Client List", "Northwind GmbH", "post@northwind.example", None, "Hamburg"),
    ("Client List", "Contoso plc", "hello@contoso.example", None, "Dublin"),
    ("Firm List", "Northwind", None, "+49 40 000000", "Hamburg"),
    ("Firm List", "Smith, Jane", "jane.smith@smith.example", None, "Leeds"),
    ("Firm List", "Jane Smith", None, "+44 113 496 0000", "Leeds"),
    ("Events", "Café Müller", "reservierung@mueller.example", None, "Zürich"),
    ("Events", "Cafe Muller", None, None, "Zürich"),
)


def seed() -> None:
    """Add what is missing and commit; what is there already stays as it is."""
    if db.session.scalar(db.select(db.func.count(User.id))):
        return
    password_hash = generate_password_hash(PASSWORD)  # once, as it is slow on purpose
    users = {
        login: User(
            login=login,
            name=name,
            email=email,
            role=role,
            uses_desktop_client=desktop,
            password_hash=password_hash,
        )
        for login, name, email, role, desktop in USERS
    }
    folders = {name: Folder(name=name, owner=users[login]) for name, login in FOLDERS}
    groups = [
        Group(
            name=name,
            email=email,
            members=[users[login] for login in members],
            merge_folders=[folders[folder] for folder in merge_folders],
        )
        for name, email, members, merge_folders in GROUPS
    ]
    db.session.add_all([*users.values(), *folders.values(), *groups])
    for folder, name, email, phone, city in CONTACTS:
        db.session.add(
            Contact(folder=folders[folder], name=name, email=email, phone=phone, city=city)
        )
    db.session.commit()
