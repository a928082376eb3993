"""`make deploy-page`: the built page goes into the bucket of a stack that has a place for it (Page=cloudfront)."""

import json
import mimetypes
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local import page
from local.environments import ROOT

# Names of assets hold a digest of their content. Everything else is asked for anew: an answer without content.
FOR_EVER = "public, max-age=31536000, immutable"
ASKED_ANEW = "no-cache"
_ASSETS = "assets/"
_INDEX = "index.html"
_CONFIG = "config.json"
# DeleteObjects takes no more; a build has a handful of files.
_DELETED_MAX = 1000


class NoPlaceError(RuntimeError):
    """The stack cannot be read, or has no place for the page; says what to do."""


def main(section: str) -> int:
    """Build and upload for the stack that a section of samconfig.toml names; 0 if the page is there."""
    try:
        name, region = stack_of((ROOT / "samconfig.toml").read_text(), section)
        session = boto3.Session(region_name=region)
        outputs = outputs_of(session, name)
        files = built(page.build(), outputs["WebSocketUrl"])
        upload(session.client("s3"), outputs["PageBucketName"], files)
    except (NoPlaceError, page.PageError, BotoCoreError, ClientError) as fault:
        print(fault, file=sys.stderr)
        return 1
    print(f"{len(files)} files, {sum(map(len, files.values())):,} bytes\nPage       {outputs['PageUrl']}")
    return 0


def stack_of(samconfig: str, section: str) -> tuple[str, str | None]:
    """The stack's name and its region (None: as the environment says) in a section such as `prod`."""
    found = tomllib.loads(samconfig).get(section, {})
    try:
        name: str = found["global"]["parameters"]["stack_name"]
    except KeyError:
        raise NoPlaceError(f"samconfig.toml names no stack for {section}") from None
    return name, found.get("deploy", {}).get("parameters", {}).get("region")


def outputs_of(session: boto3.Session, stack: str) -> dict[str, str]:
    """The stack's outputs; ``NoPlaceError`` where the page is not among them."""
    described = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    if "PageBucketName" not in outputs:
        raise NoPlaceError(f"{stack} has no place for the page: make deploy with PARAMETERS=Page=cloudfront first")
    return outputs


def built(folder: Path, ws_url: str) -> dict[str, bytes]:
    """The files by key, and beside them what the page cannot know: where the WebSocket is."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return files | {_CONFIG: json.dumps({"ws_url": ws_url}).encode()}


def upload(s3: Any, bucket: str, files: Mapping[str, bytes]) -> None:  # noqa: ANN401 (boto3's clients have no type)
    """Put the files there, those first that others name, then remove what is of no use any more."""
    for key in sorted(files, key=lambda key: (key == _INDEX, not key.startswith(_ASSETS), key)):
        s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=files[key],
            ContentType=mimetypes.guess_type(key)[0] or "application/octet-stream",
            CacheControl=FOR_EVER if key.startswith(_ASSETS) else ASKED_ANEW,
        )
    parts = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    gone = [item["Key"] for part in parts for item in part.get("Contents", []) if item["Key"] not in files]
    for start in range(0, len(gone), _DELETED_MAX):
        _delete(s3, bucket, gone[start : start + _DELETED_MAX])


def _delete(s3: Any, bucket: str, keys: list[str]) -> None:  # noqa: ANN401
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    if errors := answer.get("Errors"):
        raise NoPlaceError(f"old files could not be removed: {errors[0].get('Key')}: {errors[0].get('Message')}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
