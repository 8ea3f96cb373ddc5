"""The inventory as DuckDB reads it: its rows are what ListObjectsV2 and HEAD say of every object. Each is a test and prints
one line; arguments name the tests to run.

DuckDB would read `s3://` itself with an extension that it fetches; the files are got through S3 and read from a folder.
"""
import json
import tempfile
import time
from pathlib import Path

import duckdb
from botocore.exceptions import ClientError

from checks import holdall, holds, run, soon
from connection import client

S3 = client()
HOME = "holdall-inventory"
KEYS = ["plain", "with space", "ünïcode-😀", "a//b", "quote'\"", "deep/er/x"]


def refused(code, call, **arguments):
    """Fails unless the service answers with this error code."""
    try:
        call(**arguments)
    except ClientError as error:
        holds(error.response["Error"]["Code"] == code, f"{error} instead of {code}")
        return
    raise AssertionError(f"{arguments} is not refused")


def keys(prefix=""):
    """The inventory's own keys."""
    pages = S3.get_paginator("list_objects_v2").paginate(Bucket=HOME, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def fill():
    """Buckets with something of everything in them; one is empty."""
    S3.create_bucket(Bucket="nothing")
    for bucket in ("first", "second"):
        S3.create_bucket(Bucket=bucket)
        for number, key in enumerate(KEYS):
            more = {"Tagging": f"class=c{number}&n={number}"} if number % 2 else {"ContentType": "text/x-a"}
            more |= {"StorageClass": "GLACIER_IR"} if number == 3 else {}
            S3.put_object(Bucket=bucket, Key=key, Body=b"x" * number, **more)
    for number in range(700):
        S3.put_object(Bucket="first", Key=f"many/{number:04}", Body=b"y")
    upload = S3.create_multipart_upload(Bucket="second", Key="parts")["UploadId"]
    parts = []
    for number, size in ((1, 5 << 20), (2, 10)):
        etag = S3.upload_part(Bucket="second", Key="parts", UploadId=upload, PartNumber=number, Body=b"z" * size)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    S3.complete_multipart_upload(Bucket="second", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    holdall("label", "s3://first/plain", "team=red", "stage=raw")
    holdall("label", "s3://first/many/", "kind=many", "--recursive")


def expected():
    """What S3 says of every object, in the inventory's columns."""
    rows = []
    for bucket in (entry["Name"] for entry in S3.list_buckets()["Buckets"]):
        pages = S3.get_paginator("list_objects_v2").paginate(Bucket=bucket) if bucket != HOME else []
        for entry in (entry for page in pages for entry in page.get("Contents", [])):
            head = S3.head_object(Bucket=bucket, Key=entry["Key"])
            tags = S3.get_object_tagging(Bucket=bucket, Key=entry["Key"])["TagSet"]
            rows.append((
                bucket, entry["Key"], entry["Size"], entry["ETag"].strip('"'), int(head["LastModified"].timestamp()),
                entry.get("StorageClass", "STANDARD"), head["ContentType"], {tag["Key"]: tag["Value"] for tag in tags},
            ))
    return sorted(rows, key=lambda row: row[:2])


def read(folder):
    """Rows of all buckets' files under a folder of theirs, as DuckDB reads them."""
    with tempfile.TemporaryDirectory() as kept:
        for key in keys():
            if f"/{folder}/" in key:
                path = Path(kept) / key
                path.parent.mkdir(parents=True, exist_ok=True)
                S3.download_file(HOME, key, str(path))
        told = duckdb.connect().execute(
            "SELECT bucket, key, size, etag, epoch(date_trunc('second', last_modified))::BIGINT, storage_class, "
            "coalesce(content_type, 'binary/octet-stream'), tags, labels, silos, copies, epoch(last_read)::BIGINT, reads_30d "
            f"FROM read_parquet('{kept}/**/part-*.parquet') ORDER BY bucket, key"
        )
        return sorted(told.fetchall(), key=lambda row: row[:2])


def reads(name):
    """How often the one object under a prefix was read in 30 days."""
    return json.loads(holdall("find", name, "--json").splitlines()[0])["object"]["reads_30_days"]


def pairs(value):
    """A map, as one version of DuckDB or another answers it."""
    return dict(zip(value["key"], value["value"])) if set(value) == {"key", "value"} else dict(value)


def rows_are_what_lists_and_heads_say():
    """All columns that S3 shows, of every object of every bucket; and those that it does not show."""
    fill()
    S3.get_object(Bucket="first", Key="many/0001")["Body"].read()
    soon(lambda: reads("s3://first/many/0001") == 1, "a read is not counted")
    taken = json.loads(holdall("inventory", "refresh", "--json").splitlines()[-1])["taken"]
    found, wanted = read("latest"), expected()
    holds(taken["objects"] == len(wanted) == len(found), f"{taken}, and S3 lists {len(wanted)}")
    for row, want in zip(found, wanted):
        holds((*row[:7], pairs(row[7])) == want, f"{row} instead of {want}")
        labels = {"kind": "many"} if row[:2][1].startswith("many/") else {}
        labels = {"team": "red", "stage": "raw"} if row[:2] == ("first", "plain") else labels
        holds(pairs(row[8]) == labels, f"labels of {row}")
        holds((row[9], row[10]) == (([], 0) if row[2] == 0 else (["hot"], 1)), f"silos of {row}")
        if row[:2] == ("first", "many/0001"):
            holds(row[11] % 60 == 0 and -60 < time.time() - row[11] < 600 and row[12] == 1, f"reads of {row}")
        else:
            holds(row[11:] == (None, 0), f"reads of {row}")


def clients_read_it_and_do_not_write_to_it():
    """Nor does anybody make, or take, a bucket of that name."""
    refused("BucketAlreadyExists", S3.create_bucket, Bucket=HOME)
    refused("AccessDenied", S3.put_object, Bucket=HOME, Key="first/x", Body=b"x")
    refused("AccessDenied", S3.delete_object, Bucket=HOME, Key=keys()[0])
    refused("AccessDenied", S3.delete_objects, Bucket=HOME, Delete={"Objects": [{"Key": keys()[0]}]})
    refused("AccessDenied", S3.copy_object, Bucket=HOME, Key="x", CopySource={"Bucket": "first", "Key": "plain"})
    refused("AccessDenied", S3.create_multipart_upload, Bucket=HOME, Key="x")
    refused("AccessDenied", S3.delete_bucket, Bucket=HOME)
    source = {"Bucket": HOME, "Key": keys("first/latest/")[0]}
    S3.copy_object(Bucket="second", Key="table", CopySource=source)
    S3.delete_object(Bucket="second", Key="table")


def what_changes_is_in_the_next_one():
    """And what is of a bucket that was deleted goes; a run of the same minute replaces the one before."""
    S3.delete_bucket(Bucket="nothing")
    S3.delete_object(Bucket="first", Key="plain")
    S3.put_object(Bucket="second", Key="plain", Body=b"another")
    holdall("inventory", "refresh")
    found = {row[:2]: row[2] for row in read("latest")}
    holds(("first", "plain") not in found and found["second", "plain"] == 7, "the inventory is an old one")
    holds(not keys("nothing/"), "what is of a deleted bucket stays")
    holds(not [key for key in keys() if ".writing" in key], "something is left of the run")
    runs = {key.split("/")[1] for key in keys("first/")}
    holds("latest" in runs and len(runs) in (2, 3), f"runs are {runs}")


TESTS = [
    rows_are_what_lists_and_heads_say,
    clients_read_it_and_do_not_write_to_it,
    what_changes_is_in_the_next_one,
]

if __name__ == "__main__":
    run(TESTS)
