"""Log in and log out, with Flask-Login."""

from __future__ import annotations

import re

from flask import Blueprint, flash, has_request_context, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import (  # type: ignore[import-untyped]
    LoginManager,
    current_user,
    login_user,
    logout_user,
)

from .database import db
from .models import NOBODY, User

bp = Blueprint("auth", __name__)

login_manager = LoginManager()
login_manager.login_view = "auth.login"
login_manager.login_message = "Please log in first."
login_manager.login_message_category = "info"

# A path on this site: printable ASCII without a backslash, not starting with two slashes.
# Browsers drop tabs and line breaks and read "\" as "/", so "/\t/evil.test" leads away.
OWN_PATH = re.compile(r"/(?!/)[!-\[\]-~]*")


@login_manager.user_loader  # type: ignore[untyped-decorator]
def load_user(user_id: str) -> User | None:
    """Find the user of a session; None when the user is gone."""
    return db.session.get(User, int(user_id)) if user_id.isdecimal() else None


def signed_in() -> User | None:
    """Return the user who is logged in; None for a visitor, a command or a background job."""
    user = current_user._get_current_object() if has_request_context() else None
    return user if isinstance(user, User) else None


def ask_to_log_in() -> ResponseReturnValue | None:
    """Lead a visitor to the login; None for a user."""
    if signed_in() is not None:
        return None
    answer: ResponseReturnValue = login_manager.unauthorized()
    return answer


@bp.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Ask for login and password."""
    if request.method == "GET":
        return render_template("crm/login.html")
    user = _find(request.form.get("login", ""), request.form.get("password", ""))
    if user is None:
        flash("Login or password is wrong.", "danger")
        return render_template("crm/login.html"), 401
    login_user(user)
    return redirect(own_path(request.args.get("next")) or url_for("contacts.index"))


@bp.post("/logout")
def logout() -> ResponseReturnValue:
    """End the session; a POST, so that no link elsewhere can do it."""
    logout_user()
    flash("You are logged out.", "info")
    return redirect(url_for("auth.login"))


def own_path(target: str | None) -> str | None:
    """Return ``target`` if it is a path on this site, else None."""
    return target if target and OWN_PATH.fullmatch(target) else None


def _find(login: str, password: str) -> User | None:
    user = db.session.scalar(db.select(User).filter_by(login=login.strip()))
    known = user or User(password_hash=NOBODY)
    return user if known.has_password(password) else None
