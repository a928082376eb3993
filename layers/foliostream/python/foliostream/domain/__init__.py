"""Pure rules: standard library and msgspec only; no clock, no randomness, no input or output."""
