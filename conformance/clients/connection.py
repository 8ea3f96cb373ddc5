"""A boto3 client of the gateway that the environment names, with retries off."""
import os

import boto3
from botocore.client import Config

URL, KEY, SECRET = (os.environ[name] for name in ("HOLDALL_URL", "HOLDALL_KEY", "HOLDALL_SECRET"))


def client(key=KEY, secret=SECRET, url=URL, **config):
    """A client; path-style unless told otherwise."""
    options = {"s3": {"addressing_style": "path"}, "retries": {"total_max_attempts": 1}, "read_timeout": 60} | config
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret,
                        config=Config(**options))
