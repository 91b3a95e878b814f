"""The demonstration: told with rich, and every claim in it checked at the client, at the upstream and in
the ledger.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from demo_stage import BIN, KEYS, REGION, Stage, wait_for
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

SECRET = "correct-horse-battery-staple"
out = Console(highlight=False, width=None if sys.stdout.isatty() else 110)


class Story:
    """Tells, and counts what does not hold."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.broken: list[str] = []
        self.claims = 0

    def chapter(self, title: str, text: str) -> None:
        out.print()
        out.rule(f"[bold]{title}", align="left")
        out.print(text)

    def shows(self, command: str) -> None:
        out.print(f"  [dim]$[/] [cyan]{escape(command)}[/]", soft_wrap=True)

    def claim(self, text: str, holds: object) -> None:
        self.claims += 1
        if not holds:
            self.broken.append(text)
        mark = "[bold green]✓[/]" if holds else "[bold red]✗[/]"
        out.print(f"  {mark} {escape(text)}")

    def calls(self, where: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the view `calls`, once every call has its outcome."""

        def ended() -> list[dict[str, Any]] | None:
            with sqlite3.connect(f"file:{self.stage.ledger}?mode=ro", uri=True) as db:
                db.row_factory = sqlite3.Row
                rows = [
                    dict(row) for row in db.execute(f"select * from calls where {where} order by seq", values)
                ]
            db.close()
            return rows if rows and all(row["result"] for row in rows) else None

        found: list[dict[str, Any]] = wait_for(ended, f"calls where {where}", 10)
        return found

    def attributed(self, github: str, gitlab: str) -> None:
        self.chapter(
            "1  Attribute",
            "Two runners with the same AWS keys. GitHub's job uses boto3, GitLab's the AWS CLI;\n"
            "neither knows more of the gateway than HTTPS_PROXY and a CA file.",
        )
        s3 = self.stage.boto3("s3", github)
        s3.create_bucket(Bucket="acme-assets")
        s3.put_object(Bucket="acme-assets", Key="index.html", Body=b"<h1>hello</h1>")
        who = self.stage.boto3("sts", github).get_caller_identity()
        table = self.stage.boto3("dynamodb", github)
        table.create_table(
            TableName="jobs",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )
        table.put_item(TableName="jobs", Item={"id": {"S": "1"}})
        commands = [
            ("s3", "ls", "s3://acme-assets"),
            ("sts", "get-caller-identity"),
            ("ec2", "describe-regions", "--region-names", REGION),
            ("iam", "list-roles"),
        ]
        done = [self.stage.cli(gitlab, *command) for command in commands]
        self.shows("aws s3 ls s3://acme-assets")
        out.print(f"    {escape(done[0].stdout.strip())}")
        self.claim(
            "both runners got their answers", all(each.returncode == 0 for each in done) and who["Account"]
        )
        listed = self.stage.aws_itself("s3").list_objects_v2(Bucket="acme-assets").get("Contents", [])
        self.claim("AWS has the object that boto3 put", [each["Key"] for each in listed] == ["index.html"])
        ours = {
            (row["principalId"].split(":")[0], row["eventName"], row["issuer"]) for row in self.calls("true")
        }
        self.claim("the ledger names GitHub's job for PutObject", ("github", "PutObject", "github") in ours)
        self.claim(
            "the ledger names GitLab's job for ListObjectsV2", ("gitlab", "ListObjectsV2", "gitlab") in ours
        )
        keys = {row["accessKeyId"] for row in self.calls("true")}
        self.claim("although both used one access key", keys == {KEYS["AWS_ACCESS_KEY_ID"]})
        protocols = {json.loads(row)["body"]["protocol"] for row in self.entries("call.intent")}
        self.claim(
            f"protocols understood on the way: {', '.join(sorted(protocols))}",
            {"rest-xml", "json", "query", "ec2"} <= protocols,
        )

    def entries(self, kind: str) -> list[str]:
        """The entries of one kind, as canonical JSON."""
        with sqlite3.connect(f"file:{self.stage.ledger}?mode=ro", uri=True) as db:
            rows = [row[0] for row in db.execute("select entry from entries where kind = ?", (kind,))]
        db.close()
        return rows

    def denied(self, github: str) -> None:
        self.chapter("2  Judge", "The baseline denies lasting credentials, whatever the role's policies say.")
        self.shows("iam.create_user(UserName='backdoor')")
        try:
            self.stage.boto3("iam", github).create_user(UserName="backdoor")
            message, code = "", ""
        except ClientError as error:
            message, code = error.response["Error"]["Message"], error.response["Error"]["Code"]
        out.print(f"    [yellow]{escape(f'{code}: {message}')}[/]")
        self.claim(
            "the client sees AccessDenied and the rule's name",
            code.startswith("AccessDenied") and "no-lasting-credentials" in message,
        )
        self.claim("it asked once: nothing to retry", len(self.calls("eventName = 'CreateUser'")) == 1)
        users = [user["UserName"] for user in self.stage.aws_itself("iam").list_users()["Users"]]
        self.claim("AWS never heard of it", "backdoor" not in users)

    def masked(self, github: str, gitlab: str) -> None:
        self.chapter("3  Mask", "A secret may be used by name; its value does not come back.")
        self.stage.boto3("secretsmanager", github).create_secret(Name="db", SecretString=SECRET)
        self.shows("aws secretsmanager get-secret-value --secret-id db")
        done = self.stage.cli(gitlab, "secretsmanager", "get-secret-value", "--secret-id", "db")
        seen = json.loads(done.stdout or "{}").get("SecretString")
        out.print(f"    SecretString: [yellow]{escape(str(seen))}[/]")
        self.claim("the runner sees a mask", seen and SECRET not in done.stdout)
        real = self.stage.aws_itself("secretsmanager").get_secret_value(SecretId="db")["SecretString"]
        self.claim("AWS still has the secret", real == SECRET)
        masked = self.calls("eventName = 'GetSecretValue'")[0]["masked"]
        self.claim(f"the ledger says what was masked: {masked}", "SecretString" in (masked or ""))
        held = b"".join(path.read_bytes() for path in self.stage.ledger.parent.glob("ledger.db*"))
        self.claim(
            "and holds the secret nowhere, not even of the call that created it", SECRET.encode() not in held
        )

    def held(self, github: str) -> None:
        self.chapter(
            "4  Hold", "Deleting what is protected waits for a person: the job just sees a slow call."
        )
        s3 = self.stage.boto3("s3", github)
        for bucket, verdict in (("billing-prod", "approve"), ("ledger-prod", "deny")):
            s3.create_bucket(Bucket=bucket)
            answer: list[ClientError | None] = []

            def delete(bucket: str = bucket, answer: list[ClientError | None] = answer) -> None:
                try:
                    s3.delete_bucket(Bucket=bucket)
                    answer.append(None)
                except ClientError as refused:
                    answer.append(refused)

            job = threading.Thread(target=delete)
            self.shows(f"s3.delete_bucket(Bucket='{bucket}')")
            job.start()
            hold = wait_for(self.pending, "the hold", 20)
            listed = self.stage.callgate("approvals", "list", "--config", str(self.stage.config))
            out.print(escape(listed.stdout.rstrip()), soft_wrap=True)
            self.claim("AWS still has the bucket while people think", bucket in self.buckets())
            why = "checked with billing" if verdict == "approve" else "not today"
            command = ["approvals", verdict, hold, "--reason", why, "--config", str(self.stage.config)]
            self.shows("callgate " + " ".join(command[:3]) + f" --reason '{why}'")
            self.claim(f"the operator's {verdict} is taken", self.stage.callgate(*command).returncode == 0)
            job.join(30)
            if verdict == "approve":
                self.claim("the job's call went through", answer == [None])
                self.claim("and the bucket is gone", bucket not in self.buckets())
            else:
                error = answer[0] if answer else None
                told = error.response["Error"] if error else {"Code": "", "Message": ""}
                out.print(f"    [yellow]{escape(told['Code'] + ': ' + told['Message'])}[/]")
                self.claim("the job is told no, in AWS's own words", told["Code"].startswith("AccessDenied"))
                self.claim("and the bucket is still there", bucket in self.buckets())
            steps = {
                json.loads(row)["subject"]
                for row in self.entries(f"hold.{'approved' if verdict == 'approve' else 'denied'}")
            }
            self.claim("who decided is in the ledger", hold in steps)

    def pending(self) -> str | None:
        listed = self.stage.callgate("approvals", "list", "--json", "--config", str(self.stage.config))
        found = json.loads(listed.stdout or "[]")
        holds = found["approvals"] if isinstance(found, dict) else found
        waiting = [hold["id"] for hold in holds if hold["state"] == "pending"]
        return waiting[0] if waiting else None

    def buckets(self) -> list[str]:
        return [bucket["Name"] for bucket in self.stage.aws_itself("s3").list_buckets()["Buckets"]]

    def recorded(self) -> None:
        self.chapter(
            "5  Append", "The audit log is one SQLite file that sqlite-utils reads while the gateway writes."
        )
        query = "select principalId, eventName, verdict, count(*) as calls from calls group by 1, 2, 3"
        self.shows(f'sqlite-utils {self.stage.ledger.name} "{query}"')
        done = subprocess.run(
            [str(BIN / "sqlite-utils"), str(self.stage.ledger), query],
            capture_output=True,
            text=True,
            timeout=30,
        )
        rows = json.loads(done.stdout or "[]")
        table = Table(
            "principalId", "eventName", "verdict", "calls", box=None, padding=(0, 2), header_style="bold"
        )
        for row in rows:
            table.add_row(
                *(escape(str(row[column])) for column in ("principalId", "eventName", "verdict", "calls"))
            )
        out.print(table)
        verdicts = {row["verdict"] for row in rows}
        self.claim(
            "allowed, denied and approved calls are there", {"allowed", "denied", "approved"} <= verdicts
        )

    def tampered(self) -> None:
        self.chapter(
            "6  Verify",
            "Somebody edits one row of a copy of the log. Nobody has to trust the gateway to notice.",
        )
        public = next((self.stage.folder / "state" / "keys").glob("*.pub"))
        good = self.verify(self.stage.ledger, public)
        self.claim("callgate verify accepts the log as it is", good.returncode == 0)
        copy = self.stage.folder.parent / "copy.db"
        with sqlite3.connect(self.stage.ledger) as source, sqlite3.connect(copy) as target:
            source.backup(target)
            triggers = [
                row[0] for row in target.execute("select name from sqlite_schema where type = 'trigger'")
            ]
            for trigger in triggers:
                target.execute(f'drop trigger "{trigger}"')
            target.execute(
                "update entries set entry = replace(entry, 'CreateUser', 'ListUsers')"
                " where entry like '%CreateUser%'"
            )
            target.commit()
        source.close()
        target.close()
        bad = self.verify(copy, public)
        self.shows(f"callgate verify copy.db --key {public.name}")
        out.print(escape((bad.stdout + bad.stderr).rstrip()), soft_wrap=True)
        self.claim("callgate verify finds the edited row, exit status 1", bad.returncode == 1)

    def kept_quiet(self, *secrets: str) -> None:
        """Claims that the secret and the tokens are in no file of the gateway's but its keys."""
        files = [
            path
            for path in (*self.stage.folder.rglob("*"), *self.stage.folder.parent.glob("gateway.log"))
            if path.is_file() and path.parent.name != "keys"
        ]
        told = b"".join(path.read_bytes() for path in files)
        self.claim(
            f"nothing that the gateway wrote, in {len(files)} files, holds the secret or a token",
            not any(secret.encode() in told for secret in secrets),
        )

    def verify(self, database: Path, key: Path) -> subprocess.CompletedProcess[str]:
        return self.stage.callgate("verify", str(database), "--key", str(key))


def main() -> int:
    """The exit status: 0 if every claim holds."""
    stay = "--stay" in sys.argv[1:]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="callgate-demo-") as folder:
        stage = Stage(Path(folder) / "gate", form="mitmweb" if stay else "serve")
        try:
            out.print(
                Panel(
                    "[bold]Callgate[/] stands between jobs and AWS: every call is attributed, judged,\n"
                    "masked on its way back, and recorded in a log that nobody can quietly edit.",
                    expand=False,
                )
            )
            with out.status("Starting a stand-in for AWS (moto), an OIDC issuer and the gateway ..."):
                stage.open()
            story = Story(stage)
            github, gitlab = stage.issuer.github(), stage.issuer.gitlab()
            story.attributed(github, gitlab)
            story.denied(github)
            story.masked(github, gitlab)
            story.held(github)
            story.recorded()
            story.tampered()
            story.kept_quiet(SECRET, github, gitlab)
            out.print()
            seconds = time.monotonic() - began
            if story.broken:
                out.print(f"[bold red]{len(story.broken)} of {story.claims} claims did not hold:[/]")
                for text in story.broken:
                    out.print(f"  [red]✗[/] {escape(text)}")
            else:
                out.print(f"[bold green]All {story.claims} claims hold[/], in {seconds:.0f} s.")
            if stay and not story.broken:
                linger(stage, gitlab)
            return 1 if story.broken else 0
        finally:
            stage.close()


def linger(stage: Stage, token: str) -> None:
    """Leave everything running until Ctrl-C, and say how to use it."""
    web = wait_for(lambda: web_address(stage), "mitmweb")
    out.print(
        f"\nmitmweb shows the traffic at [bold]{escape(web)}[/]\n\nIn your own shell:\n", soft_wrap=True
    )
    for name, value in stage.environ(token).items():
        if name not in ("PATH", "HOME", "TERM", "LANG"):
            out.print(f"  export {name}={value}", soft_wrap=True, markup=False)
    out.print(f"\n  export CALLGATE_CONFIG={stage.config}", soft_wrap=True, markup=False)
    out.print(f"  {'aws' if shutil.which('aws') else BIN / 'aws'} s3 ls\n\nCtrl-C ends it.", soft_wrap=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


def web_address(stage: Stage) -> str | None:
    """What mitmweb says of its own address, with its token."""
    log = (stage.folder.parent / "gateway.log").read_text()
    return next(
        (line.split("at ")[-1].strip() for line in log.splitlines() if "Web server listening at" in line),
        None,
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, ClientError, BotoCoreError) as error:
        out.print(f"[bold red]The demonstration broke off:[/] {escape(str(error))}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
