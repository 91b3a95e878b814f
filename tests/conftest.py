"""Options and fixtures for the whole suite."""

from __future__ import annotations

import signal

import pytest

pytest_plugins = ["support.fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long forms as well")
    parser.addoption("--soak", action="store_true", help="run the soak test, and nothing else")


def pytest_configure() -> None:
    # What `nohup` and `&` start ignores these, and so would its children, whose signals are under test. A
    # handler is not inherited.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def is_wanted(item: pytest.Item) -> bool:
        if config.getoption("--soak"):
            return item.get_closest_marker("soak") is not None
        left_out = ("soak",) if config.getoption("--full") else ("soak", "full")
        return not any(item.get_closest_marker(name) for name in left_out)

    deselected = [item for item in items if not is_wanted(item)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if is_wanted(item)]
