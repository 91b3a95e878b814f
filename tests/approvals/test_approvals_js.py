"""The AWS SDK for JavaScript v3 on held calls. The long form alone, since the SDK comes from npm."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from held_calls import DONE, People

from support.gateway import Gateway, make_home, running
from support.upstream import Recorder, recorder

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]
RULES = """
[[rule]]
id = "delete-needs-a-person"
effect = "hold"
action = ["s3:DeleteObject"]
hold = { by = ["oncall"], within = "60s" }
"""
SETTINGS = '[approvals]\nattempt = "1s"\nlocal_groups = ["oncall"]\n'
MODES = ["standard", "adaptive"]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("js") / "js"
    shutil.copytree(Path(__file__).parent / "js", folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=200)
    return folder / "delete.cjs"


@pytest.fixture(scope="module")
def upstream_of_module() -> Iterator[Recorder]:
    with recorder(DONE) as state:
        yield state


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream_of_module: Recorder) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gate") / "gate"
    home = make_home(folder, endpoint=upstream_of_module.url, rules=RULES, more=SETTINGS)
    with running(home) as running_gateway:
        yield running_gateway


def delete(gateway: Gateway, script: Path, key: str, attempts: int, mode: str) -> dict[str, Any]:
    environ = {**gateway.environ(), "NODE_EXTRA_CA_CERTS": str(gateway.home.ca)}
    command = ["node", str(script), key, str(attempts), mode]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("mode", MODES)
def test_it_outwaits_a_hold_with_one_prompt_and_one_execution(
    gateway: Gateway, script: Path, upstream_of_module: Recorder, mode: str
) -> None:
    people, key = People(gateway.home), f"outwaits-{mode}"
    before = len(upstream_of_module.requests)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(delete, gateway, script, key, 6, mode)
        hold = people.pending(key)
        time.sleep(1.7)
        assert people.answer(hold) == 200
        told = call.result(60)
    assert told["httpStatusCode"] == 204
    assert told["attempts"] > 1
    assert len(upstream_of_module.requests) == before + 1
    opened = [e for e in gateway.entries("hold.opened") if key in json.dumps(e["asked"]["resources"])]
    assert len(opened) == 1


@pytest.mark.parametrize("mode", MODES)
def test_its_last_attempt_ends_in_access_denied_that_says_how_to_go_on(
    gateway: Gateway, script: Path, upstream_of_module: Recorder, mode: str
) -> None:
    people, key = People(gateway.home), f"ends-{mode}"
    before = len(upstream_of_module.requests)
    told = delete(gateway, script, key, 2, mode)
    hold = people.pending(key)
    assert (told["name"], told["httpStatusCode"], told["attempts"]) == ("AccessDenied", 403, 2)
    assert hold["id"] in told["message"]
    assert hold["deadline"] in told["message"]
    assert people.answer(hold) == 200
    assert delete(gateway, script, key, 2, mode)["httpStatusCode"] == 204
    assert len(upstream_of_module.requests) == before + 1


@pytest.mark.parametrize("mode", MODES)
def test_a_denial_is_not_retried(gateway: Gateway, script: Path, mode: str) -> None:
    people, key = People(gateway.home), f"denied-{mode}"
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(delete, gateway, script, key, 6, mode)
        assert people.answer(people.pending(key), "deny", "no way") == 200
        told = call.result(60)
    assert (told["name"], told["attempts"]) == ("AccessDenied", 1)
    assert "no way" in told["message"]
