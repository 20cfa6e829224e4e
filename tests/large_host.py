"""An application as others write it: contacts, logins, languages, migrations, a strict CSP.

It has nothing to do with mail but for the lines that end in ``# mail``. A test runs it with them
and without, on PostgreSQL, and counts them.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import click
from flask import (
    Flask,
    Response,
    abort,
    flash,
    jsonify,
    redirect,
    render_template_string,
    request,
    url_for,
)
from flask import session as browser_session
from flask.cli import with_appcontext
from flask_admin import Admin, AdminIndexView
from flask_admin.contrib.sqla import ModelView
from flask_babel import Babel, format_datetime, get_locale, gettext
from flask_migrate import Migrate
from flask_security import Security, SQLAlchemyUserDatastore, current_user, login_required
from flask_security.models import fsqla_v3 as fsqla
from flask_sqlalchemy import SQLAlchemy
from flask_talisman import Talisman
from flask_wtf import CSRFProtect
from sqlalchemy import func, or_, select

from flask_interaction_mail import Contact as Named  # mail
from flask_interaction_mail import InteractionMail, Merge, request_merge, send_notification  # mail
from flask_interaction_mail.contrib.directories import SecurityDirectory  # mail

LANGUAGES = ("en", "de")
PER_PAGE = 20
CSP = {"default-src": "'self'", "script-src": [], "style-src": [], "frame-ancestors": "'none'"}

db = SQLAlchemy()
migrate = Migrate()
csrf = CSRFProtect()
babel = Babel()
security = Security()
talisman = Talisman()
messaging = InteractionMail(db=db)  # mail
fsqla.FsModels.set_db_info(db)


# -- what there is -------------------------------------------------------------------------


class Role(db.Model, fsqla.FsRoleMixin):
    pass


class User(db.Model, fsqla.FsUserMixin):
    locale = db.Column(db.String(5))


class Folder(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(80), unique=True, nullable=False)
    contacts = db.relationship("Contact", back_populates="folder", order_by="Contact.name")

    def __str__(self):
        return self.name


class Contact(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(120), nullable=False, index=True)
    email = db.Column(db.String(254))
    city = db.Column(db.String(80))
    folder_id = db.Column(db.ForeignKey(Folder.id), nullable=False)
    folder = db.relationship(Folder, back_populates="contacts")
    notes = db.relationship("Note", back_populates="contact", cascade="all, delete-orphan")
    changed_at = db.Column(db.DateTime, default=lambda: datetime.now(UTC).replace(tzinfo=None))

    def __str__(self):
        return self.name

    def as_row(self):
        return {"id": self.id, "name": self.name, "email": self.email, "folder": self.folder.name}


class Note(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    text = db.Column(db.Text, nullable=False)
    contact_id = db.Column(db.ForeignKey(Contact.id), nullable=False)
    contact = db.relationship(Contact, back_populates="notes")
    author_id = db.Column(db.ForeignKey(User.id))
    author = db.relationship(User)


class Event(db.Model):
    """Who did what, for the page that lists it."""

    id = db.Column(db.Integer, primary_key=True)
    at = db.Column(db.DateTime, default=lambda: datetime.now(UTC).replace(tzinfo=None))
    by = db.Column(db.String(254))
    what = db.Column(db.String(200), nullable=False)


# -- what can be done ----------------------------------------------------------------------


def log(what):
    db.session.add(Event(by=getattr(current_user, "email", None), what=what))


def found(words, folder=None):
    """The contacts with all of these words in their name, address or city."""
    query = select(Contact).order_by(Contact.name)
    for word in words.split():
        like = f"%{word}%"
        columns = (Contact.name, Contact.email, Contact.city)
        query = query.where(or_(*(column.ilike(like) for column in columns)))
    if folder is not None:
        query = query.join(Folder).where(Folder.name == folder)
    return query


def duplicates():
    """Pairs of contacts whose names are the same but for case and blanks."""
    key = func.lower(func.replace(Contact.name, " ", ""))
    keys = select(key).group_by(key).having(func.count() > 1)
    rows = db.session.scalars(select(Contact).where(key.in_(keys)).order_by(key, Contact.id)).all()
    return list(zip(rows[::2], rows[1::2], strict=False))


def may_merge(*contacts):
    return current_user.has_role("steward") or current_user.has_role("admin")


def merged(kept, dropped):
    """Move the notes of one contact to another, and delete it."""
    for note in list(dropped.notes):
        note.contact = kept
    kept.email = kept.email or dropped.email
    kept.city = kept.city or dropped.city
    log(f"merged {dropped.name} into {kept.name}")
    db.session.flush()
    db.session.expire(dropped, ["notes"])
    db.session.delete(dropped)


def described(one):  # mail
    return Named(one.id, one.name, location=one.folder.name, fields={"City": one.city})  # mail


# -- pages ---------------------------------------------------------------------------------

LAYOUT = """<!doctype html><html lang="{{ get_locale() }}"><title>{{ title }}</title>
<nav>{% if current_user.is_authenticated %}{{ current_user.email }}
<a href="{{ url_for_security('logout') }}">{{ _('Log out') }}</a>{% endif %}</nav>
{% for text in get_flashed_messages() %}<p role="status">{{ text }}</p>{% endfor %}
<h1>{{ title }}</h1>"""
CONTACTS = (
    LAYOUT
    + """<form><input name="q" value="{{ words }}"><button>{{ _('Search') }}</button></form>
