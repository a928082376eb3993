"""Runs inside schemathesis, in its own environment."""

import schemathesis


@schemathesis.hook
def filter_path_parameters(_context: object, path_parameters: dict[str, object] | None) -> bool:
    """The emulator's own look at a policy ends at the end of a line (local/README.md)."""
    return not any("\n" in str(value) or "\r" in str(value) for value in (path_parameters or {}).values())
