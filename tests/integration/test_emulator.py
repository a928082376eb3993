"""What is replaced in the emulator does what it replaces."""

import os
import subprocess
from pathlib import Path

from local import environments

# Both forget the same of the same queue, whatever was put in when: run where ministack is installed.
COMPARISON = """
import random, time
from ministack.services import sqs
import emulator

drawn, clock = random.Random(7), [1_000.0]
time.time = lambda: clock[0]
ours, theirs = {"dedup_cache": {}}, {"dedup_cache": {}}
forgotten = 0
for number in range(5_000):
    clock[0] += drawn.choice([0, 0.01, 1, 40])
    before = len(ours["dedup_cache"])
    emulator.prune_dedup(ours)
    sqs._prune_dedup(theirs)
    forgotten += before - len(ours["dedup_cache"])
    assert ours == theirs, number
    key = str(drawn.randrange(200))
    for queue in (ours, theirs):
        if key not in queue["dedup_cache"]:
            queue["dedup_cache"][key] = {"expire": clock[0] + sqs._DEDUP_WINDOW_S}
print(forgotten)
"""

# Given whose way of starting, and a folder. The first process to start takes its time, the second ends at once: does
# the first one answer?
STARTS = """
import io, pathlib, sys, threading, time, zipfile
from ministack.services import lambda_svc
import emulator

if sys.argv[1] == "ours":
    emulator.mend()
folder = pathlib.Path(sys.argv[2])
handler = f'''
import os, pathlib, time
folder, stop = pathlib.Path({str(folder)!r}), time.monotonic() + 20
try:
    (folder / "first").touch(exist_ok=False)
except FileExistsError:
    os._exit(1)
while not (folder / "go").exists() and time.monotonic() < stop:
    time.sleep(0.01)
import late

def handle(event, context):
    return late.word
'''
code = io.BytesIO()
with zipfile.ZipFile(code, "w") as archive:
    archive.writestr("app.py", handler)
    archive.writestr("late.py", "word = 'it started'")
function = {
    "config": {
        "FunctionName": "slow",
        "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:slow",
        "Runtime": "python3.11",
        "Handler": "app.handle",
        "Timeout": 30,
    },
    "code_zip": code.getvalue(),
}
first = []
asking = threading.Thread(target=lambda: first.append(lambda_svc._execute_function(function, {})))
asking.start()
stop = time.monotonic() + 20
while not (folder / "first").exists() and time.monotonic() < stop:
    time.sleep(0.01)
second = lambda_svc._execute_function(function, {})
(folder / "go").touch()
asking.join(30)
assert second["error"] and "exited" in second["body"]["errorMessage"], second
print("answered" if first[0]["body"] == "it started" else "lost")
lambda_svc.invalidate_worker("slow")
"""

# Whose way of starting. Two processes of a function with two layers, the first of which is ended before the second is
# asked: where does each find a module that both layers have, and what does it say?
LAYERS = """
import base64, io, json, sys, zipfile
from ministack.core import lambda_runtime
from ministack.services import lambda_svc
import emulator

if sys.argv[1] == "ours":
    emulator.mend()


def archive(name, text):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as opened:
        opened.writestr(name, text)
    return data.getvalue()


def publish(layer, word):
    content = {"ZipFile": base64.b64encode(archive("python/words.py", f"word = {word!r}"))}
    return json.loads(lambda_svc._publish_layer_version(layer, {"Content": content})[2])["LayerVersionArn"]


def answers(*layers):
    config = {
        "FunctionName": "layered",
        "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:layered",
        "Runtime": "python3.11",
        "Handler": "app.handle",
        "Layers": [{"Arn": arn} for arn in layers],
        "Environment": {"Variables": {"NAME": "kept"}},
    }
    handler = "import os, words\\ndef handle(event, context): return words.word, words.__file__, os.environ['NAME']"
    code = archive("app.py", handler)
    workers = [lambda_runtime.acquire_worker("layered", config, code)[0] for _ in range(2)]
    found = []
    for worker in workers:
        found.append(worker.invoke({}, "request")["result"])
        worker.kill()
    again = workers[0].invoke({}, "request")["result"]
    lambda_svc.invalidate_worker("layered")
    return [*found, again]


first, second, newer = publish("a", "first"), publish("b", "second"), publish("b", "newer")
asked = [answers(first, second), answers(second, first), answers(first, newer)]
print([[word for word, _, name in answer if name == "kept"] for answer in asked])
print(len({path for answer in asked for _, path, _ in answer}))
"""

SAID = [["second"] * 3, ["first"] * 3, ["newer"] * 3]

# Whose way of reading a table's stream. The function cannot do the second of five records at first, and says so: which
# are delivered?
STREAMS = """
import sys
from ministack.services import dynamodb, lambda_svc
import emulator

if sys.argv[1] == "ours":
    emulator.mend()
stream = "arn:aws:dynamodb:us-east-1:000000000000:table/books/stream/1"
function = "arn:aws:lambda:us-east-1:000000000000:function:reader"
records = [{"eventID": str(number)} for number in range(1, 6)]
delivered = []


def answer(func, config, event, request_id, started):
    delivered.append([record["eventID"] for record in event["Records"]])
    failures = [{"itemIdentifier": "2"}] if len(delivered) < 3 else []
    return {"body": {"batchItemFailures": failures}}


func = {"config": {"FunctionName": "reader", "FunctionArn": function}}
mapping = {"UUID": "m", "EventSourceArn": stream, "FunctionName": "reader", "BatchSize": 3}
mapping |= {"StartingPosition": "TRIM_HORIZON", "FunctionResponseTypes": ["ReportBatchItemFailures"]}
lambda_svc._execute_function_dispatch = answer
lambda_svc._iter_all_esms = lambda: [("000000000000", "us-east-1", mapping)]
lambda_svc._get_func_record_for_qualifier = lambda *_: (func, func["config"])
dynamodb._tables["books"] = {"LatestStreamArn": stream}
dynamodb.stream_start_position = lambda table: 0
dynamodb.stream_end_position = lambda table: len(records)
dynamodb.stream_records_since = lambda table, position, limit: records[position : position + limit]
for _ in range(6):
    lambda_svc._poll_dynamodb_streams()
    lambda_svc._esm_backoff_until.clear()
print(*map("".join, delivered))
# Who calls the function itself gets what it says.
delivered.clear()
print(lambda_svc._execute_function(func, {"Records": records}))
"""

