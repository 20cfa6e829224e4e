"""The typed classes beside the tables that they are classes of."""

from __future__ import annotations

from operator import attrgetter
from types import NoneType
from typing import get_args, get_type_hints

import pytest
import sqlalchemy as sa

from flask_interaction_mail import models
from flask_interaction_mail.storage.tables import TABLES

CLASSES = sorted(
    (mapper.class_ for mapper in models.Base.registry.mappers), key=attrgetter("__name__")
)


def test_every_table_has_a_public_class() -> None:
    """With the name of its table, as classes of a host have it."""
    assert [row.__name__ for row in CLASSES] == models.__all__
    assert {row.__tablename__ for row in CLASSES} == {table.name for table in TABLES}


@pytest.mark.parametrize("row", CLASSES)
def test_a_class_is_annotated_as_its_columns_are(row: type[models.Base]) -> None:
    """Each column by its Python type, which includes None only where the column may be empty."""
    hints = get_type_hints(row)
    mapped = sa.inspect(row).attrs
    assert {name for name in hints if not name.startswith("_")} - {"metadata", "registry"} == {
        *mapped.keys()
    }
    for attribute in mapped:
        (column,) = attribute.columns
        (said,) = get_args(hints[attribute.key])
        told = set(get_args(said) or (said,))
        assert told - {NoneType} == {column.type.python_type}
        if isinstance(column, sa.Column):
            assert (NoneType in told) is column.nullable
