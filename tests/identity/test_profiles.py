"""Each kind of issuer, with tokens of their real shape, signed and served over HTTPS as the issuer would."""

from __future__ import annotations

import asyncio
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from identity_support import Clock, MemoryJournal, authenticator_of

from callgate.call import Refusal
from callgate.identity import Identity, IdentitySettings
from callgate.identity.profiles import profiles
from local_issuer import SigningKey, github_claims, jwks, local_issuer, times

DOCUMENT = (Path(__file__).parents[2] / "docs/identity.md").read_text("utf-8")
KEYS = {algorithm: SigningKey("key-1", algorithm) for algorithm in ("RS256", "ES256", "ES384")}


def documented() -> dict[str, dict[str, Any]]:
    """Every issuer that the documentation configures, by name."""
    blocks = [part.split("```")[0] for part in DOCUMENT.split("```toml\n")[1:]]
    read = [tomllib.loads(block)["identity"]["issuer"] for block in blocks]
    return {issuer["name"]: issuer for issuers in read for issuer in issuers}


ISSUERS = documented()

GITLAB = {
    "namespace_id": "72",
    "namespace_path": "acme/platform",
    "project_id": "20",
    "project_path": "acme/platform/infra",
    "user_id": "1",
    "user_login": "sample-user",
    "user_email": "sample-user@example.com",
    "user_access_level": "developer",
    "user_identities": [{"provider": "github", "extern_uid": "2435223452345"}],
    "pipeline_id": "574",
    "pipeline_source": "push",
    "job_id": "302",
    "ref": "feature-branch-1",
    "ref_type": "branch",
    "ref_path": "refs/heads/feature-branch-1",
    "ref_protected": "false",
    "groups_direct": ["acme/platform", "acme/ops"],
    "environment": None,
    "runner_id": 1,
    "runner_environment": "self-hosted",
    "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
    "project_visibility": "public",
    "ci_config_ref_uri": "gitlab.example.com/acme/platform/infra//.gitlab-ci.yml@refs/heads/main",
    "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
    "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
    "sub": "project_path:acme/platform/infra:ref_type:branch:ref:feature-branch-1",
}
UID = "4b5c3e6a-0a6e-4f0e-9b1f-0f8f7d7c1a2b"
KUBERNETES = {
    "aud": ["callgate.example.com"],
    "jti": "ed04ff7c-0b3a-4f73-9f5b-3ed3f5b9f2a1",
    "sub": "system:serviceaccount:ci:deployer",
    "kubernetes.io": {
        "namespace": "ci",
        "node": {"name": "node-1", "uid": UID},
        "pod": {"name": "deploy-7d9f", "uid": UID},
        "serviceaccount": {"name": "deployer", "uid": UID},
        "warnafter": 1700003607,
    },
}
BUILDKITE = {
    "sub": "organization:acme-inc:pipeline:super-duper-app:ref:refs/heads/main:"
    "commit:9f3182061f1e2cca4702c368cbc039b7dc9d4485:step:build",
    "organization_slug": "acme-inc",
    "pipeline_slug": "super-duper-app",
    "build_number": 1,
    "build_branch": "main",
    "build_commit": "9f3182061f1e2cca4702c368cbc039b7dc9d4485",
    "step_key": "build",
    "job_id": "0184990a-477b-4fa8-9968-496074483cee",
    "agent_id": "0184990a-4782-42b5-afc1-16715b10b8ff",
    "build_source": "ui",
    "runner_environment": "buildkite-hosted",
    "organization_id": "0184990a-477b-4fa8-9968-496074483k77",
}
BUILDKITE["organization_id"] = "0184990a-477b-4fa8-9968-496074483c77"
CIRCLECI = {
    "sub": "org/11111111-2222-3333-4444-555555555555/project/aaaaaaaa-2222-3333-4444-555555555555/user/bb",
    "oidc.circleci.com/project-id": "aaaaaaaa-2222-3333-4444-555555555555",
    "oidc.circleci.com/context-ids": ["cccccccc-2222-3333-4444-555555555555"],
    "oidc.circleci.com/vcs-origin": "github.com/acme/infra",
    "oidc.circleci.com/vcs-ref": "refs/heads/main",
    "oidc.circleci.com/ssh-rerun": False,
}
BITBUCKET = {
    "sub": "{dddddddd-2222-3333-4444-555555555555}:{eeeeeeee-2222-3333-4444-555555555555}",
    "stepUuid": "{eeeeeeee-2222-3333-4444-555555555555}",
    "repositoryUuid": "{dddddddd-2222-3333-4444-555555555555}",
    "workspaceUuid": "{66666666-2222-3333-4444-555555555555}",
    "pipelineUuid": "{ffffffff-2222-3333-4444-555555555555}",
    "branchName": "main",
}
TERRAFORM = {
    "jti": "1192426d-b525-4fde-9d72-f238be437bbd",
    "sub": "organization:acme:project:Default Project:workspace:prod:run_phase:apply",
    "terraform_run_phase": "apply",
    "terraform_workspace_id": "ws-mbsd5E3Ktt5Rg2Xm",
    "terraform_workspace_name": "prod",
    "terraform_organization_id": "org-GRNbCjYNpBB6NEBH",
    "terraform_organization_name": "acme",
    "terraform_project_id": "prj-vegSA59s1XPwMr2t",
    "terraform_run_id": "run-X3n1AUXNGWbfECsJ",
}
GOOGLE = {
    "sub": "107517467455664443766",
    "azp": "107517467455664443766",
    "email": "deployer@acme.iam.gserviceaccount.com",
    "email_verified": True,
    "google": {
        "compute_engine": {"project_id": "acme-prod", "instance_name": "ci-1", "zone": "europe-west1-b"}
    },
}
ENTRA = {
    "aio": "k2RgYFht",
    "azp": "99999999-aaaa-3333-4444-555555555555",
    "azpacr": "2",
    "oid": "12345678-2222-3333-4444-555555555555",
    "sub": "12345678-2222-3333-4444-555555555555",
    "tid": "77777777-2222-3333-4444-555555555555",
    "uti": "bWVoV2hv",
    "ver": "2.0",
}
AWS = {
    "sub": "arn:aws:iam::111111111111:role/deployer",
    "jti": "f3b1c2d4-0000-4f0e-9b1f-0f8f7d7c1a2b",
    "https://sts.amazonaws.com/": {
        "aws_account": "111111111111",
        "source_region": "eu-west-1",
        "org_id": "o-exampleorgid",
        "principal_id": "arn:aws:iam::111111111111:role/deployer",
        "principal_tags": {"team": "platform"},
    },
}
SPIFFE = {"sub": "spiffe://acme.example/ns/ci/sa/deployer"}

