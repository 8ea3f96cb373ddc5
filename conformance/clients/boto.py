"""boto3 in all its transfer modes, default checksums on; prints one line a test. Arguments name the tests to run."""
import concurrent.futures
import hashlib
import io
import json
import os
import socket
import tempfile
import urllib.request

from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.exceptions import ClientError

from checks import run
from connection import URL, client

DOMAIN = os.environ["HOLDALL_DOMAIN"]
OTHER = json.loads(os.environ["HOLDALL_OTHER"])
MIB = 1 << 20
ODD_KEYS = [
    "a", "a/b", "a//b", "a/", "..", ".", "/lead", "../up", "sp ace", "plus+", "per%cent", "per%2Fcent", "😀", "é", "e\u0301",
    "Case", "case", "k" * 1024, "s" * 255 + "/" + "t" * 300, "tab\tand\x01control", "<xml>&'\"", "?query#fragment", "a\\b", "*", "~",
]
_count = [0]
S3 = client()


def bucket(s3=S3):
    """A new bucket."""
    _count[0] += 1
    name = f"boto-{_count[0]}"
    s3.create_bucket(Bucket=name)
    return name


def equal(found, expected, what="value"):
    """Fails unless both are the same."""
    if found != expected:
        raise AssertionError(f"{what} is {str(found)[:200]}, expected {str(expected)[:200]}")


def refused(code, act, *args, **kwargs):
    """Fails unless the service answers with this error code."""
    try:
        act(*args, **kwargs)
    except ClientError as error:
        if error.response["Error"]["Code"] != code:
            raise AssertionError(f"{error.response['Error']['Code']} instead of {code}") from error
        return error.response
    raise AssertionError(f"no {code}")


def get(b, key, s3=S3, **kwargs):
    """An object's bytes."""
    return s3.get_object(Bucket=b, Key=key, **kwargs)["Body"].read()


def simple_put_and_get_of_every_size():
    b = bucket()
    for size in (0, 1, 100, 4096, 65535, 65536, 65537, 262143, 262144, 262145, 3 * MIB + 7):
        body = os.urandom(size)
        put = S3.put_object(Bucket=b, Key=f"s{size}", Body=body)
        equal(put["ETag"], f'"{hashlib.md5(body).hexdigest()}"', "ETag")
        equal(get(b, f"s{size}") == body, True, f"{size} bytes the same")


def bodies_of_every_kind():
    b = bucket()
    body = os.urandom(300_000)
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.seek(0)
        S3.put_object(Bucket=b, Key="file", Body=file)
    S3.put_object(Bucket=b, Key="bytesio", Body=io.BytesIO(body))
    S3.put_object(Bucket=b, Key="bytearray", Body=bytearray(body))
    for key in ("file", "bytesio", "bytearray"):
        equal(get(b, key) == body, True, key)


def unsigned_and_signed_payloads():
    b = bucket()
    body = os.urandom(100_000)
    for signing in (True, False):
        for style in ("when_supported", "when_required"):
            s3 = client(s3={"addressing_style": "path", "payload_signing_enabled": signing}, request_checksum_calculation=style,
                        response_checksum_validation=style)
            s3.put_object(Bucket=b, Key="k", Body=io.BytesIO(body))
            equal(get(b, "k", s3) == body, True, f"signing {signing}, checksums {style}")


def upload_file_in_every_mode():
    b = bucket()
    body = os.urandom(21 * MIB + 12345)
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        modes = {
            "threads": TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=8),
            "serial": TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=6 * MIB, use_threads=False),
            "single": TransferConfig(multipart_threshold=64 * MIB),
            "default": TransferConfig(),
        }
        for name, config in modes.items():
            S3.upload_file(file.name, b, name, Config=config, ExtraArgs={"Metadata": {"mode": name}, "ContentType": "x/y"})
            head = S3.head_object(Bucket=b, Key=name)
            equal((head["ContentLength"], head["Metadata"], head["ContentType"]), (len(body), {"mode": name}, "x/y"), name)
            with tempfile.TemporaryDirectory() as folder:
                S3.download_file(b, name, f"{folder}/back", Config=config)
                with open(f"{folder}/back", "rb") as back:
                    equal(back.read() == body, True, f"{name}: same bytes")


