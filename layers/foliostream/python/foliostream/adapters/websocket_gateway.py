"""Posts to WebSocket clients through API Gateway's @connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from foliostream.adapters.aws_errors import code_of, status_of, translated

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

_GONE = 410


class WebSocketGateway:
    """Implements ``ports.Gateway``.

    The client's endpoint is the API's management address; boto3 takes it from AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI.
    """

    def __init__(self, client: ApiGatewayManagementApiClient) -> None:
        self._client = client

    def post(self, connection_id: str, payload: bytes) -> bool:
        """False if the connection is gone. ``RetryableError`` when throttled (the account's posts, or this client's
        buffer is full), on faults of the service and without an answer; ``PermanentError`` for a payload over
        128 KB and anything else that repeating cannot mend."""
        try:
            self._client.post_to_connection(ConnectionId=connection_id, Data=payload)
        except ClientError as fault:
            if code_of(fault) == "GoneException" or status_of(fault) == _GONE:
                return False
            raise translated(fault, _doing(connection_id, payload)) from fault
        except BotoCoreError as fault:
            raise translated(fault, _doing(connection_id, payload)) from fault
        return True

    def close(self, connection_id: str) -> None:
        """End the connection; errors as of ``post``."""
        try:
            self._client.delete_connection(ConnectionId=connection_id)
        except ClientError as fault:
            if code_of(fault) != "GoneException" and status_of(fault) != _GONE:
                raise translated(fault, f"API Gateway, DeleteConnection {connection_id}") from fault
        except BotoCoreError as fault:
            raise translated(fault, f"API Gateway, DeleteConnection {connection_id}") from fault


def _doing(connection_id: str, payload: bytes) -> str:
    return f"API Gateway, PostToConnection {connection_id} ({len(payload)} bytes)"
