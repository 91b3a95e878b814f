"""The section [ledger] of callgate.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from callgate.duration import Duration
from callgate.ledger.keepers import FileKeeper, Keeper, S3Keeper


class KeepSettings(BaseModel):
    """A place where checkpoints are kept: a folder (`file`), or `s3://BUCKET/PREFIX` (`s3`).

    `retain_days` asks for S3 Object Lock in compliance mode, which the bucket must have.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path | None = None
    s3: str | None = Field(default=None, pattern=r"^s3://[a-z0-9][a-z0-9.-]+(/.*)?$")
    retain_days: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.file is None) == (self.s3 is None):
            raise ValueError("name either file or s3")
        if self.retain_days is not None and self.s3 is None:
            raise ValueError("retain_days is for s3")
        return self

    def keeper(self) -> Keeper:
        """What keeps them there."""
        if self.file is not None:
            return FileKeeper(self.file)
        bucket, _, prefix = str(self.s3).removeprefix("s3://").partition("/")
        return S3Keeper(bucket, prefix, retain_days=self.retain_days)


class LedgerSettings(BaseModel):
    """`origin` names this log in its checkpoints, which are signed after so much time or so many entries."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    origin: str = Field(default="callgate.local/log", pattern=r"^\S+$")
    checkpoint_every: Duration = Field(default=60.0, gt=0)
    checkpoint_entries: int = Field(default=1000, ge=1)
    keep: tuple[KeepSettings, ...] = ()