def upload_fileobj_of_a_stream():
    class Stream(io.RawIOBase):
        """Readable, not seekable."""

        def __init__(self, data):
            super().__init__()
            self.data, self.at = data, 0

        def readable(self):
            return True

        def read(self, size=-1):
            end = len(self.data) if size is None or size < 0 else self.at + min(size, 70_001)
            piece, self.at = self.data[self.at:end], min(end, len(self.data))
            return piece

    b = bucket()
    body = os.urandom(12 * MIB)
    S3.upload_fileobj(Stream(body), b, "stream", Config=TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB))
    out = io.BytesIO()
    S3.download_fileobj(b, "stream", out, Config=TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB))
    equal(out.getvalue() == body, True, "same bytes")


def managed_copy():
    b, other = bucket(), bucket()
    body = os.urandom(13 * MIB)
    S3.put_object(Bucket=b, Key="from", Body=body, Metadata={"a": "b"}, ContentType="x/y")
    S3.copy({"Bucket": b, "Key": "from"}, other, "to", Config=TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB))
    equal(get(other, "to") == body, True, "same bytes")
    S3.copy({"Bucket": b, "Key": "from"}, b, "small-copy")
    equal(S3.head_object(Bucket=b, Key="small-copy")["Metadata"], {"a": "b"}, "metadata")


def every_checksum_algorithm():
    b = bucket()
    body = os.urandom(70_000)
    for name in ("CRC32", "SHA1", "SHA256"):
        put = S3.put_object(Bucket=b, Key=name, Body=body, ChecksumAlgorithm=name)
        head = S3.get_object(Bucket=b, Key=name, ChecksumMode="ENABLED")
        equal(head[f"Checksum{name}"], put[f"Checksum{name}"], name)
        equal(head["Body"].read() == body, True, "same bytes")
    S3.put_object(Bucket=b, Key="default", Body=body)
    equal("ChecksumCRC32" in S3.head_object(Bucket=b, Key="default", ChecksumMode="ENABLED"), True, "the default CRC32 is kept")
    refused("BadDigest", S3.put_object, Bucket=b, Key="bad", Body=body, ChecksumCRC32="AAAAAA==")
    refused("NoSuchKey", S3.get_object, Bucket=b, Key="bad")


def multipart_checksums():
    b = bucket()
    parts = [os.urandom(5 * MIB), os.urandom(1000)]
    for algorithm, kind in (("SHA256", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("CRC32", "COMPOSITE")):
        upload = S3.create_multipart_upload(Bucket=b, Key="m", ChecksumAlgorithm=algorithm, ChecksumType=kind)["UploadId"]
        done = []
        for number, part in enumerate(parts, 1):
            answer = S3.upload_part(Bucket=b, Key="m", UploadId=upload, PartNumber=number, Body=part, ChecksumAlgorithm=algorithm)
            done.append({"PartNumber": number, "ETag": answer["ETag"], f"Checksum{algorithm}": answer[f"Checksum{algorithm}"]})
        S3.complete_multipart_upload(Bucket=b, Key="m", UploadId=upload, MultipartUpload={"Parts": done}, ChecksumType=kind)
        head = S3.head_object(Bucket=b, Key="m", ChecksumMode="ENABLED")
        equal(head["ChecksumType"], kind, "type")
        equal(head[f"Checksum{algorithm}"].endswith("-2"), kind == "COMPOSITE", f"{algorithm} {kind}: parts in the checksum")
        equal(get(b, "m") == b"".join(parts), True, "same bytes")


def odd_keys_are_all_different_objects():
    b = bucket()
    for index, key in enumerate(ODD_KEYS):
        S3.put_object(Bucket=b, Key=key, Body=f"{index}".encode())
    for index, key in enumerate(ODD_KEYS):
        equal(get(b, key), f"{index}".encode(), f"key {key[:40]!r}")
    pages = S3.get_paginator("list_objects_v2").paginate(Bucket=b, PaginationConfig={"PageSize": 3})
    listed = [entry["Key"] for page in pages for entry in page["Contents"]]
    equal(listed, sorted(ODD_KEYS, key=lambda key: key.encode()), "listed")
    copied = [key for key in ODD_KEYS if len(key) < 900]
    for key in copied:
        S3.copy_object(Bucket=b, Key="copy/" + key, CopySource={"Bucket": b, "Key": key})
        equal(get(b, "copy/" + key), get(b, key), f"copy of {key[:40]!r}")
    # boto3 writes keys with control characters into XML as they are, which no XML holds: one by one, those.
    plain = [key for key in ODD_KEYS if key.isprintable()]
    S3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": key} for key in plain]})
    for key in set(ODD_KEYS) - set(plain):
        S3.delete_object(Bucket=b, Key=key)
    equal(len(S3.list_objects_v2(Bucket=b).get("Contents", [])), len(copied), "only the copies are left")


def keys_that_are_too_long_or_not_text():
    b = bucket()
    refused("KeyTooLongError", S3.put_object, Bucket=b, Key="k" * 1025, Body=b"")


def lists_in_both_versions():
    b = bucket()
    keys = [f"{group}/{index:02}" for group in "abc" for index in range(7)] + ["top"]
    for key in keys:
        S3.put_object(Bucket=b, Key=key, Body=b"x")
    for name in ("list_objects", "list_objects_v2"):
        for size in (1, 2, 5, 1000):
            pages = list(S3.get_paginator(name).paginate(Bucket=b, Delimiter="/", PaginationConfig={"PageSize": size}))
            equal([p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])], ["a/", "b/", "c/"], f"{name} by {size}")
            equal([o["Key"] for page in pages for o in page.get("Contents", [])], ["top"], f"{name} by {size}")
            pages = S3.get_paginator(name).paginate(Bucket=b, Prefix="b/", PaginationConfig={"PageSize": size})
            equal([o["Key"] for page in pages for o in page["Contents"]], [k for k in keys if k.startswith("b/")], f"{name} of b/")
    after = S3.list_objects_v2(Bucket=b, StartAfter="b/03", MaxKeys=2, FetchOwner=True)
    equal([o["Key"] for o in after["Contents"]], ["b/04", "b/05"], "after b/03")
    equal(bool(after["Contents"][0]["Owner"]["ID"]), True, "owner")