# Issuer in the documentation -> its token's claims, its principal, a claim that rules see.
REAL: dict[str, tuple[dict[str, Any], str, tuple[str, Any]]] = {
    "gitlab": (GITLAB, "gitlab:acme/platform/infra:branch:feature-branch-1", ("project_id", "20")),
    "prod-cluster": (KUBERNETES, "prod-cluster:ci:deployer", ("pod", "deploy-7d9f")),
    "buildkite": (BUILDKITE, "buildkite:acme-inc/super-duper-app:branch:main", ("build_number", 1)),
    "circleci": (
        CIRCLECI,
        "circleci:project:aaaaaaaa-2222-3333-4444-555555555555",
        ("vcs_ref", "refs/heads/main"),
    ),
    "bitbucket": (
        BITBUCKET,
        "bitbucket:repository:{dddddddd-2222-3333-4444-555555555555}",
        ("branch", "main"),
    ),
    "terraform": (TERRAFORM, "terraform:org-GRNbCjYNpBB6NEBH:ws-mbsd5E3Ktt5Rg2Xm:apply", ("phase", "apply")),
    "google": (GOOGLE, "google:deployer@acme.iam.gserviceaccount.com", ("project_id", "acme-prod")),
    "entra": (ENTRA, "entra:12345678-2222-3333-4444-555555555555", ("tenant", ENTRA["tid"])),
    "aws": (AWS, "aws:arn:aws:iam::111111111111:role/deployer", ("team", "platform")),
    "spiffe": (SPIFFE, "spiffe:spiffe://acme.example/ns/ci/sa/deployer", ("sub", SPIFFE["sub"])),
}


