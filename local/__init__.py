"""The cloud on one machine: an AWS emulator, Valkey and the real SAM CLI, started and stopped as one."""

import sys
from pathlib import Path

# The client is a package of its own, for others to install; here it is used as it lies in its folder.
_CLIENT = str(Path(__file__).resolve().parent.parent / "client" / "src")
if _CLIENT not in sys.path:
    sys.path.append(_CLIENT)
