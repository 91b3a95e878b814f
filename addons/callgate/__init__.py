"""Callgate: a gateway between jobs and AWS, as a bundle of mitmproxy addons."""

__version__ = "0.1.0"
