"""Every operation with sensitive output, in every protocol it speaks, read back by botocore's own parser."""

import botocore.loaders
import pytest
from mask_helpers import KEY, make_call, parsed
from synthetic import expected, response_of, value_of

from callgate.aws import service_model
from callgate.decision import Mask
from callgate.masking import mask_response
from callgate.masking.sensitive import is_secret

SERVICES = botocore.loaders.Loader().list_available_services("service-2")
UNREADABLE = {"GetBucketNotification"}
"""botocore itself gives XML elements for members of this deprecated operation, and they equal nothing."""
SENSITIVE = [Mask("secrets", sensitive=True)]


def check(service: str) -> int:
    """Mask the sensitive output of every operation of `service`; gives how many were changed."""
    model = service_model(service)
    changed = 0
    for name in model.operation_names:
        operation = model.operation_model(name)
        if operation.output_shape is None or operation.has_event_stream_output or name in UNREADABLE:
            continue
        value = value_of(operation.output_shape)
        for protocol in model.metadata.get("protocols") or [model.metadata["protocol"]]:
            call = make_call(service, name, protocol)
            response = response_of(operation, protocol, value or {})
            before = parsed(call, response)
            masked = mask_response(SENSITIVE, call, response, method="POST", key=KEY)
            wanted = expected(operation.output_shape, before, is_secret(service, name))
            assert parsed(call, masked.response) == wanted, (call.name, protocol)
            assert bool(masked.masked) == (wanted != before), (call.name, protocol)
            changed += wanted != before
    return changed


SOME = [
    "secretsmanager",
    "kms",
    "iam",
    "ec2",
    "s3",
    "s3control",
    "cloudfront",
    "route53",
    "cloudwatch",
    "sqs",
]
SOME += ["ssm", "cognito-idp", "rds", "lambda", "dynamodb", "lexv2-models", "chime", "gameliftstreams"]


@pytest.mark.parametrize("service", SOME)
@pytest.mark.case("F03")
def test_sensitive_members_are_masked_and_all_others_equal(service: str) -> None:
    check(service)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_sensitive_members_are_masked_in_every_service() -> None:
    assert sum(check(service) for service in SERVICES) > 1900