def conditional_writes():
    b = bucket()
    first = S3.put_object(Bucket=b, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    refused("PreconditionFailed", S3.put_object, Bucket=b, Key="k", Body=b"2", IfNoneMatch="*")
    second = S3.put_object(Bucket=b, Key="k", Body=b"2", IfMatch=first)["ETag"]
    refused("PreconditionFailed", S3.put_object, Bucket=b, Key="k", Body=b"3", IfMatch=first)
    refused("NoSuchKey", S3.put_object, Bucket=b, Key="absent", Body=b"3", IfMatch=first)
    equal((get(b, "k"), S3.head_object(Bucket=b, Key="k")["ETag"]), (b"2", second), "the winner")


def one_of_many_creates_wins():
    b = bucket()

    def create(number):
        try:
            client().put_object(Bucket=b, Key="race", Body=f"{number}".encode(), IfNoneMatch="*")
            return number
        except ClientError as error:
            equal(error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412), True, "a loser's status is 409 or 412")
            return None

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        winners = [number for number in pool.map(create, range(32)) if number is not None]
    equal(len(winners), 1, "winners")
    equal(get(b, "race"), f"{winners[0]}".encode(), "the winner's bytes")


def conditional_reads():
    b = bucket()
    head = S3.put_object(Bucket=b, Key="k", Body=b"body")
    modified = S3.head_object(Bucket=b, Key="k")["LastModified"]
    equal(get(b, "k", IfMatch=head["ETag"]), b"body")
    equal(get(b, "k", IfUnmodifiedSince=modified), b"body")
    refused("PreconditionFailed", S3.get_object, Bucket=b, Key="k", IfMatch='"other"')
    refused("304", S3.get_object, Bucket=b, Key="k", IfNoneMatch=head["ETag"])
    refused("304", S3.get_object, Bucket=b, Key="k", IfModifiedSince=modified)
    refused("PreconditionFailed", S3.copy_object, Bucket=b, Key="c", CopySource=f"{b}/k", CopySourceIfNoneMatch=head["ETag"])


def ranges():
    b = bucket()
    body = os.urandom(700_000)
    S3.put_object(Bucket=b, Key="k", Body=body)
    for start, end in ((0, 0), (262_143, 262_144), (100, 699_999), (262_144, 524_287)):
        answer = S3.get_object(Bucket=b, Key="k", Range=f"bytes={start}-{end}")
        equal(answer["Body"].read() == body[start:end + 1], True, f"{start}-{end}")
        equal(answer["ContentRange"], f"bytes {start}-{end}/700000", "Content-Range")
    equal(get(b, "k", Range="bytes=-5"), body[-5:], "the last five")
    refused("InvalidRange", S3.get_object, Bucket=b, Key="k", Range="bytes=700000-")


