"""The emulator's own share of a tick: the time from sending a message to a bare function that starts with it."""

import io
import json
import time
import zipfile
from typing import Any

import boto3

from benchmarks.measuring import now_ms
from local import sam
from local.cloud import Outputs
from local.processes import poll

NAME = "benchmark-hop"
MESSAGES = 40
_PAUSE_S = 0.05
_SECONDS_MAX = 30.0
_CODE = """
import time

def handler(event, context):
    now = time.time_ns() // 1_000_000
    for record in event["Records"]:
        print("hop", now - int(record["body"]))
"""
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
_RIGHTS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["sqs:*", "logs:*"], "Resource": "*"}],
}


def measure(outputs: Outputs) -> list[float]:
    """Milliseconds of single messages to a warm function, through a queue of its own."""
    queue_url = _deploy(outputs)
    sqs = aws(outputs, "sqs")
    sqs.send_message(QueueUrl=queue_url, MessageBody=str(now_ms()))  # starts a worker
    _arrived(outputs, 1)
    for _ in range(MESSAGES):
        sqs.send_message(QueueUrl=queue_url, MessageBody=str(now_ms()))
        time.sleep(_PAUSE_S)  # one at a time: this is no load test
    return _arrived(outputs, 1 + MESSAGES)[1:]


def _arrived(outputs: Outputs, count: int) -> list[float]:
    """The times of that many messages, oldest first."""
    found: list[float] = []

    def all_arrived() -> bool:
        lines = [line.split() for line in sam.function_logs(outputs.aws_endpoint, NAME)]
        found[:] = [float(line[line.index("hop") + 1]) for line in lines if "hop" in line]
        return len(found) >= count

    if not poll(all_arrived, _SECONDS_MAX, interval_s=0.5):
        raise RuntimeError(f"the bare function got {len(found)} of {count} messages")
    return found


def aws(outputs: Outputs, service: str) -> Any:  # noqa: ANN401 (boto3's clients have no common type)
    """A client of the local cloud, as who deploys it."""
    client: Any = boto3.client
    return client(
        service,
        endpoint_url=outputs.aws_endpoint,
        region_name=outputs.region,
        aws_access_key_id=outputs.aws_access_key_id,
        aws_secret_access_key=outputs.aws_secret_access_key,
    )


def _deploy(outputs: Outputs) -> str:
    iam, functions, sqs = (aws(outputs, service) for service in ("iam", "lambda", "sqs"))
    role = iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=json.dumps(_TRUST))["Role"]["Arn"]
    iam.put_role_policy(RoleName=NAME, PolicyName=NAME, PolicyDocument=json.dumps(_RIGHTS))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("app.py", _CODE)
    functions.create_function(
        FunctionName=NAME, Runtime="python3.13", Role=role, Handler="app.handler", Code={"ZipFile": archive.getvalue()}
    )
    url: str = sqs.create_queue(QueueName=NAME)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    functions.create_event_source_mapping(EventSourceArn=arn, FunctionName=NAME, BatchSize=10)
    return url
