"""The cloud on one machine: an AWS emulator, Valkey and the real SAM CLI, started and stopped as one."""
