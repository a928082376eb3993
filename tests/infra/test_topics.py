"""The Kafka part of the template in each state of its conditions: off, MSK with IAM or a secret, brokers elsewhere."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.infra.cloudformation import QUEUE, Node, as_list, referenced, resources, template

MSK = "arn:aws:kafka:eu-west-1:123456789012:cluster/feed/0f5c3f0e-5e7a-4a61-9a0c-2f9d6a1d0c11-2"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:AmazonMSK_feed-AbCdEf"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/0f5c3f0e-5e7a-4a61-9a0c-2f9d6a1d0c11"
BROKERS = {"KafkaBootstrapServers": "b1.example.com:9096,b2.example.com:9096", "KafkaSecretArn": SECRET}
PRICES, FILLS = {"KafkaPriceTopic": "ticks"}, {"KafkaFillTopic": "fills"}
SOURCES = {"PriceTopicSource": "PriceUpdateRole", "FillTopicSource": "AcceptFillsRole"}
NOTHING = object()


class Stack:
    """The template with these parameters; what is no Kafka parameter has its default."""

    def __init__(self, **given: str) -> None:
        defaults = {name: str(body.get("Default", "x")) for name, body in template()["Parameters"].items()}
        self._values = defaults | given | {"AWS::StackName": "app", "AWS::Partition": "aws"}

    def holds(self, condition: str) -> bool:
        return bool(self.of(template()["Conditions"][condition]))

    def of(self, node: Node) -> Node:
        """A part of the template, worked out as far as Kafka needs it; resources stay references."""
        if isinstance(node, list):
            return [found for item in node if (found := self.of(item)) is not NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name in (known := self._functions()):
                return known[name](argument)
        return {key: found for key, item in node.items() if (found := self.of(item)) is not NOTHING}

    def _functions(self) -> dict[str, Any]:
        return {
            "Ref": lambda name: NOTHING if name == "AWS::NoValue" else self._values.get(name, {"Ref": name}),
            "Condition": self.holds,
            "Fn::Equals": lambda pair: self.of(pair[0]) == self.of(pair[1]),
            "Fn::Not": lambda items: not self.of(items[0]),
            "Fn::And": lambda items: all(map(self.of, items)),
            "Fn::Or": lambda items: any(map(self.of, items)),
            "Fn::If": lambda choice: self.of(choice[1] if self.holds(choice[0]) else choice[2]),
            "Fn::Split": lambda pair: self.of(pair[1]).split(pair[0]),
            "Fn::Join": lambda pair: pair[0].join(self.of(pair[1])),
            "Fn::Sub": self._substituted,
        }

    def _substituted(self, text: Node) -> Node:
        if not isinstance(text, str):
            return {"Fn::Sub": text}
        return re.sub(r"\$\{([\w:.]+)\}", lambda match: str(self._values.get(match[1], match[0])), text)

    def source(self, name: str) -> dict[str, Any] | None:
        body = template()["Resources"][name]
        return self.of(body["Properties"]) if self.holds(body["Condition"]) else None

    def rights(self, role: str) -> dict[str, set[str]]:
        """Actions that only Kafka needs, each with its resources."""
        found: dict[str, set[str]] = {}
        for policy in self.of(resources("AWS::IAM::Role")[role])["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                for action in as_list(statement["Action"]):
                    if action.split(":")[0] in {"kafka", "kafka-cluster", "secretsmanager", "kms"}:
                        found.setdefault(action, set()).update(as_list(statement["Resource"]))
        return found

    def managed(self, role: str) -> set[str]:
        return {arn.rpartition("/")[2] for arn in self.of(resources("AWS::IAM::Role")[role])["ManagedPolicyArns"]}

    def broken_rules(self) -> list[str]:
        rule = template()["Rules"]["KafkaTopicsNeedBrokers"]
        if not self.of(rule["RuleCondition"]):
            return []
        return [one["AssertDescription"] for one in rule["Assertions"] if not self.of(one["Assert"])]


def test_left_alone_nothing_reads_a_topic_and_nobody_gains_a_right() -> None:
    stack = Stack()
    for name, role in SOURCES.items():
        assert stack.source(name) is None
        assert stack.rights(role) == {}
        assert "AWSLambdaMSKExecutionRole" not in stack.managed(role)
    assert stack.broken_rules() == []


@pytest.mark.parametrize(
    ("topic", "on", "off"),
    [(PRICES, "PriceTopicSource", "FillTopicSource"), (FILLS, "FillTopicSource", "PriceTopicSource")],
)
def test_one_topic_switches_on_one_function_only(topic: dict[str, str], on: str, off: str) -> None:
    stack = Stack(**topic, **BROKERS)
    assert stack.source(on) is not None
    assert stack.source(off) is None
    assert stack.rights(SOURCES[on]) == {"secretsmanager:GetSecretValue": {SECRET}}
    assert stack.rights(SOURCES[off]) == {}
    assert "AWSLambdaMSKExecutionRole" not in stack.managed(SOURCES[on])


def test_brokers_elsewhere_are_named_one_by_one_with_their_secret() -> None:
    source = Stack(**PRICES, **BROKERS, KafkaAuthentication="BASIC_AUTH").source("PriceTopicSource")
    assert source is not None
    assert source["SelfManagedEventSource"] == {
        "Endpoints": {"KafkaBootstrapServers": ["b1.example.com:9096", "b2.example.com:9096"]}
    }
    assert source["SelfManagedKafkaEventSourceConfig"] == {"ConsumerGroupId": "app-price"}
    assert source["SourceAccessConfigurations"] == [{"Type": "BASIC_AUTH", "URI": SECRET}]
    assert source["Topics"] == ["ticks"]
    assert not {"EventSourceArn", "AmazonManagedKafkaEventSourceConfig"} & source.keys()


@pytest.mark.parametrize("secret", ["", SECRET])
def test_brokers_in_a_network_are_reached_through_its_subnet(secret: str) -> None:
    network = {"KafkaSubnetId": "subnet-1a", "KafkaSecurityGroupId": "sg-2b"}
    stack = Stack(**FILLS, **(BROKERS | {"KafkaSecretArn": secret}), **network)
    source = stack.source("FillTopicSource")
    assert source is not None
    assert source["SourceAccessConfigurations"] == [
        *([{"Type": "SASL_SCRAM_512_AUTH", "URI": SECRET}] if secret else []),
        {"Type": "VPC_SUBNET", "URI": "subnet:subnet-1a"},
        {"Type": "VPC_SECURITY_GROUP", "URI": "security_group:sg-2b"},
    ]
    assert "AWSLambdaMSKExecutionRole" in stack.managed("AcceptFillsRole")
    assert stack.broken_rules() == []


def test_msk_with_iam_may_read_its_topic_by_its_group_and_nothing_else() -> None:
    stack = Stack(**PRICES, **FILLS, KafkaClusterArn=MSK)
    source = stack.source("FillTopicSource")
    assert source is not None
    assert source["EventSourceArn"] == MSK
    assert source["AmazonManagedKafkaEventSourceConfig"] == {"ConsumerGroupId": "app-fills"}
    absent = {"SelfManagedEventSource", "SelfManagedKafkaEventSourceConfig", "SourceAccessConfigurations"}
    assert not absent & source.keys()
    topic, group = MSK.replace(":cluster/", ":topic/") + "/fills", MSK.replace(":cluster/", ":group/") + "/app-fills"
    assert stack.rights("AcceptFillsRole") == {
        "kafka-cluster:Connect": {MSK},
        "kafka-cluster:DescribeClusterDynamicConfiguration": {MSK},
        "kafka-cluster:DescribeTopic": {topic},
        "kafka-cluster:ReadData": {topic},
        "kafka-cluster:DescribeGroup": {group},
        "kafka-cluster:AlterGroup": {group},
    }
    assert "AWSLambdaMSKExecutionRole" in stack.managed("AcceptFillsRole")
    assert stack.broken_rules() == []


def test_msk_with_a_secret_may_read_that_and_decrypt_it() -> None:
    stack = Stack(**PRICES, KafkaClusterArn=MSK, KafkaSecretArn=SECRET, KafkaSecretKeyArn=KEY)
    assert stack.rights("PriceUpdateRole") == {
        "secretsmanager:GetSecretValue": {SECRET},
        "kms:Decrypt": {KEY},
    }
    source = stack.source("PriceTopicSource")
    assert source is not None
    assert source["SourceAccessConfigurations"] == [{"Type": "SASL_SCRAM_512_AUTH", "URI": SECRET}]


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_what_fails_ten_times_goes_to_the_dead_letters_and_batches_are_bounded(name: str) -> None:
    source = template()["Resources"][name]["Properties"]
    queue = referenced(source["DestinationConfig"]["OnFailure"]["Destination"])
    assert queue in resources(QUEUE)
    assert "FifoQueue" not in resources(QUEUE)[queue]
    assert 0 < source["BatchSize"] <= 1_000
    # They need provisioned pollers, which are paid by the hour.
    assert not {"FunctionResponseTypes", "BisectBatchOnFunctionError", "MaximumRetryAttempts"} & source.keys()


def test_prices_start_with_the_newest_and_fills_with_the_first_record() -> None:
    starts = {name: template()["Resources"][name]["Properties"]["StartingPosition"] for name in SOURCES}
    assert starts == {"PriceTopicSource": "LATEST", "FillTopicSource": "TRIM_HORIZON"}


@pytest.mark.parametrize(
    ("given", "broken"),
    [
        (PRICES, 2),
        (PRICES | BROKERS | {"KafkaClusterArn": MSK}, 1),
        (PRICES | {"KafkaBootstrapServers": "b:9092"}, 1),
        (PRICES | BROKERS | {"KafkaSubnetId": "subnet-1a"}, 1),
        (PRICES | {"KafkaClusterArn": MSK, "KafkaSubnetId": "subnet-1", "KafkaSecurityGroupId": "sg-1"}, 1),
        (FILLS | BROKERS, 0),
        ({"KafkaBootstrapServers": "b:9092"}, 0),
    ],
)
def test_contradictions_are_refused_before_anything_is_deployed(given: dict[str, str], broken: int) -> None:
    assert len(Stack(**given).broken_rules()) == broken


def test_whoever_runs_the_bridge_may_send_to_the_price_queue_and_nothing_else() -> None:
    (statement,) = Stack().of(resources("AWS::IAM::ManagedPolicy")["BridgePolicy"])["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["sqs:SendMessage"]
    assert referenced(statement["Resource"]) == "PriceQueue"
    assert "BridgePolicyArn" in template()["Outputs"]
