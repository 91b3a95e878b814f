"""The report: one self-contained HTML page about a period."""

from __future__ import annotations

import html
import importlib.resources
import sqlite3
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from callgate.ledger.stats import QUESTIONS, ask

Row = dict[str, Any]

_VERDICTS = ("allowed", "approved", "held", "denied")
_ROWS, _NAMES = 25, 6
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 1000, 220, 48, 24


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of a table: the answer's member, its heading, and how it is shown."""

    name: str
    heading: str
    how: str = "text"


@dataclass(frozen=True, slots=True)
class _Section:
    question: str
    title: str
    about: str
    columns: tuple[_Column, ...]
    none: str


_CALLS = (_Column("calls", "calls", "number"), _Column("calls", "", "bar"))
_SECTIONS = (
    _Section(
        "principals",
        "Who called",
        "Workloads, as their tokens prove them.",
        (
            _Column("principalId", "principal"),
            _Column("operations", "operations", "number"),
            _Column("denied", "denied", "number"),
            _Column("held", "held", "number"),
            _Column("approved", "approved", "number"),
            *_CALLS,
        ),
        "Nobody called.",
    ),
    _Section(
        "operations",
        "What was called",
        "AWS operations, with the number of workloads that called them.",
        (
            _Column("operation", "operation"),
            _Column("principals", "principals", "number"),
            _Column("denied", "denied", "number"),
            *_CALLS,
        ),
        "Nothing was called.",
    ),
    _Section(
        "denials",
        "Denied",
        "Calls that did not go to AWS, and why.",
        (
            _Column("principalId", "principal"),
            _Column("operation", "operation"),
            _Column("reason", "reason", "code"),
            _Column("latest", "latest", "time"),
            *_CALLS,
        ),
        "No call was denied.",
    ),
    _Section(
        "approvals",
        "Approvals",
        "People who answered holds.",
        (
            _Column("person", "person"),
            _Column("verdict", "answer"),
            _Column("latest", "latest", "time"),
            _Column("holds", "holds", "number"),
            _Column("holds", "", "bar"),
        ),
        "Nobody was asked.",
    ),
    _Section(
        "new_principals",
        "New identities",
        "Workloads that had never called before this period.",
        (_Column("firstTime", "first call", "time"), _Column("principalId", "principal"), *_CALLS),
        "Everybody had called before.",
    ),
    _Section(
        "first_operations",
        "First-time operations",
        "What a workload did in this period that it had never done before.",
        (
            _Column("firstTime", "first call", "time"),
            _Column("principalId", "principal"),
            _Column("operation", "operation"),
            *_CALLS,
        ),
        "Nobody did anything new.",
    ),
    _Section(
        "shared_keys",
        "Shared access keys",
        "Keys that several workloads used: CloudTrail alone cannot tell them apart.",
        (_Column("accessKeyId", "access key", "code"), _Column("who", "principals", "names"), *_CALLS),
        "No key was shared.",
    ),
    _Section(
        "masked",
        "Masked responses",
        "Calls whose responses came back with fields masked.",
        (_Column("principalId", "principal"), _Column("operation", "operation"), *_CALLS),
        "Nothing was masked.",
    ),
)


