"""What DynamoDB's batches, transactions and PartiQL statements need: the actions of each item, and its table.

Follows "Actions, resources, and condition keys for Amazon DynamoDB" and "IAM policies for PartiQL". Beside
the action that AWS asks for, a call needs the plain one that it amounts to: who may not delete items may not
do so in a batch or a statement either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from callgate.aws import partiql
from callgate.aws.arns import UNTOLD, Pair, Resource, Scope, is_arn, mappings

_STATEMENT: Final[dict[str, tuple[str, ...]]] = {
    "Select": ("PartiQLSelect", "GetItem", "Query", "Scan"),
    "Exists": ("PartiQLSelect", "ConditionCheckItem"),
    "Insert": ("PartiQLInsert", "PutItem"),
    "Update": ("PartiQLUpdate", "UpdateItem"),
    "Delete": ("PartiQLDelete", "DeleteItem"),
}
_WRITES: Final = {"PutRequest": "PutItem", "DeleteRequest": "DeleteItem"}
_TRANSACTION: Final = {
    "ConditionCheck": "ConditionCheckItem",
    "Delete": "DeleteItem",
    "Get": "GetItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
}


def needs(operation: str, parameters: Mapping[str, Any], scope: Scope) -> list[Pair] | None:
    """The needs of a batch, a transaction or statements; None for DynamoDB's other operations."""
    match operation:
        case "BatchGetItem" | "BatchWriteItem":
            actions = _batched(operation, parameters.get("RequestItems"))
        case "TransactGetItems" | "TransactWriteItems":
            actions = _transacted(operation, parameters.get("TransactItems"))
        case "ExecuteStatement":
            return _stated([parameters], scope)
        case "BatchExecuteStatement":
            return _stated(parameters.get("Statements"), scope)
        case "ExecuteTransaction":
            return _stated(parameters.get("TransactStatements"), scope)
        case _:
            return None
    return [(f"dynamodb:{action}", *_table(table, scope)) for action, table in actions]


def _batched(operation: str, requested: Any) -> Iterator[tuple[str, Any]]:
    known = isinstance(requested, Mapping) and requested
    for table, items in (requested if known else {None: ()}).items():
        yield operation, table
        if operation == "BatchGetItem":
            yield "GetItem", table
            continue
        kinds = {kind for item in mappings(items) for kind in item}
        for kind in sorted(kinds) or ("DeleteRequest", "PutRequest"):
            yield _WRITES.get(kind, operation), table


def _transacted(operation: str, items: Any) -> Iterator[tuple[str, Any]]:
    anything = {"Get": None} if operation == "TransactGetItems" else dict.fromkeys(_TRANSACTION)
    for item in mappings(items) or [anything]:
        for kind, asked in item.items():
            table = asked.get("TableName") if isinstance(asked, Mapping) else None
            yield _TRANSACTION.get(kind, operation), table


def _stated(statements: Any, scope: Scope) -> list[Pair]:
    """The needs of PartiQL statements. One that cannot be read could be any, on any table."""
    pairs: list[Pair] = []
    for item in mappings(statements) or [{}]:
        statement = partiql.read(item.get("Statement"))
        if statement is None:
            actions = dict.fromkeys(action for verb in _STATEMENT.values() for action in verb)
            pairs += ((f"dynamodb:{action}", *_table(None, scope)) for action in actions)
            continue
        table = _table(statement.table, scope)
        for action in _STATEMENT[statement.verb]:
            pairs.append((f"dynamodb:{action}", *table))
            if statement.index:
                pairs.append((f"dynamodb:{action}", f"{table.arn}/index/{statement.index}", table.determined))
    return pairs


def _table(named: Any, scope: Scope) -> Resource:
    if is_arn(named):
        return Resource(named)
    return scope.arn("dynamodb", f"table/{named or UNTOLD}")