def presigned_urls():
    b = bucket()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    key = "a b+ü"
    # Left alone, boto3 signs URLs for us-east-1 the way of 2006, which is refused here.
    s3 = client(signature_version="s3v4")
    put = s3.generate_presigned_url("put_object", Params={"Bucket": b, "Key": key, "ContentType": "x/y", "Metadata": {"a": "b"}})
    request = urllib.request.Request(put, data=b"by url", method="PUT", headers={"Content-Type": "x/y", "x-amz-meta-a": "b"})
    equal(opener.open(request, timeout=20).status, 200, "PUT")
    params = {"Bucket": b, "Key": key, "ResponseContentType": "text/z", "ResponseContentDisposition": "attachment"}
    with opener.open(s3.generate_presigned_url("get_object", Params=params), timeout=20) as answer:
        equal((answer.read(), answer.headers["Content-Type"]), (b"by url", "text/z"), "GET")
    # An x-amz-* header that was not signed is refused, not obeyed.
    request = urllib.request.Request(s3.generate_presigned_url("put_object", Params={"Bucket": b, "Key": "x"}), data=b"y",
                                     method="PUT", headers={"x-amz-meta-added": "later"})
    try:
        opener.open(request, timeout=20)
    except urllib.error.HTTPError as error:
        equal(error.code, 403, "status")
    else:
        raise AssertionError("an unsigned header is obeyed")


def metadata_tags_and_system_headers():
    b = bucket()
    system = {"CacheControl": "no-cache", "ContentDisposition": 'attachment; filename="x"', "ContentEncoding": "br",
              "ContentLanguage": "de", "ContentType": "text/x; charset=utf-8"}
    S3.put_object(Bucket=b, Key="k", Body=b"x", Metadata={"one": "1", "two": "zwei und mehr"}, Tagging="a=b&c=d%20e", **system)
    head = S3.head_object(Bucket=b, Key="k")
    equal({name: head[name] for name in system}, system, "system headers")
    equal(head["Metadata"], {"one": "1", "two": "zwei und mehr"}, "metadata")
    tags = {tag["Key"]: tag["Value"] for tag in S3.get_object_tagging(Bucket=b, Key="k")["TagSet"]}
    equal(tags, {"a": "b", "c": "d e"}, "tags")
    S3.put_object_tagging(Bucket=b, Key="k", Tagging={"TagSet": [{"Key": "x", "Value": "y"}]})
    equal(S3.get_object_tagging(Bucket=b, Key="k")["TagSet"], [{"Key": "x", "Value": "y"}], "new tags")
    equal(S3.head_object(Bucket=b, Key="k")["ETag"], head["ETag"], "ETag after tagging")
    S3.delete_object_tagging(Bucket=b, Key="k")
    equal(S3.get_object_tagging(Bucket=b, Key="k")["TagSet"], [], "no tags")


def multipart_rules():
    b = bucket()
    make = lambda: S3.create_multipart_upload(Bucket=b, Key="m")["UploadId"]  # noqa: E731
    part = lambda upload, n, body: {"PartNumber": n, "ETag": S3.upload_part(  # noqa: E731
        Bucket=b, Key="m", UploadId=upload, PartNumber=n, Body=body)["ETag"]}
    complete = lambda upload, parts: S3.complete_multipart_upload(  # noqa: E731
        Bucket=b, Key="m", UploadId=upload, MultipartUpload={"Parts": parts})
    upload = make()
    small = [part(upload, 1, b"x" * 100), part(upload, 2, b"y")]
    refused("EntityTooSmall", complete, upload, small)
    refused("InvalidPartOrder", complete, upload, small[::-1])
    refused("InvalidPart", complete, upload, [{"PartNumber": 1, "ETag": '"00000000000000000000000000000000"'}])
    S3.abort_multipart_upload(Bucket=b, Key="m", UploadId=upload)
    refused("NoSuchUpload", part, upload, 1, b"x")
    upload = make()
    sparse = [part(upload, 10_000, b"end"), part(upload, 3, b"z" * 5 * MIB)]
    complete(upload, sparse[::-1])
    equal(get(b, "m") == b"z" * 5 * MIB + b"end", True, "sparse parts in order")
    last = S3.get_object(Bucket=b, Key="m", PartNumber=10_000)
    equal((last["Body"].read(), last["PartsCount"]), (b"end", 2), "the part uploaded as 10,000")