async def _identify(settings: dict[str, Any], key: SigningKey, claims: dict[str, Any]) -> Identity:
    auth = authenticator_of(MemoryJournal(), Clock(), settings)
    await auth.start()
    try:
        return await auth.identify(key.token(claims), source_ip="10.0.0.1")
    finally:
        await auth.close()


@pytest.mark.parametrize("name", REAL)
def test_a_documented_issuer_takes_its_real_tokens_over_https(name: str, tmp_path: Path) -> None:
    claims, principal, (claim, value) = REAL[name]
    settings = {key: said for key, said in ISSUERS[name].items() if key not in ("jwks_url", "bearer_file")}
    key = KEYS[settings.get("algorithms", ["RS256"])[-1]]
    with local_issuer(tmp_path, key) as issuer:
        there = {"url": issuer.url, "ca": str(tmp_path / "ca.pem")}
        token = {"aud": settings["audience"], **claims, "iss": issuer.url, **times()}
        identity = asyncio.run(_identify(settings | there, key, token))
    assert identity.principal_id == principal
    assert identity.claims[claim] == value
    assert identity.subject == claims["sub"]


def test_every_issuer_in_the_documentation_is_tried() -> None:
    assert set(ISSUERS) == {"github", *REAL}
    IdentitySettings.model_validate({"issuer": list(ISSUERS.values())})


def test_the_documentation_lists_every_claim_of_every_profile() -> None:
    for name, profile in profiles().items():
        if name == "generic":
            continue
        section = DOCUMENT.split(f"\n### {name}\n")[1].split("\n### ")[0]
        always, sometimes = section.split("Always: ")[1].split("Sometimes: ")
        assert set(profile.required) == set(always.split("`")[1::2])
        assert set(profile.optional) == set(sometimes.split("\n\n")[0].split(". ")[0].split("`")[1::2])


def test_the_documentation_lists_every_setting() -> None:
    for model in (IdentitySettings, IdentitySettings.model_fields["issuers"].annotation.__args__[0]):  # type: ignore[union-attr]
        for name, field in model.model_fields.items():
            assert f"`{name}`" in DOCUMENT or f"identity.{field.alias}" in DOCUMENT


def test_the_documentation_explains_every_reason_code() -> None:
    sources = (Path(__file__).parents[2] / "addons/callgate/identity").rglob("*.py")
    raised = re.compile(r'(?:Refusal|refuse)\(\s*"([a-z_-]+)"')
    codes = {code for file in sources for code in raised.findall(file.read_text())}
    assert len(codes) > 20
    assert {code for code in codes if f"`{code}`" not in DOCUMENT} == set()


def identify(settings: dict[str, Any], key: SigningKey, claims: dict[str, Any]) -> Identity:
    return asyncio.run(_identify(settings, key, claims))


@pytest.mark.parametrize(
    ("claims", "principal"),
    [
        ({}, "github:acme/infra:environment:production"),
        (
            {"environment": None, "sub": "repo:acme/infra:ref:refs/heads/main"},
            "github:acme/infra:ref:refs/heads/main",
        ),
        (
            {
                "environment": None,
                "event_name": "pull_request",
                "ref": "refs/pull/5/merge",
                "sub": "repo:acme/infra:pull_request",
            },
            "github:acme/infra:pull_request",
        ),
        # Immutable forms, with either mark between name and id
        ({"sub": "repo:acme@65/infra@74:environment:production"}, "github:acme/infra:environment:production"),
        ({"sub": "repo:acme-65/infra-74:environment:production"}, "github:acme/infra:environment:production"),
        # Customised forms
        ({"sub": "repository_owner_id:65:repository_id:74"}, "github:acme/infra:environment:production"),
        (
            {"sub": "repo:acme/infra:job_workflow_ref:acme/automation/.github/workflows/oidc.yml@v1"},
            "github:acme/infra:environment:production",
        ),
        ({"enterprise": "acme-corp", "enterprise_id": "9"}, "github:acme/infra:environment:production"),
        ({"repo_property_tier": "gold"}, "github:acme/infra:environment:production"),
    ],
)
@pytest.mark.case("A12")
def test_every_form_of_githubs_subject_gives_the_same_principal(
    claims: dict[str, Any], principal: str, github_settings: dict[str, Any], signing_key: SigningKey
) -> None:
    assert identify(github_settings, signing_key, github_claims(**claims)).principal_id == principal


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "repo:acme/infra-evil:environment:production"},
        {"sub": "repo:ACME/infra:environment:production"},
        {"sub": "repo:acme/infra"[:-1] + ":ref:refs/heads/main"},
        {"sub": "repo:acme@65/infra@75:environment:production"},
        {"sub": "repo:acme@66/infra@74:environment:production"},
        {"sub": "repo:acme@65/infra-74:environment:production"},
        {"sub": "repo:o-1/r-2:environment:production"},
        {"repository": "acme/infra\n"},
        {"repository": "acme/infra/more"},
        {"repository": "acme"},
        {"repository": "evil/infra"},
        {"repository": None},
        {"repository_id": None},
        {"repository_id": "74\n"},
        {"repository_id": "７４"},
        {"repository_id": 74.0},
        {"repository_id": True},
        {"repository_owner": "evil"},
        {"event_name": "pull_request_target"},
        {"environment": "production\n"},
        {"environment": ["production"]},
        {"environment": "prod\u202euction"},
        {"ref": "refs/heads/main\0"},
        {"actor": {"login": "octocat"}},
        {"ref_protected": 1},
        {"run_id": None},
    ],
)
def test_githubs_claims_must_agree_and_be_what_they_should(
    claims: dict[str, Any], github_settings: dict[str, Any], signing_key: SigningKey
) -> None:
    with pytest.raises(Refusal, match="token-claims") as refused:
        identify(github_settings, signing_key, github_claims(**claims))
    assert refused.value.status == 407


