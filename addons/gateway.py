"""The entry of `mitmdump -s addons/gateway.py`: registers the bundle with the master, no more.

What is registered with the master outlives this script, so saving a mistake into this file, or deleting it,
opens nothing.
"""

from callgate.serve.service import register


def load(loader):  # type: ignore[no-untyped-def]
    register(loader.master)