# Whose way of counting calls. An API takes its keys from its authorizer, whose answers are made up here.
COUNTS = """
import asyncio, json, sys
from ministack.services import apigateway_v1 as gateway
from ministack.services.cloudformation import provisioners

answers = {}


async def answer(authorizer, event, account, region):
    return {"body": answers[event["headers"]["authorization"]]}


gateway._invoke_authorizer_lambda = answer
import emulator

if sys.argv[1] == "ours":
    emulator.mend()
operation = {
    "security": [{"Tokens": []}, {"api_key": []}],
    "x-amazon-apigateway-integration": {"type": "mock", "responses": {"default": {"statusCode": "200"}}},
}
source = "method.request.header.authorization"
request = {"type": "request", "identitySource": source, "authorizerResultTtlInSeconds": 60}
schemes = {
    "Tokens": {"type": "apiKey", "in": "header", "name": "Unused", "x-amazon-apigateway-authorizer": request},
    "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
body = {"openapi": "3.0.1", "info": {}, "paths": {"/x": {"get": operation}}, "components": {"securitySchemes": schemes}}
create = provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::RestApi"]["create"]
api_id, _ = create("Api", {"Name": "x", "Body": body, "ApiKeySourceType": "AUTHORIZER"}, "stack")
gateway._stages_v1.setdefault(api_id, {})["live"] = {"stageName": "live"}
stages = [{"apiId": api_id, "stage": "live"}]
plan = json.loads(gateway._create_usage_plan({"name": "plan", "apiStages": stages})[2])
key = json.loads(gateway._create_api_key({"name": "key", "value": "k" * 20, "enabled": True})[2])
gateway._create_usage_plan_key(plan["id"], {"keyId": key["id"], "keyType": "API_KEY"})
allow = {"Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}]}
for name, value in (("right", "k" * 20), ("wrong", "w" * 20), ("none", None)):
    answers[name] = {"principalId": name, "policyDocument": allow} | ({"usageIdentifierKey": value} if value else {})


def status(caller, **headers):
    call = (api_id, "live", "GET", "/x", {"authorization": caller, **headers}, b"", {}, "000000000000", "us-east-1")
    return asyncio.run(gateway._handle_execute_in_scope(*call))[0]


# The second call of a caller is answered from what the authorizer said at the first.
print([status(name) for name in ("right", "right", "wrong", "none")], status("none", **{"x-api-key": "k" * 20}))
"""


def run(program: str, *arguments: str, tmp: Path | None = None) -> str:
    done = subprocess.run(
        [environments.CLOUD.python, "-c", program, *arguments],
        cwd=environments.ROOT / "local",
        env=os.environ | ({"TMPDIR": str(tmp)} if tmp else {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_duplicates_are_forgotten_at_the_same_moment_as_by_the_emulator_itself() -> None:
    assert int(run(COMPARISON)) > 1_000


def test_a_process_that_does_not_start_takes_no_other_with_it(tmp_path: Path) -> None:
    assert run(STARTS, "ours", str(tmp_path)) == "answered"


def test_the_emulator_itself_still_ends_the_others(tmp_path: Path) -> None:
    """When this fails, `invoke` of local/emulator.py is no longer needed."""
    assert run(STARTS, "theirs", str(tmp_path)) == "lost"


def test_a_layer_is_unpacked_once_for_all_processes(tmp_path: Path) -> None:
    assert run(LAYERS, "ours", tmp=tmp_path).splitlines() == [str(SAID), "3"]


def test_the_emulator_itself_still_unpacks_a_layer_for_every_process(tmp_path: Path) -> None:
    """When this fails, `spawn` of local/emulator.py is no longer needed."""
    assert run(LAYERS, "theirs", tmp=tmp_path).splitlines() == [str(SAID), "9"]


def test_records_of_a_stream_that_a_function_could_not_do_come_again() -> None:
    delivered, answer = run(STREAMS, "ours").splitlines()
    assert delivered == "123 123 123 45"
    assert answer == "{'body': {'batchItemFailures': [{'itemIdentifier': '2'}]}}"


def test_the_emulator_itself_still_passes_over_records_that_a_function_could_not_do() -> None:
    """When this fails, `poll_streams` and `execute` of local/emulator.py are no longer needed."""
    assert run(STREAMS, "theirs").splitlines()[0] == "123 45"


def test_a_call_is_counted_by_the_key_that_its_authorizer_names_and_by_no_header() -> None:
    assert run(COUNTS, "ours") == "[200, 200, 403, 403] 403"


def test_the_emulator_itself_still_takes_keys_from_headers_only() -> None:
    """When this fails, what local/emulator.py does about usage plans is no longer needed."""
    assert run(COUNTS, "theirs") == "[403, 403, 403, 403] 200"
