"""AWS's command line, version 1, as a person types it."""
import hashlib
import json
import os
import urllib.request

# Names that a shell user has in a folder.
NAMES = ["plain.txt", "with space.txt", "plus+and%25.txt", "ünïcode-😀.txt", "deep/er/still.bin", "empty"]


def _aws(c, *args, **options):
    return c.sh(c.bin / "aws", *args, **options)


def _api(c, *args, **options):
    out = _aws(c, "s3api", *args, "--output", "json", **options)
    return json.loads(out) if out.strip() else {}


def _refused(c, code, *args):
    """Fails unless the service answers with this error code, which the exit code does not tell from others."""
    done = c.sh(c.bin / "aws", "s3api", *args, "--output", "json", code=None)
    c.check(f"({code})".encode() in done, f"{args[0]}: no {code} in {done[-300:]}")


def _bucket(c):
    name = c.bucket_name()
    _aws(c, "s3", "mb", f"s3://{name}")
    return name


def _tree(c, names=tuple(NAMES)):
    """A folder with one file a name."""
    root = c.folder / "tree"
    for index, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty" else f"{name} {index}\n".encode() * (index * 37 + 1))
    return root


def _contents(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def _big(c, mebibytes=20):
    path = c.folder / "big.bin"
    path.write_bytes(os.urandom(mebibytes << 20))
    return path


def mb_ls_rb(c):
    bucket = _bucket(c)
    c.check(bucket in _aws(c, "s3", "ls").decode(), "the new bucket is not listed")
    _aws(c, "s3", "rb", f"s3://{bucket}")
    c.check(bucket not in _aws(c, "s3", "ls").decode(), "the removed bucket is listed")


def cp_there_and_back(c):
    bucket, root = _bucket(c), _tree(c)
    for name in NAMES:
        _aws(c, "s3", "cp", root / name, f"s3://{bucket}/x/{name}")
        _aws(c, "s3", "cp", f"s3://{bucket}/x/{name}", c.folder / "back")
        c.equal((c.folder / "back").read_bytes(), (root / name).read_bytes(), name)


def cp_recursive(c):
    bucket, root = _bucket(c), _tree(c)
    _aws(c, "s3", "cp", "--recursive", root, f"s3://{bucket}/a")
    _aws(c, "s3", "cp", "--recursive", f"s3://{bucket}/a", c.folder / "back")
    c.equal(_contents(c.folder / "back"), _contents(root), "the tree that came back")


def cp_multipart(c):
    bucket, big = _bucket(c), _big(c)
    _aws(c, "s3", "cp", big, f"s3://{bucket}/big")
    head = _api(c, "head-object", "--bucket", bucket, "--key", "big")
    c.check(head["ETag"].endswith('-3"'), f"ETag {head['ETag']} is not of 3 parts")
    _aws(c, "s3", "cp", f"s3://{bucket}/big", c.folder / "back")
    c.equal((c.folder / "back").read_bytes() == big.read_bytes(), True, "same bytes")


def cp_from_stdin_to_stdout(c):
    bucket = _bucket(c)
    _aws(c, "s3", "cp", "-", f"s3://{bucket}/stream", stdin=b"streamed " * 1000)
    c.equal(_aws(c, "s3", "cp", f"s3://{bucket}/stream", "-"), b"streamed " * 1000)


def cp_within_the_service(c):
    bucket, other, big = _bucket(c), _bucket(c), _big(c)
    _aws(c, "s3", "cp", big, f"s3://{bucket}/big")
    _aws(c, "s3", "cp", f"s3://{bucket}/big", f"s3://{other}/copied")
    (c.folder / "small").write_bytes(b"small")
    _aws(c, "s3", "cp", c.folder / "small", f"s3://{bucket}/small", "--metadata", "colour=blue", "--content-type", "image/x-test")
    _aws(c, "s3", "cp", f"s3://{bucket}/small", f"s3://{other}/small")
    head = _api(c, "head-object", "--bucket", other, "--key", "small")
    c.equal((head["ContentType"], head["Metadata"]), ("image/x-test", {"colour": "blue"}), "type and metadata")
    _aws(c, "s3", "cp", f"s3://{other}/copied", c.folder / "back")
    c.equal((c.folder / "back").read_bytes() == big.read_bytes(), True, "same bytes")


def sync_up_changes_and_deletes(c):
    bucket, root = _bucket(c), _tree(c)
    _aws(c, "s3", "sync", root, f"s3://{bucket}/s")
    c.equal(_aws(c, "s3", "sync", root, f"s3://{bucket}/s"), b"", "the second sync's output")
    (root / "plain.txt").write_bytes(b"changed and longer than before" * 9)
    (root / "with space.txt").unlink()
    out = _aws(c, "s3", "sync", "--delete", root, f"s3://{bucket}/s").decode()
    c.check("upload" in out and "delete" in out, f"sync said {out}")
    _aws(c, "s3", "sync", f"s3://{bucket}/s", c.folder / "back")
    c.equal(_contents(c.folder / "back"), _contents(root), "the tree that came back")


def mv_up_across_and_down(c):
    bucket, root = _bucket(c), _tree(c)
    body = (root / "plain.txt").read_bytes()
    _aws(c, "s3", "mv", root / "plain.txt", f"s3://{bucket}/one")
    _aws(c, "s3", "mv", f"s3://{bucket}/one", f"s3://{bucket}/two")
    _aws(c, "s3", "mv", f"s3://{bucket}/two", c.folder / "back")
    c.equal((c.folder / "back").read_bytes(), body)
    c.equal(_aws(c, "s3", "ls", f"s3://{bucket}"), b"", "what is left")


def rm_recursive_and_by_pattern(c):
    bucket, root = _bucket(c), _tree(c)
    _aws(c, "s3", "sync", root, f"s3://{bucket}/r")
    _aws(c, "s3", "rm", "--recursive", "--exclude", "*", "--include", "*.bin", f"s3://{bucket}/r")
    left = _aws(c, "s3", "ls", "--recursive", f"s3://{bucket}").decode()
    c.check("still.bin" not in left and "plain.txt" in left, f"left: {left}")
    _aws(c, "s3", "rb", "--force", f"s3://{bucket}")


def ls_groups_and_sums(c):
    bucket, root = _bucket(c), _tree(c)
    _aws(c, "s3", "sync", root, f"s3://{bucket}")
    c.check("PRE deep/" in _aws(c, "s3", "ls", f"s3://{bucket}").decode(), "no common prefix")
    out = _aws(c, "s3", "ls", "--recursive", "--summarize", f"s3://{bucket}").decode()
    c.check(f"Total Objects: {len(NAMES)}" in out, out)


def presign(c):
    bucket, root = _bucket(c), _tree(c)
    key = "ünï code+%.txt"
    _aws(c, "s3", "cp", root / "plain.txt", f"s3://{bucket}/{key}")
    # Left alone, this version signs URLs for us-east-1 the way of 2006, which is refused here.
    (c.folder / "config").write_text("[default]\ns3 =\n  signature_version = s3v4\n")
    env = c.gateway.aws_env() | {"AWS_CONFIG_FILE": str(c.folder / "config")}
    url = _aws(c, "s3", "presign", f"s3://{bucket}/{key}", "--expires-in", "60", env=env).decode().strip()
    c.check("X-Amz-Signature" in url, f"not signed by version 4: {url}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=20) as answer:
        c.equal(answer.read(), (root / "plain.txt").read_bytes())
    try:
        opener.open(url[:-1] + ("0" if url[-1] != "0" else "1"), timeout=20)
    except urllib.error.HTTPError as error:
        c.equal(error.code, 403, "status of a forged URL")
    else:
        c.check(False, "a forged URL is served")


def api_metadata_and_headers(c):
    bucket, root = _bucket(c), _tree(c)
    _api(c, "put-object", "--bucket", bucket, "--key", "k", "--body", root / "plain.txt", "--content-type", "text/x-a",
         "--cache-control", "max-age=7", "--content-disposition", "inline", "--content-language", "de",
         "--metadata", "a=1,b=two words", "--tagging", "t=1&u=2")
    head = _api(c, "head-object", "--bucket", bucket, "--key", "k")
    found = [head.get(name) for name in ("ContentType", "CacheControl", "ContentDisposition", "ContentLanguage", "Metadata")]
    c.equal(found, ["text/x-a", "max-age=7", "inline", "de", {"a": "1", "b": "two words"}], "headers")
    c.equal(head["ETag"].strip('"'), hashlib.md5((root / "plain.txt").read_bytes()).hexdigest(), "ETag")
    tags = _api(c, "get-object-tagging", "--bucket", bucket, "--key", "k")["TagSet"]
    c.equal(sorted((t["Key"], t["Value"]) for t in tags), [("t", "1"), ("u", "2")], "tags")
    _api(c, "copy-object", "--bucket", bucket, "--key", "k2", "--copy-source", f"{bucket}/k", "--metadata-directive", "REPLACE",
         "--metadata", "c=3", "--content-type", "text/x-b")
    head = _api(c, "head-object", "--bucket", bucket, "--key", "k2")
    c.equal((head["ContentType"], head["Metadata"]), ("text/x-b", {"c": "3"}), "replaced headers")


def api_ranges_and_conditions(c):
    bucket = _bucket(c)
    (c.folder / "body").write_bytes(b"0123456789")
    etag = _api(c, "put-object", "--bucket", bucket, "--key", "k", "--body", c.folder / "body")["ETag"]
    for range_, expected in [("bytes=2-4", b"234"), ("bytes=-3", b"789"), ("bytes=8-", b"89"), ("bytes=0-999", b"0123456789")]:
        _api(c, "get-object", "--bucket", bucket, "--key", "k", "--range", range_, c.folder / "part")
        c.equal((c.folder / "part").read_bytes(), expected, range_)
    _api(c, "get-object", "--bucket", bucket, "--key", "k", "--if-match", etag, c.folder / "part")
    _refused(c, "304", "get-object", "--bucket", bucket, "--key", "k", "--if-none-match", etag, c.folder / "part")
    _refused(c, "InvalidRange", "get-object", "--bucket", bucket, "--key", "k", "--range", "bytes=10-", c.folder / "part")
    _refused(c, "PreconditionFailed", "put-object", "--bucket", bucket, "--key", "k", "--body", c.folder / "body", "--if-none-match", "*")
    _api(c, "put-object", "--bucket", bucket, "--key", "k", "--body", c.folder / "body", "--if-match", etag)


def api_checksums(c):
    bucket, root = _bucket(c), _tree(c)
    for name in ("CRC32", "SHA1", "SHA256"):
        _api(c, "put-object", "--bucket", bucket, "--key", name, "--body", root / "plain.txt", "--checksum-algorithm", name)
        head = _api(c, "head-object", "--bucket", bucket, "--key", name, "--checksum-mode", "ENABLED")
        c.check(head.get(f"Checksum{name}"), f"no {name} in {head}")
        found = _api(c, "get-object-attributes", "--bucket", bucket, "--key", name, "--object-attributes", "Checksum", "ObjectSize", "ETag")
        c.equal(found["Checksum"][f"Checksum{name}"], head[f"Checksum{name}"], name)
        c.equal(found["ObjectSize"], (root / "plain.txt").stat().st_size, "size")


def api_lists(c):
    bucket, root = _bucket(c), _tree(c)
    _aws(c, "s3", "sync", root, f"s3://{bucket}")
    page = _api(c, "list-objects-v2", "--bucket", bucket, "--no-paginate", "--max-keys", "2")
    c.equal((page["KeyCount"], page["IsTruncated"]), (2, True), "first page")
    everything = _api(c, "list-objects-v2", "--bucket", bucket, "--page-size", "2")
    c.equal(sorted(o["Key"] for o in everything["Contents"]), sorted(NAMES), "keys")
    c.equal([o["Key"] for o in everything["Contents"]], sorted(NAMES, key=lambda n: n.encode()), "order")
    old = _api(c, "list-objects", "--bucket", bucket, "--delimiter", "/")
    c.equal(old["CommonPrefixes"], [{"Prefix": "deep/"}], "common prefixes")
    versions = _api(c, "list-object-versions", "--bucket", bucket)
    c.equal({v["VersionId"] for v in versions["Versions"]}, {"null"}, "version ids")


def api_multipart_by_hand(c):
    bucket, big = _bucket(c), _big(c, 11)
    body = big.read_bytes()
    upload = _api(c, "create-multipart-upload", "--bucket", bucket, "--key", "m", "--metadata", "a=b")["UploadId"]
    parts = []
    for number, (start, end) in {7: (6 << 20, 11 << 20), 2: (0, 6 << 20)}.items():
        (c.folder / "part").write_bytes(body[start:end])
        etag = _api(c, "upload-part", "--bucket", bucket, "--key", "m", "--upload-id", upload, "--part-number", number, "--body", c.folder / "part")["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    listed = _api(c, "list-parts", "--bucket", bucket, "--key", "m", "--upload-id", upload)
    c.equal([p["PartNumber"] for p in listed["Parts"]], [2, 7], "listed parts")
    c.equal([u["UploadId"] for u in _api(c, "list-multipart-uploads", "--bucket", bucket)["Uploads"]], [upload], "uploads")
    (c.folder / "parts.json").write_text(json.dumps({"Parts": sorted(parts, key=lambda p: p["PartNumber"])}))
    _api(c, "complete-multipart-upload", "--bucket", bucket, "--key", "m", "--upload-id", upload, "--multipart-upload", f"file://{c.folder}/parts.json")
    _api(c, "get-object", "--bucket", bucket, "--key", "m", c.folder / "back")
    c.equal((c.folder / "back").read_bytes() == body, True, "same bytes")
    last = _api(c, "get-object", "--bucket", bucket, "--key", "m", "--part-number", 7, c.folder / "part")
    c.equal((last["ContentLength"], last["PartsCount"]), (5 << 20, 2), "the part uploaded as 7")
    upload = _api(c, "create-multipart-upload", "--bucket", bucket, "--key", "n")["UploadId"]
    _api(c, "abort-multipart-upload", "--bucket", bucket, "--key", "n", "--upload-id", upload)
    c.equal(_api(c, "list-multipart-uploads", "--bucket", bucket).get("Uploads"), None, "uploads after abort")


def api_deletes(c):
    bucket, root = _bucket(c), _tree(c)
    _aws(c, "s3", "sync", root, f"s3://{bucket}")
    objects = {"Objects": [{"Key": name} for name in [*NAMES, "never there"]]}
    (c.folder / "d.json").write_text(json.dumps(objects))
    found = _api(c, "delete-objects", "--bucket", bucket, "--delete", f"file://{c.folder}/d.json")
    c.equal(len(found["Deleted"]), len(NAMES) + 1, "deleted")
    _api(c, "delete-object", "--bucket", bucket, "--key", "never there")
    _api(c, "delete-bucket", "--bucket", bucket)


def api_buckets(c):
    bucket = _bucket(c)
    _api(c, "head-bucket", "--bucket", bucket)
    _refused(c, "404", "head-bucket", "--bucket", "no-such-bucket-here")
    c.equal(_api(c, "get-bucket-location", "--bucket", bucket)["LocationConstraint"], c.gateway.region, "location")
    tags = "TagSet=[{Key=team,Value=blue}]"
    _api(c, "put-bucket-tagging", "--bucket", bucket, "--tagging", tags)
    c.equal(_api(c, "get-bucket-tagging", "--bucket", bucket)["TagSet"], [{"Key": "team", "Value": "blue"}], "tags")
    _api(c, "delete-bucket-tagging", "--bucket", bucket)
    _refused(c, "NoSuchBucketPolicy", "get-bucket-policy", "--bucket", bucket)
    c.check("Status" not in _api(c, "get-bucket-versioning", "--bucket", bucket), "a new bucket has versioning set")


TESTS = [
    mb_ls_rb, cp_there_and_back, cp_recursive, cp_multipart, cp_from_stdin_to_stdout, cp_within_the_service,
    sync_up_changes_and_deletes, mv_up_across_and_down, rm_recursive_and_by_pattern, ls_groups_and_sums, presign,
    api_metadata_and_headers, api_ranges_and_conditions, api_checksums, api_lists, api_multipart_by_hand, api_deletes, api_buckets,
]
