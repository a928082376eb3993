"""The REST edge: API Gateway events in, contract section 2 out. The only package that loads pydantic."""
