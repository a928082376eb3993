from local.__main__ import bridge_environment
from local.cloud import Outputs

OUTPUTS = Outputs(
    rest_url="http://127.0.0.1:4566/rest",
    ws_url="ws://127.0.0.1:4566/ws",
    aws_endpoint="http://127.0.0.1:4566",
    aws_access_key_id="test",
    aws_secret_access_key="test",
    region="us-east-1",
    stack_name="foliostream",
    token="t",
    redis_url="redis://127.0.0.1:6399",
    ports={},
    resources={"PriceQueueUrl": "http://127.0.0.1:4566/000000000000/foliostream-price"},
)


def test_the_bridge_reads_the_clouds_own_valkey_unless_another_source_is_named() -> None:
    assert bridge_environment(OUTPUTS, {})["PORTFOLIO_REDIS_URL"] == "redis://127.0.0.1:6399"
    assert bridge_environment(OUTPUTS, {"PORTFOLIO_REDIS_URL": ""})["PORTFOLIO_REDIS_URL"] == "redis://127.0.0.1:6399"
    other = {"PORTFOLIO_REDIS_URL": "redis://10.0.0.5:6379", "PORTFOLIO_BRIDGE_CHANNEL": "ticks", "PATH": "/bin"}
    made = bridge_environment(OUTPUTS, other)
    assert made.items() >= other.items()


def test_the_bridge_sends_to_the_clouds_price_queue_as_the_cloud_allows() -> None:
    made = bridge_environment(OUTPUTS, {"AWS_ENDPOINT_URL": "https://elsewhere", "PORTFOLIO_PRICE_QUEUE_URL": "x"})
    assert made["PORTFOLIO_PRICE_QUEUE_URL"] == OUTPUTS.resources["PriceQueueUrl"]
    assert (made["AWS_ENDPOINT_URL"], made["AWS_REGION"]) == (OUTPUTS.aws_endpoint, "us-east-1")
