"""Masking in a process of its own gives what masking here gives, and outlives that process."""

import asyncio
import os
import signal
import subprocess

import pytest
from mask_helpers import KEY, answer, make_call, mask, masks_of

from callgate.call import HttpResponse, Refusal
from callgate.masking import MaskedResponse, MaskWorker
from callgate.masking.worker import COMMAND

CALL = make_call("secretsmanager", "GetSecretValue")
BODY = '{"Name": "é\\ud800", "SecretString": "canary", "VersionStages": ["canary"]}'
TERMS = {"method": "POST", "key": KEY, "limit": 10_000}


async def masked(worker: MaskWorker, response: HttpResponse, *paths: str, **terms: object) -> MaskedResponse:
    return await worker.mask(masks_of(*paths, **terms), CALL, response, **TERMS)


async def process_of(worker: MaskWorker) -> int:
    await masked(worker, answer(BODY), "$.SecretString")
    process = worker._process
    assert process is not None
    return process.pid


def test_it_gives_what_masking_here_gives() -> None:
    async def run() -> None:
        worker = MaskWorker()
        response = answer(BODY, ("x-amz-é", "\xff"))
        for paths, terms in (
            (("$.SecretString", "$.VersionStages"), {}),
            ((), {"sensitive": True}),
            (("$.SecretString",), {"how": "hash"}),
            ((), {"detect": ("jwt", "aws-key")}),
        ):
            assert await masked(worker, response, *paths, **terms) == mask(CALL, response, *paths, **terms)
        worker.close()

    asyncio.run(run())


def test_its_refusals_are_those_of_masking_here() -> None:
    async def run() -> None:
        worker = MaskWorker()
        for response, code in ((answer("{"), "mask-unreadable"), (answer("x" * 10_001), "mask-too-large")):
            with pytest.raises(Refusal) as refused:
                await masked(worker, response, "$.SecretString")
            assert (refused.value.status, refused.value.code) == (502, code)
        worker.close()

    asyncio.run(run())


def test_a_process_that_was_killed_is_followed_by_another() -> None:
    async def run() -> None:
        worker = MaskWorker()
        first = await process_of(worker)
        os.kill(first, signal.SIGKILL)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        assert await process_of(worker) != first
        worker.close()

    asyncio.run(run())


def test_one_who_gives_up_waiting_gets_nobody_elses_answer() -> None:
    async def run() -> None:
        worker = MaskWorker()
        waiting = asyncio.create_task(masked(worker, answer(BODY), "$.Name"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        found = await masked(worker, answer(BODY), "$.SecretString")
        assert found == mask(CALL, answer(BODY), "$.SecretString")
        worker.close()

    asyncio.run(run())


def test_it_ends_with_the_gateway() -> None:
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.communicate(timeout=30) == (b"", None)
    assert process.returncode == 0
