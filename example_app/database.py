"""The host's own database object: one for the whole application, the extension shares it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """What every model of the CRM is derived from."""


db = SQLAlchemy(model_class=Base)

if TYPE_CHECKING:
    Model = Base  # a type checker cannot follow an attribute that is made at run time
else:
    Model = db.Model
