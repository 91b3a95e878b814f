"""What a runner says of itself when it opens a session. The gateway keeps it as claimed, without secrets."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

# CI system -> where it says the job's URL, commit and actor.
_SYSTEMS = (
    ("GITHUB_ACTIONS", "github", "", "GITHUB_SHA", "GITHUB_ACTOR"),
    ("GITLAB_CI", "gitlab", "CI_JOB_URL", "CI_COMMIT_SHA", "GITLAB_USER_LOGIN"),
    ("CIRCLECI", "circleci", "CIRCLE_BUILD_URL", "CIRCLE_SHA1", "CIRCLE_USERNAME"),
    ("BUILDKITE", "buildkite", "BUILDKITE_BUILD_URL", "BUILDKITE_COMMIT", "BUILDKITE_BUILD_CREATOR"),
    ("BITBUCKET_BUILD_NUMBER", "bitbucket", "BITBUCKET_GIT_HTTP_ORIGIN", "BITBUCKET_COMMIT", ""),
)
_MAX_WORDS = 64
_MAX_WORD = 1024


def context_of(command: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Host, working directory, command line, and the CI job's URL, commit and actor where there is one."""
    said: dict[str, Any] = {
        "host": socket.gethostname(),
        "cwd": os.getcwd(),
        "command": [word[:_MAX_WORD] for word in command[:_MAX_WORDS]],
    }
    for mark, name, url, commit, actor in _SYSTEMS:
        if environ.get(mark):
            said["ci"] = name
            found = {"jobUrl": environ.get(url), "commit": environ.get(commit), "actor": environ.get(actor)}
            if name == "github":
                where = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
                found["jobUrl"] = "{}/{}/actions/runs/{}".format(*(environ.get(each, "") for each in where))
            elif name == "buildkite":
                found["jobUrl"] = f"{found['jobUrl'] or ''}#{environ.get('BUILDKITE_JOB_ID', '')}"
            said.update({key: value for key, value in found.items() if value})
            break
    return said
