"""The page's upload against the emulator's S3. Does not find: what CloudFront makes of the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from local.page_upload import NoPlaceError, built, outputs_of, stack_of, upload
from tests.support.ministack import Emulator

WS_URL = "wss://abc.execute-api.eu-central-1.amazonaws.com/live"


@pytest.fixture
def s3(ministack: Emulator) -> Any:  # noqa: ANN401 (boto3's clients have no common type)
    return ministack.client("s3")


@pytest.fixture
def bucket(s3: Any) -> str:  # noqa: ANN401
    name = f"page-{uuid4().hex}"
    place = {"LocationConstraint": s3.meta.region_name}
    s3.create_bucket(
        Bucket=name, **({} if s3.meta.region_name == "us-east-1" else {"CreateBucketConfiguration": place})
    )
    return name


def site(folder: Path, digest: str) -> Path:
    (folder / "assets").mkdir(parents=True)
    (folder / "assets" / f"index-{digest}.js").write_text("let live")
    (folder / "index.html").write_text(f"<script src=./assets/index-{digest}.js></script>")
    return folder


def test_files_are_kept_for_ever_where_their_name_tells_their_content_and_else_asked_anew(
    s3: Any,  # noqa: ANN401
    bucket: str,
    tmp_path: Path,
) -> None:
    upload(s3, bucket, built(site(tmp_path / "one", "a1"), WS_URL))
    script = s3.get_object(Bucket=bucket, Key="assets/index-a1.js")
    assert script["ContentType"] in {"text/javascript", "application/javascript"}
    assert script["CacheControl"] == "public, max-age=31536000, immutable"
    index = s3.get_object(Bucket=bucket, Key="index.html")
    assert (index["ContentType"], index["CacheControl"]) == ("text/html", "no-cache")
    config = s3.get_object(Bucket=bucket, Key="config.json")
    assert config["Body"].read() == b'{"ws_url": "%s"}' % WS_URL.encode()


def test_the_next_build_takes_the_place_of_the_last(s3: Any, bucket: str, tmp_path: Path) -> None:  # noqa: ANN401
    upload(s3, bucket, built(site(tmp_path / "one", "a1"), WS_URL))
    upload(s3, bucket, built(site(tmp_path / "two", "b2"), WS_URL))
    keys = {item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert keys == {"assets/index-b2.js", "index.html", "config.json"}


def test_a_stack_without_a_place_for_the_page_is_told_how_to_get_one(ministack: Emulator) -> None:
    client: Any = ministack.client("cloudformation")
    name = f"plain-{uuid4().hex}"
    body = '{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}, "Outputs": {"Url": {"Value": {"Ref": "Q"}}}}'
    client.create_stack(StackName=name, TemplateBody=body)
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    with pytest.raises(NoPlaceError, match="PARAMETERS=Page=cloudfront"):
        outputs_of(Here(ministack), name)


class Here(boto3.Session):
    """Clients of the emulator."""

    def __init__(self, ministack: Emulator) -> None:
        super().__init__(region_name="us-east-1")
        self._ministack = ministack

    def client(self, service_name: str, *_: object, **__: object) -> Any:  # type: ignore[override]  # noqa: ANN401
        return self._ministack.client(service_name)


def test_the_stack_is_the_one_that_make_deploy_makes() -> None:
    samconfig = '[prod.global.parameters]\nstack_name = "folio"\n[eu.global.parameters]\nstack_name = "folio"\n'
    samconfig += '[eu.deploy.parameters]\nregion = "eu-central-1"\n'
    assert stack_of(samconfig, "prod") == ("folio", None)
    assert stack_of(samconfig, "eu") == ("folio", "eu-central-1")
    with pytest.raises(NoPlaceError, match="staging"):
        stack_of(samconfig, "staging")