<ul>{% for contact in page.items %}<li>
<a href="{{ url_for('contact', id=contact.id) }}">{{ contact.name }}</a>
{{ contact.city or '' }}</li>{% endfor %}</ul>
{% if page.has_next %}<a href="?page={{ page.next_num }}&amp;q={{ words }}">{{ _('More') }}</a>
{% endif %}"""
)
CONTACT = (
    LAYOUT
    + """<p>{{ contact.email or '' }} {{ contact.city or '' }}, {{ contact.folder.name }}</p>
<p>{{ changed }}</p>
{% for note in contact.notes %}<blockquote>{{ note.text }}</blockquote>{% endfor %}
<form method="post"><input type="hidden" name="csrf_token" value="{{ csrf_token() }}">
<textarea name="text"></textarea><button>{{ _('Add') }}</button></form>"""
)
DUPLICATES = (
    LAYOUT
    + """{% for one, other in pairs %}<form method="post"
action="{{ url_for('merge', kept=one.id, dropped=other.id) }}">
<input type="hidden" name="csrf_token" value="{{ csrf_token() }}">
{{ one.name }} · {{ other.name }} <button>{{ _('Merge') }}</button></form>{% endfor %}"""
)


def index():
    return redirect(url_for("contacts"))


@login_required
def contacts():
    words = request.args.get("q", "")
    page = db.paginate(found(words), per_page=PER_PAGE)
    title = gettext("Contacts")
    return render_template_string(CONTACTS, title=title, page=page, words=words)


@login_required
def contact(id):
    one = db.get_or_404(Contact, id)
    if request.method == "POST":
        text = request.form["text"].strip()
        if not text:
            abort(400)
        one.notes.append(Note(text=text, author_id=current_user.id))
        log(f"wrote a note about {one.name}")
        db.session.commit()
        flash(gettext("Saved."))
        return redirect(url_for("contact", id=id))
    changed = format_datetime(one.changed_at)
    return render_template_string(CONTACT, title=one.name, contact=one, changed=changed)


@login_required
def list_duplicates():
    title = gettext("Duplicates")
    return render_template_string(DUPLICATES, title=title, pairs=duplicates())


@login_required
def merge(kept, dropped):
    pair = [db.get_or_404(Contact, one) for one in (kept, dropped)]
    if not may_merge(*pair):
        log(f"was not allowed to merge {pair[0].name}")
        db.session.commit()
        request_merge(Merge((described(pair[0]), described(pair[1]))))  # mail
        abort(403)
    merged(*pair)
    db.session.commit()
    flash(gettext("Merged."))
    return redirect(url_for("contact", id=kept))


@login_required
def share(id):
    """Tell a colleague of a contact."""
    one = db.get_or_404(Contact, id)
    to = db.first_or_404(select(User).filter_by(email=request.form["to"]))
    text = url_for("contact", id=id, _external=True)
    send_notification(to.email, f"Have a look at {one.name}", text=text)  # mail
    log(f"showed {one.name} to {to.email} as {text}")
    db.session.commit()
    return redirect(url_for("contact", id=id))


@login_required
def export():
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=["id", "name", "email", "folder"])
    writer.writeheader()
    for one in db.session.scalars(found(request.args.get("q", ""))):
        writer.writerow(one.as_row())
    return Response(file.getvalue(), mimetype="text/csv")


@login_required
def api():
    limit = min(request.args.get("limit", 50, int), 200)
    rows = db.session.scalars(found(request.args.get("q", ""), request.args.get("folder")))
    return jsonify([one.as_row() for one in rows.fetchmany(limit)])


def set_language(language):
    if language not in LANGUAGES:
        abort(404)
    browser_session["language"] = language
    return redirect(url_for("contacts"))


def alive():
    return jsonify(contacts=db.session.scalar(select(func.count(Contact.id))))


def language():
    chosen = getattr(current_user, "locale", None) or browser_session.get("language")
    return chosen or request.accept_languages.best_match(LANGUAGES)


# -- administration ------------------------------------------------------------------------


class ForAdministrators:
    def is_accessible(self):
        return current_user.has_role("admin")


class AdminIndex(ForAdministrators, AdminIndexView):
    pass


class ContactView(ForAdministrators, ModelView):
    column_list = ("name", "email", "city", "folder")
    column_searchable_list = ("name", "email")
    form_excluded_columns = ("notes", "changed_at")


class FolderView(ForAdministrators, ModelView):
    form_columns = ("name",)


class EventView(ForAdministrators, ModelView):
    can_create = can_edit = can_delete = False
    column_default_sort = ("at", True)


@click.command()
@with_appcontext
def seed():
    """Folders, and contacts of which two are the same."""
    clients, firms = Folder(name="Clients"), Folder(name="Firm List")
    people = [("Grace Hopper", "Arlington", clients), ("grace hopper", "New York", clients)]
    people += [("Acme Ltd", "Berlin", firms), ("Ada Moreau", None, clients)]
    db.session.add_all(Contact(name=name, city=city, folder=at) for name, city, at in people)
    db.session.commit()


# -- all of it -----------------------------------------------------------------------------


def create_app(config):
    app = Flask("crm")
    app.config.update(config)
    db.init_app(app)
    migrate.init_app(app, db)
    csrf.init_app(app)
    babel.init_app(app, locale_selector=language)
    app.add_template_global(get_locale)
    security.init_app(app, SQLAlchemyUserDatastore(db, User, Role))
    nonces = ["script-src", "style-src"]
    talisman.init_app(app, content_security_policy=CSP, content_security_policy_nonce_in=nonces)
    nonce = app.jinja_env.globals["csp_nonce"]
    admin = Admin(name="CRM", index_view=AdminIndex(), csp_nonce_generator=nonce)
    for view, model in ((ContactView, Contact), (FolderView, Folder), (EventView, Event)):
        admin.add_view(view(model, db, endpoint=f"admin_{model.__name__.lower()}"))
    admin.init_app(app)
    directory = SecurityDirectory(db, User, Role, may_merge="steward", locale="locale")  # mail
    messaging.init_app(app, admin=admin, directory=directory)  # mail
    app.add_url_rule("/", view_func=index)
    app.add_url_rule("/contacts/", view_func=contacts)
    app.add_url_rule("/contacts/<int:id>", view_func=contact, methods=["GET", "POST"])
    app.add_url_rule("/contacts/<int:id>/share", view_func=share, methods=["POST"])
    app.add_url_rule("/contacts.csv", view_func=export)
    app.add_url_rule("/duplicates/", view_func=list_duplicates)
    app.add_url_rule("/merge/<int:kept>/<int:dropped>", view_func=merge, methods=["POST"])
    app.add_url_rule("/api/contacts", view_func=api)
    app.add_url_rule("/language/<language>", view_func=set_language)
    app.add_url_rule("/alive", view_func=alive)
    app.cli.add_command(seed)
    return app