@pytest.mark.case("A12")
def test_pull_request_target_is_for_those_who_allow_it(
    github_settings: dict[str, Any], signing_key: SigningKey
) -> None:
    claims = github_claims(
        event_name="pull_request_target", environment=None, sub="repo:acme/infra:ref:refs/heads/main"
    )
    settings = github_settings | {"allow": ["pull_request_target"]}
    identity = identify(settings, signing_key, claims)
    assert identity.principal_id == "github:acme/infra:pull_request_target"


def test_an_environment_cannot_pass_for_another_part_of_the_principal(
    github_settings: dict[str, Any], signing_key: SigningKey
) -> None:
    claims = github_claims(environment="x:ref:refs/heads/main", sub="repo:acme/infra:environment:x%3Aref")
    identity = identify(github_settings, signing_key, claims)
    assert identity.principal_id == "github:acme/infra:environment:x:ref:refs/heads/main"


@pytest.mark.parametrize(
    ("require", "accepted"),
    [
        ({"repository_owner_id": ["65"]}, True),
        ({"repository_owner_id": ["64", "65"], "environment": ["production"]}, True),
        ({"repository_owner_id": ["6"]}, False),
        ({"repository_owner_id": [65]}, False),
        ({"environment": ["Production"]}, False),
        ({"environment": ["production\n"]}, False),
        ({"enterprise": ["acme"]}, False),
    ],
)
@pytest.mark.case("A12")
def test_required_values_are_whole_and_exact(
    require: dict[str, Any], accepted: bool, github_settings: dict[str, Any], signing_key: SigningKey
) -> None:
    settings = github_settings | {"require": require}
    if accepted:
        assert identify(settings, signing_key, github_claims())
    else:
        with pytest.raises(Refusal, match="token-claims"):
            identify(settings, signing_key, github_claims())


