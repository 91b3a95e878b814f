"""A callgate.toml that cannot be used: a mistake is one line that names the file or variable, and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from callgate.serve.config import ConfigError, load_settings
from callgate.serve.template import config_text

WELL = config_text(listen="127.0.0.1:8080", endpoint=None)
MISTAKES = [
    ("drain =", "drian =", "drian: unknown key; did you mean drain?"),
    ("[proxy]", "[prxy]", "prxy: unknown key; did you mean proxy?"),
    ("listen =", "lisen =", "proxy.lisen: unknown key; did you mean listen?"),
    ('profile = "gitlab"', 'profil = "gitlab"', "identity.issuer[1].profil: unknown key; did you"),
    ("[aws]", "[identity.sesion]\n[aws]", "identity.sesion: unknown key"),
    ("[aws]", '[approvals.approvers.ada]\nunx = "a"\n[aws]', "approvals.approvers.ada.unx: unknown key"),
    ('mode = "enforce"', 'mode = "off"', "mode: is 'off'; it can be 'enforce' or 'observe'"),
    ('rules = ["rules"]', 'rules = "rules"', "rules: should be a list"),
    ("[proxy]", "proxy = 1\n[later]", "proxy: should be a table"),
    ('"127.0.0.1:8080"', "8080", "proxy.listen: should be a string"),
    ('"127.0.0.1:8080"', '"8080"', "proxy.listen: an address is HOST:PORT, not '8080'"),
    ('drain = "30s"', "drain = 30", 'drain: a duration is a string such as "45s"'),
    ("[aws]", "[limits]\nhead_size = 3.5\n[aws]", "limits.head_size: should be a whole number"),
    ("[aws]", "[limits]\ndepth = 101\n[aws]", "limits.depth: should be less than or equal to 100"),
    ("[aws]", '[aws]\nendpoint = "localhost"', "aws.endpoint: an endpoint is http(s):"),
    ("[aws]", '[aws]\nhosts = ["a b"]', "aws.hosts: "),
    ("[aws]", '[aws]\nprivate_ranges = ["10.0.0.1/8"]', "aws.private_ranges: 10.0.0.1/8 has host bits set"),
    ("[aws]", '[admin]\nlisten = "127.0.0.1:1"\n[aws]', "admin: listen needs certificate and key"),
    ('audience = "callgate"', "", "identity.issuer[0].audience: is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("well", "wrong", "says"), MISTAKES, ids=[says for *_, says in MISTAKES])
def test_a_mistake_is_named_with_its_file_and_key(well: str, wrong: str, says: str, tmp_path: Path) -> None:
    assert well in WELL
    file = tmp_path / "callgate.toml"
    file.write_text(WELL.replace(well, wrong, 1))
    with pytest.raises(ConfigError) as caught:
        load_settings(file, {})
    assert str(caught.value).startswith(f"{file}: {says}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("CALLGATE_MODE", "obsrve", "CALLGATE_MODE: is 'obsrve'; it can be 'enforce' or 'observe'"),
        ("CALLGATE_PROXY__LISTN", "x", "CALLGATE_PROXY__LISTN: unknown key; did you mean listen?"),
        ("CALLGATE_STATE__X", "x", "CALLGATE_STATE__X: does not fit the configuration"),
    ],
)
def test_a_mistake_in_a_variable_names_the_variable(name: str, value: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "callgate.toml"
    file.write_text(WELL)
    with pytest.raises(ConfigError) as caught:
        load_settings(file, {name: value})
    assert str(caught.value) == says
