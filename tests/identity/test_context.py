"""What a client says of itself is kept as claimed: bounded, printable, without secrets."""

from __future__ import annotations

import json

import pytest

from callgate.identity.context import clean_context, read_context, scrub, scrub_command

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize(
    "command",
    [
        ["mysql", "-p", "hunter2"],
        ["mysql", "-phunter2"],
        ["deploy", "--password", "hunter2"],
        ["deploy", "--password=hunter2"],
        ["deploy", "--db-password", "hunter2", "x"],
        ["deploy", "--api-key", "hunter2"],
        ["deploy", "--api_key=hunter2"],
        ["deploy", "--auth-token", "hunter2"],
        ["deploy", "-secret", "hunter2"],
        ["sh", "-c", "DB_PASSWORD=hunter2 ./deploy"],
        ["sh", "-c", "export GITHUB_TOKEN='hunter2'; ./deploy"],
        ["sh", "-c", 'PASSWORD="hunter2 hunter2" ./deploy'],
        ["env", "AWS_SECRET_ACCESS_KEY=hunter2", "deploy"],
        ["curl", "-H", "Authorization: Bearer hunter2"],
        ["curl", "-H", "Authorization: Basic hunter2"],
        ["curl", "-H", "X-Api-Key: hunter2"],
        ["curl", "-u", "user:hunter2", "https://x.example"],
        ["curl", "https://user:hunter2@x.example/"],
        ["curl", "https://x.example/?token=hunter2&x=1"],
        ["psql", "postgres://user:hunter2@db/x"],
        ["docker", "login", "--password", "hunter2"],
        ["tool", '{"password": "hunter2"}'],
        ["tool", "--header=private-token: hunter2"],
    ],
)
def test_a_secret_in_a_command_line_is_not_kept(command: list[str]) -> None:
    kept = scrub_command(command)
    assert "hunter2" not in json.dumps(kept)
    assert kept[0] == command[0]
    assert "***" in json.dumps(kept)


@pytest.mark.parametrize(
    "secret",
    [
        JWT,
        AWS_SECRET,
        "cgs_" + "A1b2" * 10,
        "ghp_" + "A1b2" * 9,
        "github_pat_" + "A1b2" * 9,
        "glpat-" + "A1b2c3d4e5f6g7h8i9j0",
        "xoxb-" + "1234567890-abcdefghij",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n",
    ],
)
def test_what_has_a_secrets_shape_is_not_kept_wherever_it_stands(secret: str) -> None:
    for text in (secret, f"x={secret}", f"tool --flag {secret} more", f"[{secret}]"):
        assert secret.strip() not in scrub(text)
    assert secret.strip() not in json.dumps(
        clean_context({"cwd": f"/tmp/x={secret}", "command": ["x", secret]})
    )


@pytest.mark.parametrize(
    "command",
    [
        ["aws", "s3", "cp", "s3://bucket/key", "."],
        ["git", "checkout", "714a629c0b401fdce83e847fc9589983fc6f46bc"],
        ["aws", "secretsmanager", "get-secret-value", "--secret-id", "prod/db"],
        ["terraform", "apply", "-auto-approve"],
        ["make", "-j4", "deploy", "STAGE=production"],
        ["sh", "-c", "cd /srv && ./deploy --region eu-west-1"],
        ["python", "-m", "tokenizer", "--max-tokens=5"],
    ],
)
def test_ordinary_command_lines_stay_readable(command: list[str]) -> None:
    kept = scrub_command(command)
    assert len(kept) == len(command)
    assert kept[:2] == command[:2]
    assert sum(before != after for before, after in zip(command, kept, strict=True)) <= 1


def test_the_context_is_bounded_and_printable() -> None:
    said = {
        "host": "runner\x1b[31m\n7",
        "cwd": "/" + "x" * 5000,
        "command": ["a" * 5000] * 500,
        "commit": 5,
        "actor": "",
        "surprise": "x",
    }
    kept = clean_context(said)
    assert kept["host"] == "runner�[31m�7"
    assert len(kept["cwd"]) == 512
    assert len(kept["command"]) == 65
    assert max(map(len, kept["command"])) == 512
    assert set(kept) == {"host", "cwd", "command"}


def test_a_command_that_is_no_list_of_words_is_dropped() -> None:
    for command in ("rm", [], ["a", 1], {"a": 1}, None):
        assert clean_context({"command": command}) == {}


def test_a_context_is_read_strictly() -> None:
    assert read_context(b'{"host":"a"}') == {"host": "a"}
