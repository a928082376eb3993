"""The typed client of Foliostream: ``Client(rest_url, token).state("growth").total_value``.

``Client`` has a method a call; ``Client.watch`` and ``Client.analyze`` are iterators over the WebSocket.
"""

from foliostream_client.client import Client
from foliostream_client.errors import AnalysisError, ApiError, ClientError, InputError, SettingError, SocketError

__all__ = ["AnalysisError", "ApiError", "Client", "ClientError", "InputError", "SettingError", "SocketError"]
