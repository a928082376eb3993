"""The names of the package `client`, for those who import them from here."""

from foliostream_client.errors import ApiError, SocketError
from foliostream_client.transport import Answer, Json, Rest, Socket, loads

__all__ = ["Answer", "ApiError", "Json", "Rest", "Socket", "SocketError", "loads"]
