"""Checkpoints kept elsewhere: in a folder, in S3 with Object Lock, with retries and an alarm when late."""

from __future__ import annotations

import asyncio
import datetime
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from ledger_samples import intent
from moto import mock_aws
from pydantic import ValidationError

from callgate.ledger import Checkpoint, Ledger, Signer, read_public_keys
from callgate.ledger.keepers import FileKeeper, KeepError, Keeping, S3Keeper
from callgate.ledger.settings import KeepSettings, LedgerSettings
from callgate.ledger.verify import verify


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint.sign(Signer.create(tmp_path / "k" / "ledger.key", "test"), "test", 7, bytes(32))


def test_a_folder_keeps_each_checkpoint_and_the_newest(
    with_ledger: Callable[..., None], state: Path, tmp_path: Path
) -> None:
    async def use(ledger: Ledger) -> None:
        for n in range(10):
            await ledger.append(intent(f"c{n}"))

    with_ledger(use, checkpoint_entries=5, keepers=[FileKeeper(tmp_path / "kept")])
    keys = read_public_keys(state / "keys" / "ledger.pub")
    newest = (tmp_path / "kept" / "checkpoint").read_text()
    assert Checkpoint.verified(newest, keys).size == 10
    assert verify([state / "ledger.db"], keys, kept={"kept": newest}).findings == ()
    assert (
        tmp_path / "kept" / f"checkpoint-000000000010-{Checkpoint.verified(newest, keys).root.hex()[:16]}"
    ).exists()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        yield client


def test_s3_keeps_it_where_nobody_can_delete_it(bucket: Any, checkpoint: Checkpoint) -> None:
    S3Keeper("locked", "callgate", retain_days=30).keep(checkpoint)
    (found,) = bucket.list_objects_v2(Bucket="locked")["Contents"]
    kept = bucket.get_object(Bucket="locked", Key=found["Key"])
    assert found["Key"] == "callgate/checkpoint-000000000007-0000000000000000"
    assert kept["Body"].read().decode() == checkpoint.note
    assert kept["ObjectLockMode"] == "COMPLIANCE"
    days = (kept["ObjectLockRetainUntilDate"] - datetime.datetime.now(datetime.UTC)).days
    assert days in (29, 30)


def test_a_bucket_that_is_not_there_is_an_error_to_retry(bucket: Any, checkpoint: Checkpoint) -> None:
    with pytest.raises(KeepError, match="NoSuchBucket"):
        S3Keeper("missing", "").keep(checkpoint)


class Moody:
    """A keeper that fails so many times."""

    name = "moody"

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.kept: list[int] = []
        self.done = threading.Event()

    def keep(self, checkpoint: Checkpoint) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("not now")
        self.kept.append(checkpoint.size)
        self.done.set()


def test_what_could_not_be_kept_is_tried_again(checkpoint: Checkpoint) -> None:
    keeper = Moody(3)
    keeping = Keeping(keeper, retries=[0.01])
    keeping.offer(checkpoint)
    assert keeper.done.wait(10)
    keeping.close()
    assert keeper.kept == [7]
    assert keeping.alarm is None


def test_there_is_an_alarm_when_a_checkpoint_is_late(checkpoint: Checkpoint) -> None:
    keeping = Keeping(Moody(10**6), late=0.0, retries=[0.01])
    assert keeping.alarm is None
    keeping.offer(checkpoint)
    assert "no checkpoint could be kept at moody" in str(keeping.alarm)
    keeping.close()


def test_an_alarm_does_not_refuse_calls(with_ledger: Callable[..., None]) -> None:
    async def use(ledger: Ledger) -> None:
        await ledger.append(intent("c1"))
        assert ledger.health().ok

    with_ledger(use, checkpoint_entries=1, keepers=[Moody(10**6)])


def test_the_last_checkpoint_is_kept_when_the_gateway_stops(opened: Callable[..., Ledger]) -> None:
    keeper = Moody(0)

    async def use() -> None:
        ledger = opened(keepers=[keeper])
        await ledger.append(intent("c1"))
        await ledger.close()

    asyncio.run(use())
    assert keeper.kept == [1]


def test_settings_name_one_place_each() -> None:
    settings = LedgerSettings.model_validate(
        {"keep": [{"file": "/mnt"}, {"s3": "s3://audit/x", "retain_days": 1}]}
    )
    assert [place.keeper().name for place in settings.keep] == ["/mnt", "s3://audit/x"]
    for wrong in ({}, {"file": "/a", "s3": "s3://audit"}, {"file": "/a", "retain_days": 1}, {"s3": "audit"}):
        with pytest.raises(ValidationError):
            KeepSettings.model_validate(wrong)
