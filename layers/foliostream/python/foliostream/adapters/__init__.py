"""What the ports are made of outside: Valkey, DynamoDB, SQS, EventBridge, API Gateway, JWKS."""
