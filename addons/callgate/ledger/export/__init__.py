"""The log for machines: OCSF, CloudTrail's records, CSV and JSON lines; to files, folders and S3."""

from callgate.ledger.export.exporter import FORMATS, Place, export, follow

__all__ = ["FORMATS", "Place", "export", "follow"]
