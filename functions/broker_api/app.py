"""The calls of the REST API that speak to a broker: apart from the others, so that a slow broker delays nobody else."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext

from foliostream.api.rest import Api, build
from foliostream.wiring import wiring

# Named for the package: what its modules log comes out here, as JSON and with the request's id.
logger = Logger(service="foliostream")


@cache
def api() -> Api:
    """One a container."""
    return build(wiring(), cors_origin=os.environ.get("CORS_ALLOWED_ORIGIN", ""))


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_REST)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Errors are answers: only a function that cannot start raises."""
    return api()(event, context)
