"""What is logged of an exception."""

import io
import logging
import sqlite3
from collections.abc import Iterator

import pytest

from callgate.serve import quiet_log

# Not in the lines that raise it: tracebacks quote them.
SECRET = "canary"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream, before = io.StringIO(), logging.getLogRecordFactory()
    handler = logging.StreamHandler(stream)
    log = logging.getLogger("quiet")
    log.propagate = False
    log.addHandler(handler)
    quiet_log.install()
    yield stream
    logging.setLogRecordFactory(before)
    log.removeHandler(handler)


def failing(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("form", ["Addon error: {0}", "never retrieved: <Task exception={0!r}>", "plain"])
def test_it_tells_type_and_place_but_not_the_text(lines: io.StringIO, form: str) -> None:
    try:
        try:
            failing(ValueError(SECRET))
        except ValueError:
            failing(KeyError(SECRET))
    except KeyError as error:
        logging.getLogger("quiet").error(form.format(error), exc_info=True)
    said = lines.getvalue()
    assert SECRET not in said
    assert said.endswith("KeyError\n")
    assert "in failing" in said


def test_what_files_and_the_ledger_say_is_kept(lines: io.StringIO) -> None:
    for error in (OSError(28, "No space left on device"), sqlite3.OperationalError("disk I/O error")):
        logging.getLogger("quiet").error("the writer failed", exc_info=error)
        assert str(error) in lines.getvalue()


def test_other_lines_stay_as_they_are(lines: io.StringIO) -> None:
    logging.getLogger("quiet").warning("%d of %s", 3, "five")
    assert lines.getvalue() == "3 of five\n"