def report(database: sqlite3.Connection, *, since: str, until: str, made: str) -> str:
    """The page, for calls from `since` to before `until`; `made` is the time of writing. All in RFC 3339."""
    answers = ask(database, list(QUESTIONS), since=since, until=until, limit=_ROWS)
    row = database.execute("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    size, note = row or (0, "\n\n")
    origin, _, root = note.split("\n")[:3]
    template = importlib.resources.files("callgate.ledger").joinpath("report.html").read_text("utf-8")
    sections = [_chart(answers["days"])]
    sections += [_table(section, answers[section.question]) for section in _SECTIONS]
    signed = f"The newest checkpoint signs {size:,} entries with the root <code>{html.escape(root)}</code>."
    return string.Template(template).substitute(
        period=html.escape(_period(since, until)),
        origin=html.escape(origin or "not signed yet"),
        made=html.escape(_when(made)),
        tiles=_tiles(answers),
        sections="\n".join(sections),
        footer=signed if size else "No checkpoint has been signed yet.",
    )


def _tiles(answers: dict[str, list[Row]]) -> str:
    verdicts = {row["verdict"]: row["calls"] for row in answers["verdicts"]}
    tiles: list[tuple[str, int, str]] = [("", sum(verdicts.values()), "calls")]
    tiles += [(verdict, verdicts.get(verdict, 0), verdict) for verdict in _VERDICTS]
    tiles += [("", answers["newcomers"][0]["principals"], "new identities")]
    return "".join(
        f'<div class="tile {kind}"><b>{count:,}</b><span>{label}</span></div>' for kind, count, label in tiles
    )


def _table(section: _Section, rows: Sequence[Row]) -> str:
    head = f'<section><h2>{section.title}</h2><p class="about">{section.about}</p>'
    if not rows:
        return f'{head}<p class="none">{section.none}</p></section>'
    headings = "".join(f'<th class="{column.how}">{column.heading}</th>' for column in section.columns)
    largest = {
        column.name: max(row[column.name] or 0 for row in rows)
        for column in section.columns
        if column.how == "bar"
    }
    body = "".join(
        "<tr>" + "".join(_cell(column, row[column.name], largest) for column in section.columns) + "</tr>"
        for row in rows
    )
    return f"{head}<table><thead><tr>{headings}</tr></thead><tbody>{body}</tbody></table></section>"


def _cell(column: _Column, value: Any, largest: dict[str, int]) -> str:
    match column.how:
        case "bar":
            share = 100 * (value or 0) / (largest[column.name] or 1)
            return f'<td class="bar"><i style="width:{max(share, 0.5):.1f}%"></i></td>'
        case "number":
            return f'<td class="number">{value or 0:,}</td>'
        case "code":
            return f'<td class="code">{html.escape(str(value or ""))}</td>'
        case "time":
            return f'<td class="time">{html.escape(_when(value))}</td>'
        case "names":
            first, more = str(value).split(",")[:_NAMES], str(value).count(",") + 1 - _NAMES
            return f"<td>{html.escape(', '.join(first))}{f' and {more:,} more' if more > 0 else ''}</td>"
        case _:
            return f"<td>{html.escape(str(value or 'unknown'))}</td>"


def _chart(rows: Sequence[Row]) -> str:
    if not rows:
        return '<section><h2>Over time</h2><p class="none">No call in this period.</p></section>'
    top = _round_up(max(row["calls"] for row in rows))
    step = (_WIDTH - _LEFT) / len(rows)
    plot = _HEIGHT - _BOTTOM - 10
    parts = []
    for share in (0, 0.5, 1):
        y = 10 + plot * (1 - share)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{round(top * share):,}</text>')
    every, width = max(1, round(len(rows) / 8)), min(step * 0.76, 60)
    for index, row in enumerate(rows):
        x, y = _LEFT + index * step, 10.0 + plot
        for verdict in _VERDICTS:
            height = plot * row[verdict] / top
            y -= height
            if row[verdict]:
                title = f"{row['moment']}: {row[verdict]:,} {verdict}"
                parts.append(
                    f'<rect class="{verdict}" x="{x + step * 0.12:.1f}" y="{y:.1f}" width="{width:.1f}"'
                    f' height="{max(height, 0.5):.1f}"><title>{html.escape(title)}</title></rect>'
                )
        if index % every == 0:
            label = row["moment"][5:].replace("T", " ") + (":00" if "T" in row["moment"] else "")
            # At the right edge there is room on its left only.
            at, anchor = (x + step * 0.12, "start") if x < _WIDTH - 60 else (x + step * 0.88, "end")
            parts.append(
                f'<text x="{at:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{html.escape(label)}</text>'
            )
    legend = "".join(
        f'<span><i style="background:var(--{verdict})"></i>{verdict}</span>' for verdict in _VERDICTS
    )
    return (
        '<section><h2>Over time</h2><p class="about">Calls by verdict, in UTC.</p>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Calls over time">'
        f"{''.join(parts)}</svg>"
        f'<div class="legend">{legend}</div></section>'
    )


def _round_up(value: int) -> int:
    """The next number of the form 1, 2 or 5 times a power of ten: a scale that people read."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= value:
                return factor * power
        power *= 10


def _period(since: str, until: str) -> str:
    return f"{_when(since)} to {_when(until)}"


def _when(moment: str) -> str:
    return moment[:16].replace("T", " ")
