"""PartiQL statements, read only where they are plain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.aws.partiql import Statement, read

PLAIN = {
    "SELECT * FROM Music": Statement("Select", "Music"),
    'select "a", b.c[0] from "Music" where x = 1 order by y': Statement("Select", "Music"),
    'SELECT * FROM "Music"."byArtist" WHERE Artist = ?': Statement("Select", "Music", "byArtist"),
    "SELECT * FROM Music WHERE Title = 'DELETE FROM Other'": Statement("Select", "Music"),
    "SELECT * FROM Music WHERE Title = 'it''s FROM here'": Statement("Select", "Music"),
    "\n  SELECT\t*\n FROM Music ; ": Statement("Select", "Music"),
    "INSERT INTO \"Music\" VALUE {'Artist': 'x', 'tags': [1, 2]}": Statement("Insert", "Music"),
    'UPDATE "Music" SET a = 1 WHERE b = 2': Statement("Update", "Music"),
    "UPDATE Music REMOVE a WHERE b = 2": Statement("Update", "Music"),
    "DELETE FROM Music WHERE a = 1 RETURNING ALL OLD *": Statement("Delete", "Music"),
    'EXISTS(SELECT * FROM "Music" WHERE a = 1)': Statement("Exists", "Music"),
    'SELECT * FROM "My-Table.1"': Statement("Select", "My-Table.1"),
    'SELECT * FROM "arn:aws:dynamodb:eu-west-1:222222222222:table/Music"': Statement(
        "Select", "arn:aws:dynamodb:eu-west-1:222222222222:table/Music"
    ),
}
DOUBTFUL = [
    None,
    7,
    "",
    ";",
    "DROP TABLE Music",
    "DELETE Music WHERE a = 1",
    "DELETE FROM Music",
    "DELETE FROM Music; DELETE FROM Other WHERE a = 1",
    "DELETE FROM /* Other */ Music WHERE a = 1",
    "DELETE FROM Music -- Other\nWHERE a = 1",
    'DELETE FROM "Music"."index" WHERE a = 1',
    "SELECT * FROM Music, Other",
    "SELECT * FROM Music JOIN Other",
    "SELECT * FROM Music AS m",
    "SELECT * FROM (SELECT * FROM Music)",
    "SELECT * FROM Music WHERE a IN (SELECT b FROM Other)",
    "SELECT * FROM Music.index.more",
    "SELECT * FROM Music UNION SELECT * FROM Other",
    "SELECT * FROM",
    "SELECT 1",
    "INSERT Music VALUE {}",
    "INSERT INTO Music",
    "UPDATE Music",
    "EXISTS(DELETE FROM Music WHERE a = 1)",
    "EXISTS(SELECT * FROM Music",
    "SELECT * FROM 'Music'",
    "SELECT * FROM Music WHERE a = 'unclosed",
    'SELECT * FROM "unclosed',
    "WITH x AS (SELECT 1) DELETE FROM Music WHERE a = 1",
    f"SELECT * FROM Music WHERE a = '{'x' * 8192}'",
]


@pytest.mark.parametrize("text", PLAIN)
@pytest.mark.case("D15")
def test_a_plain_statement_tells_verb_table_and_index(text: str) -> None:
    assert read(text) == PLAIN[text]


@pytest.mark.parametrize("text", DOUBTFUL, ids=repr)
def test_a_doubtful_statement_is_not_read(text: object) -> None:
    assert read(text) is None


@given(st.text(alphabet="SELECT FROM'\"*;-/().ab\n\0", max_size=60))
def test_any_text_is_read_or_not_and_never_raises(text: str) -> None:
    assert read(text) is None or isinstance(read(text), Statement)
