"""The emulator's own share: the time from sending something to a bare function that starts with it."""

import io
import json
import time
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.measuring import now_ms
from foliostream_client.transport import Socket
from local import sam
from local.cloud import Outputs
from local.processes import poll

NAME = "benchmark-hop"
MESSAGES = 40
_PAUSE_S = 0.05
_SECONDS_MAX = 30.0
_CODE = """
import json
import time

def handler(event, context):
    now = time.time_ns() // 1_000_000
    for record in event.get("Records", ()):
        print("hop queue", now - int(record["body"]))
    if event.get("requestContext", {}).get("eventType") == "MESSAGE":
        # What the emulator sends back to the client; it keeps no log of these calls.
        return {"statusCode": 200, "body": json.dumps({"took": now - json.loads(event["body"])["sent"]})}
    if "sent" in event:
        print("hop call", now - event["sent"])
    return {"statusCode": 200}
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


class Hops(NamedTuple):
    """Milliseconds until a warm bare function runs: of a message in a standard queue, of an asynchronous invocation,
    of what a client says on a WebSocket."""

    queue: list[float]
    call: list[float]
    socket: list[float]


def measure(outputs: Outputs) -> Hops:
    """One at a time: this is no load test."""
    queue_url = _deploy(outputs)
    sqs, functions = outputs.aws("sqs"), outputs.aws("lambda")
    with Socket(_socket_url(outputs)) as socket:
        return Hops(
            _each(outputs, "queue", lambda: sqs.send_message(QueueUrl=queue_url, MessageBody=str(now_ms()))),
            _each(outputs, "call", lambda: _call(functions)),
            [_say(socket) for _ in range(1 + MESSAGES)][1:],
        )


def _call(functions: Any) -> None:  # noqa: ANN401 (boto3's clients have no common type)
    functions.invoke(FunctionName=NAME, InvocationType="Event", Payload=json.dumps({"sent": now_ms()}))


def _say(socket: Socket) -> float:
    time.sleep(_PAUSE_S)
    socket.send({"sent": now_ms()})
    answer = socket.receive(_SECONDS_MAX)
    if answer is None:
        raise RuntimeError("the bare function did not answer on the WebSocket")
    return float(answer["took"])


def _each(outputs: Outputs, kind: str, send: Callable[[], object]) -> list[float]:
    send()  # starts a worker
    _arrived(outputs, kind, 1)
    for _ in range(MESSAGES):
        send()
        time.sleep(_PAUSE_S)
    return _arrived(outputs, kind, 1 + MESSAGES)[1:]


def _arrived(outputs: Outputs, kind: str, count: int) -> list[float]:
    """The times of that many, oldest first."""
    found: list[float] = []

    def all_arrived() -> bool:
        lines = [line.split() for line in sam.function_logs(outputs.aws_endpoint, NAME)]
        found[:] = [float(line[-1]) for line in lines if line[-3:-1] == ["hop", kind]]
        return len(found) >= count

    if not poll(all_arrived, _SECONDS_MAX, interval_s=0.5):
        raise RuntimeError(f"the bare function got {len(found)} of {count} by {kind}")
    return found


def _deploy(outputs: Outputs) -> str:
    iam, functions, sqs = (outputs.aws(service) for service in ("iam", "lambda", "sqs"))
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


def _socket_url(outputs: Outputs) -> str:
    """Of a WebSocket API that has nothing but the bare function behind it."""
    gateway, functions = outputs.aws("apigatewayv2"), outputs.aws("lambda")
    function = functions.get_function(FunctionName=NAME)["Configuration"]["FunctionArn"]
    functions.add_permission(
        FunctionName=NAME, StatementId="socket", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com"
    )
    api = gateway.create_api(Name=NAME, ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action")
    uri = f"arn:aws:apigateway:{outputs.region}:lambda:path/2015-03-31/functions/{function}/invocations"
    integration = gateway.create_integration(ApiId=api["ApiId"], IntegrationType="AWS_PROXY", IntegrationUri=uri)
    gateway.create_route(ApiId=api["ApiId"], RouteKey="$default", Target=f"integrations/{integration['IntegrationId']}")
    gateway.create_stage(ApiId=api["ApiId"], StageName="live", AutoDeploy=True)
    address = outputs.aws_endpoint.replace("http", "ws", 1)
    return f"{address}/_aws/execute-api/{api['ApiId']}/live"
