"""An environment in which every function starts: what tests and benchmarks give to functions in their own process."""

from __future__ import annotations

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/x"
ENVIRONMENT = {
    "PORTFOLIO_HOT_STORE": "dynamodb",
    "PORTFOLIO_REDIS_URL": "",
    "PORTFOLIO_REDIS_IAM": "",
    "PORTFOLIO_LEDGER_TABLE": "ledger",
    "PORTFOLIO_HOT_TABLE": "hot",
    "PORTFOLIO_SESSIONS_TABLE": "sessions",
    "PORTFOLIO_STACK": "foliostream",
    "PORTFOLIO_QUEUES": f"{URL}-",
    "PORTFOLIO_CLOSE_TIME_ZONE": "America/New_York",
    "PORTFOLIO_MARKET_HOLIDAYS": "2026-12-25,2027-01-01",
    "PORTFOLIO_EVENT_BUS": "default",
    "PORTFOLIO_WINDOW_MS": "live=200,demo=1000,paper=3000",
    "PORTFOLIO_SKEW_MS": "50",
    "PORTFOLIO_FLUSH_MS": "100",
    "PORTFOLIO_SHARDS": "64",
    "PORTFOLIO_KEYS_PER_MESSAGE": "500",
    "PORTFOLIO_SESSION_TTL_SECONDS": "86400",
    "PORTFOLIO_STALE_PRICE_SECONDS": "900",
    "PORTFOLIO_FILLS_OWNER": "",
    "PORTFOLIO_STARTING_CASH": "100000",
    "PORTFOLIO_MARGIN_CALL_PERCENT": "100",
    "PORTFOLIO_STOP_OUT_PERCENT": "live=50,demo=50,paper=40",
    "PORTFOLIO_PAPER_COSTS": "fee=0.05,slippage=0.02",
    "PORTFOLIO_MARGIN_BASIS": "current",
    "PORTFOLIO_MARGIN_CHECK": "demo,paper",
    "PORTFOLIO_MARKET_UPDATE_INTERVAL_SECONDS": "30",
    "PORTFOLIO_MARKET_PROVIDER": "none",
    "PORTFOLIO_MARKET_HTTP_URL": "",
    "PORTFOLIO_JWT_ISSUER": "https://issuer.test",
    "PORTFOLIO_JWT_AUDIENCE": "foliostream",
    "PORTFOLIO_JWKS_URL": "https://issuer.test/jwks",
    "PORTFOLIO_JWT_LEEWAY_SECONDS": "30",
}