def errors_by_name():
    b = bucket()
    refused("NoSuchKey", S3.get_object, Bucket=b, Key="none")
    refused("404", S3.head_object, Bucket=b, Key="none")
    refused("NoSuchBucket", S3.list_objects_v2, Bucket="no-such-bucket-here")
    refused("NoSuchUpload", S3.list_parts, Bucket=b, Key="k", UploadId="none")
    S3.put_object(Bucket=b, Key="k", Body=b"x")
    refused("BucketNotEmpty", S3.delete_bucket, Bucket=b)
    refused("NoSuchBucketPolicy", S3.get_bucket_policy, Bucket=b)
    refused("NotImplemented", S3.put_bucket_versioning, Bucket=b, VersioningConfiguration={"Status": "Enabled"})
    refused("InvalidBucketName", S3.create_bucket, Bucket="UPPER-case")


def keys_secrets_and_strangers():
    b = bucket()
    S3.put_object(Bucket=b, Key="k", Body=b"mine")
    refused("SignatureDoesNotMatch", client(secret="wrong").list_buckets)
    refused("InvalidAccessKeyId", client(key="NOBODY").list_buckets)
    anonymous = client(signature_version=UNSIGNED)
    refused("AccessDenied", anonymous.get_object, Bucket=b, Key="k")
    other = client(OTHER["access_key_id"], OTHER["secret_access_key"])
    refused("AccessDenied", other.get_object, Bucket=b, Key="k")
    refused("AccessDenied", other.put_object, Bucket=b, Key="k", Body=b"theirs")
    refused("BucketAlreadyExists", other.create_bucket, Bucket=b)
    other.create_bucket(Bucket="other-one")
    equal([entry["Name"] for entry in other.list_buckets()["Buckets"]], ["other-one"], "the other's buckets")
    equal("other-one" in [entry["Name"] for entry in S3.list_buckets()["Buckets"]], False, "shown to us")
    equal(get(b, "k"), b"mine")


def virtual_host_style():
    b = bucket()
    resolve = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *rest, **more: resolve("127.0.0.1" if str(host).endswith(DOMAIN) else host, *rest, **more)
    try:
        port = URL.rsplit(":", 1)[1]
        s3 = client(url=f"http://{DOMAIN}:{port}", s3={"addressing_style": "virtual"})
        s3.put_object(Bucket=b, Key="by/host", Body=b"hosted")
        equal(get(b, "by/host", s3), b"hosted")
        equal([o["Key"] for o in s3.list_objects_v2(Bucket=b)["Contents"]], ["by/host"], "listed")
    finally:
        socket.getaddrinfo = resolve
    equal(get(b, "by/host"), b"hosted", "by path")


def deletes_of_a_thousand():
    b = bucket()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: S3.put_object(Bucket=b, Key=f"d/{n:04}", Body=b""), range(300)))
    objects = [{"Key": f"d/{n:04}"} for n in range(1000)]
    equal(len(S3.delete_objects(Bucket=b, Delete={"Objects": objects})["Deleted"]), 1000, "deleted")
    refused("MalformedXML", S3.delete_objects, Bucket=b, Delete={"Objects": [*objects, {"Key": "one more"}]})
    S3.delete_bucket(Bucket=b)


def write_then_read_then_list_agree():
    b = bucket()

    def work(worker):
        s3 = client()
        for index in range(15):
            key, body = f"{worker}/{index}", os.urandom(2000)
            s3.put_object(Bucket=b, Key=key, Body=body)
            equal(get(b, key, s3) == body, True, "read after write")
            equal(key in [o["Key"] for o in s3.list_objects_v2(Bucket=b, Prefix=key)["Contents"]], True, "list after write")
            s3.delete_object(Bucket=b, Key=key)
            equal(s3.list_objects_v2(Bucket=b, Prefix=key)["KeyCount"], 0, "list after delete")

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))


TESTS = [
    simple_put_and_get_of_every_size, bodies_of_every_kind, unsigned_and_signed_payloads, upload_file_in_every_mode,
    upload_fileobj_of_a_stream, managed_copy, every_checksum_algorithm, multipart_checksums, odd_keys_are_all_different_objects,
    keys_that_are_too_long_or_not_text, lists_in_both_versions, conditional_writes, one_of_many_creates_wins, conditional_reads,
    ranges, presigned_urls, metadata_tags_and_system_headers, multipart_rules, errors_by_name, keys_secrets_and_strangers,
    virtual_host_style, deletes_of_a_thousand, write_then_read_then_list_agree,
]

if __name__ == "__main__":
    run(TESTS)
