"""Starts ministack with five things mended. Run with the interpreter of the cloud's environment.

ministack looks at every message of the last five minutes whenever one is sent to a FIFO queue, to forget those that no
longer count as duplicates. A system under prices sends hundreds a second: after a minute the emulator does little else.

Where the process of an invocation cannot be started, ministack ends all others of that function, and takes the folders
of those that are just starting: they fail too, and end those that started meanwhile. A function that is asked for often
does not come back from that.

ministack unpacks the layers of a function for every process it starts: thousands of files, seconds each where many
start at once, and callers who give up and ask again start more of them. Each layer is unpacked once, for all.

ministack takes all of a batch of a table's stream for done, whatever the function says has to come again
(``batchItemFailures``). The batch comes again here, on AWS what is in it from the first such record on.

ministack takes API keys from a header only. Where an API says that its authorizer names them (``ApiKeySourceType``),
they come from the authorizer's answer, as on AWS, and a header is not looked at.
"""

import io
import os
import sys
import tempfile
import threading
import time
import zipfile
from contextvars import ContextVar
from typing import Any

from ministack.app import main
from ministack.core.lambda_runtime import Worker
from ministack.services import apigateway_v1 as gateway
from ministack.services import lambda_svc, sqs
from ministack.services.cloudformation import provisioners

_USAGE_KEY = "usageIdentifierKey"
_usage_key: ContextVar[str] = ContextVar(_USAGE_KEY, default="")
_invoke = Worker.invoke
_spawn = Worker._spawn
_unpacked: dict[str, str] = {}
_unpacking = threading.Lock()
_poll_streams = lambda_svc._poll_dynamodb_streams
_execute = lambda_svc._execute_function
_is_polling: ContextVar[bool] = ContextVar("polling", default=False)
_create_rest_api = provisioners._apigw_rest_api_create
_ask_authorizer = gateway._invoke_authorizer_lambda
_authorize_request = gateway._authorize_request_v1
_check_api_key = gateway._check_api_key


def prune_dedup(queue: dict[str, Any]) -> None:
    """Forget the deduplication ids that have expired. Each is put in once, for the same time as all the others, so the
    oldest comes first."""
    cache, now = queue["dedup_cache"], time.time()
    while cache and cache[oldest := next(iter(cache))]["expire"] <= now:
        del cache[oldest]


def invoke(worker: Worker, *args: object, **named: object) -> dict[str, Any]:
    """What the worker answers; where its process does not start, that is told, and is nobody else's fault."""
    try:
        answer: dict[str, Any] = _invoke(worker, *args, **named)
        return answer
    except Exception as fault:  # noqa: BLE001 - whatever it is, it is the answer to this invocation
        worker.kill()
        return {"status": "error", "error": f"Runtime.ExitError: {fault}", "cold_start": True}


def unpacked(layer: str) -> str:
    """The folder of a layer's version. Many ask at once: the first unpacks it, the others wait."""
    with _unpacking:
        if layer not in _unpacked:
            folder = tempfile.mkdtemp(prefix="ministack-layer-")
            with zipfile.ZipFile(io.BytesIO(lambda_svc._resolve_layer_zip(layer))) as archive:
                archive.extractall(folder)
            _unpacked[layer] = folder
        return _unpacked[layer]


def spawn(worker: Worker) -> None:
    """As before, with layers that are there already; ministack's own way of unpacking them finds none to unpack."""
    if layers := worker.config.get("Layers"):
        folders = os.pathsep.join(unpacked(layer if isinstance(layer, str) else layer["Arn"]) for layer in layers)
        variables = {**worker.config.get("Environment", {}).get("Variables", {}), "_LAMBDA_LAYERS_DIRS": folders}
        worker.config = {**worker.config, "Layers": [], "Environment": {"Variables": variables}}
    _spawn(worker)


def poll_streams() -> bool:
    """As before, and known to be what calls a function meanwhile."""
    token = _is_polling.set(True)
    try:
        advanced: bool = _poll_streams()
        return advanced
    finally:
        _is_polling.reset(token)


def execute(function: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    """What the function answers; to who reads a stream, that all of it failed where a part did."""
    answer: dict[str, Any] = _execute(function, event)
    body = answer.get("body")
    if _is_polling.get() and isinstance(body, dict) and body.get("batchItemFailures"):
        return {**answer, "error": True, "body": {"errorType": "batchItemFailures", "errorMessage": str(body)}}
    return answer


def create_rest_api(logical_id: str, props: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    """As before, and where keys come from is kept; ministack takes that from updates only."""
    api_id, attributes = _create_rest_api(logical_id, props, stack_name)
    gateway._rest_apis[api_id]["apiKeySource"] = props.get("ApiKeySourceType", "HEADER")
    return api_id, attributes


async def ask_authorizer(*args: object, **named: object) -> dict[str, Any] | None:
    """The key is put into the context of the answer, the only part that is kept for later calls."""
    result: dict[str, Any] | None = await _ask_authorizer(*args, **named)
    answer = (result or {}).get("body")
    if isinstance(answer, dict) and answer.get(_USAGE_KEY):
        answer["context"] = {**(answer.get("context") or {}), _USAGE_KEY: answer[_USAGE_KEY]}
    return result


async def authorize_request(*args: object, **named: object) -> tuple[object, dict[str, Any] | None]:
    """The key leaves the context, which goes on to the function, and waits for the check of this very call."""
    error, context = await _authorize_request(*args, **named)
    _usage_key.set((context or {}).get(_USAGE_KEY, ""))
    return error, context and {name: value for name, value in context.items() if name != _USAGE_KEY}


def check_api_key(method: dict[str, Any], api_id: str, stage: str, headers: dict[str, Any]) -> tuple[Any, Any]:
    """The call's error and its key."""
    if gateway._rest_apis[api_id].get("apiKeySource") == "AUTHORIZER":
        headers = {"x-api-key": _usage_key.get()}
    error_and_key: tuple[Any, Any] = _check_api_key(method, api_id, stage, headers)
    return error_and_key


def mend() -> None:
    """Put ours in place of theirs."""
    sqs._prune_dedup = prune_dedup
    Worker.invoke = invoke
    Worker._spawn = spawn
    lambda_svc._poll_dynamodb_streams = poll_streams
    lambda_svc._execute_function = execute
    provisioners._apigw_rest_api_create = create_rest_api
    provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::RestApi"]["create"] = create_rest_api
    gateway._invoke_authorizer_lambda = ask_authorizer
    gateway._authorize_request_v1 = authorize_request
    gateway._check_api_key = check_api_key


if __name__ == "__main__":
    if not callable(getattr(sqs, "_prune_dedup", None)):
        sys.exit("this ministack forgets deduplication ids otherwise: see whether local/emulator.py is still needed")
    mend()
    main()