def test_unknown_claims_are_reported_once_and_not_for_rules(
    github_settings: dict[str, Any], signing_key: SigningKey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "callgate.identity")

    async def scenario() -> None:
        auth = authenticator_of(MemoryJournal(), Clock(), github_settings)
        await auth.start()
        for jti in ("one", "two"):
            token = signing_key.token(github_claims(jti=jti, brand_new="x"))
            identity = await auth.identify(token, source_ip="10.0.0.1")
            assert "brand_new" not in identity.claims
        await auth.close()

    asyncio.run(scenario())
    assert [record.getMessage() for record in caplog.records].count(
        "issuer github: its profile does not know the claim 'brand_new'"
    ) == 1


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        ("gitlab", {"project_path": "acme/platform/infra\n"}),
        ("gitlab", {"project_path": "acme/platform/evil"}),
        ("gitlab", {"namespace_path": "acme/platfor"}),
        ("gitlab", {"namespace_path": "evil"}),
        ("gitlab", {"project_path": "acme/platform:x/infra", "sub": "y"}),
        ("gitlab", {"namespace_id": "73"}),
        ("gitlab", {"ref_type": "Branch"}),
        ("gitlab", {"job_id": None}),
        ("gitlab", {"ref": ""}),
        ("prod-cluster", {"sub": "system:serviceaccount:ci:other"}),
        ("prod-cluster", {"sub": "system:serviceaccount:ci:deployer\n"}),
        ("prod-cluster", {"kubernetes.io": None}),
        ("prod-cluster", {"kubernetes.io": "ci"}),
        (
            "prod-cluster",
            {"kubernetes.io": {**KUBERNETES["kubernetes.io"], "serviceaccount": {"name": "deployer"}}},
        ),  # type: ignore[dict-item]
        ("prod-cluster", {"kubernetes.io": {**KUBERNETES["kubernetes.io"], "namespace": "ci:x"}}),  # type: ignore[dict-item]
        ("buildkite", {"pipeline_slug": "super-duper"}),
        ("buildkite", {"organization_slug": "evil", "sub": "x"}),
        ("buildkite", {"job_id": "x"}),
        ("buildkite", {"build_number": "one"}),
        ("circleci", {"oidc.circleci.com/project-id": None}),
        ("circleci", {"oidc.circleci.com/project-id": {"a": 1}}),
        ("circleci", {"oidc.circleci.com/vcs-ref": "a\u2028b"}),
        ("terraform", {"terraform_organization_id": "org-other"}),
        ("google", {"email_verified": "true"}),
        ("google", {"email_verified": 1}),
        ("google", {"google": {"compute_engine": {"project_id": ["x\n"]}}}),
        ("entra", {"tid": "77777777-2222-3333-4444-555555555556"}),
        ("aws", {"https://sts.amazonaws.com/": {"aws_account": "222222222222"}}),
        ("aws", {"https://sts.amazonaws.com/": []}),
    ],
)
def test_claims_of_other_issuers_must_agree_and_be_what_they_should(
    name: str, claims: dict[str, Any], tmp_path: Path
) -> None:
    settings = {
        key: said for key, said in ISSUERS[name].items() if key not in ("jwks_url", "bearer_file", "ca")
    }
    key = KEYS["RS256"]
    (tmp_path / "keys.json").write_bytes(jwks(key))
    url = settings.get("url", profiles()[settings.get("profile", "generic")].url)
    token = {"aud": settings["audience"], **REAL[name][0], "iss": url, **times(), **claims}
    token = {claim: value for claim, value in token.items() if value is not None}
    with pytest.raises(Refusal, match="token-claims"):
        identify(settings | {"keys_file": str(tmp_path / "keys.json")}, key, token)


def test_gitlab_environments_and_tags_have_principals_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_bytes(jwks(KEYS["RS256"]))
    settings = ISSUERS["gitlab"] | {"keys_file": str(tmp_path / "keys.json")}
    token = {**GITLAB, "aud": settings["audience"], "iss": settings["url"], **times()}
    protected = identify(settings, KEYS["RS256"], {**token, "environment": "production"})
    assert protected.principal_id == "gitlab:acme/platform/infra:environment:production"
    tagged = identify(settings, KEYS["RS256"], {**token, "ref_type": "tag", "ref": "v1"})
    assert tagged.principal_id == "gitlab:acme/platform/infra:tag:v1"
    assert tagged.claims["groups_direct"] == ["acme/platform", "acme/ops"]
    assert "environment" not in tagged.claims


def test_parts_of_a_generic_principal_cannot_be_shifted(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_bytes(jwks(KEYS["RS256"]))
    settings = {
        "name": "own",
        "url": "https://own.example",
        "audience": "callgate",
        "keys_file": str(tmp_path / "keys.json"),
        "claims": {"a": "a", "b": "b"},
        "principal": "${a}:${b}",
    }
    token = {"sub": "s", "aud": "callgate", "iss": "https://own.example", **times()}
    one = identify(settings, KEYS["RS256"], {**token, "a": "x:y", "b": "z"})
    other = identify(settings, KEYS["RS256"], {**token, "a": "x", "b": "y:z"})
    assert (one.principal_id, other.principal_id) == ("own:x%3Ay:z", "own:x:y:z")
