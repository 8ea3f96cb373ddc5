"""How others lost data, time or trust with lists, trees and what they took over: each a test. Prints one line a test;
arguments name the tests to run.

Servers that die in the middle (30) are the parts `outage` and `outages`. The gateway has silos `hot`, `cold`, `nas` (the folder HOLDALL_NAS, of others) and `theirs` (a bucket of another gateway).
"""
import concurrent.futures
import hashlib
import json
import os
from pathlib import Path

from botocore.exceptions import ClientError

from checks import holdall, holds, run, soon
from connection import client

NAS, HOT, THEIRS = Path(os.environ["HOLDALL_NAS"]), Path(os.environ["HOLDALL_HOT"]), os.environ["HOLDALL_THEIRS"]
MIB = 1 << 20
S3 = client()
_count = [0]


def bucket():
    """A new bucket."""
    _count[0] += 1
    name = f"pitfall-{_count[0]}"
    S3.create_bucket(Bucket=name)
    return name


def taken(folder, files):
    """A folder of the NAS with these files, taken over into a new bucket; its name, path, and the root's number."""
    at = NAS / folder
    for name, body in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(body)
    b = bucket()
    root = json.loads(holdall("assimilate", f"nas:{folder}/", "--into", f"s3://{b}/", "--every", "1s", "--json"))
    return b, at, root["id"]


def status(root):
    """A root as it stands."""
    return json.loads(holdall("assimilate", "status", str(root), "--json"))


def passed(root):
    """Waits for two passes more: one may have begun before."""
    before = status(root)["passes"]
    soon(lambda: status(root)["passes"] >= before + 2, "no pass ends")


def get(b, key):
    """An object's bytes; the code of an error in their place."""
    try:
        return S3.get_object(Bucket=b, Key=key)["Body"].read()
    except ClientError as error:
        return error.response["Error"]["Code"]


def keys(b, **kwargs):
    """All keys of a bucket, page by page."""
    found = []
    for page in S3.get_paginator("list_objects_v2").paginate(Bucket=b, **kwargs):
        found += [o["Key"] for o in page.get("Contents", [])]
    return found


def cpu():
    """Processor time of the gateway, in clock ticks."""
    fields = Path(f"/proc/{os.environ['HOLDALL_PID']}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def number_19_a_page_costs_what_a_page_costs():
    small, _, _ = taken("19-small", {f"f{n:05}": b"" for n in range(200)})
    large, _, _ = taken("19-large", {f"f{n:05}": b"" for n in range(10_000)})

    def cost(b):
        before = cpu()
        for _ in range(150):
            holds(S3.list_objects_v2(Bucket=b, MaxKeys=100)["KeyCount"] == 100, "a page is short")
        return cpu() - before

    cost(small)
    one, other = cost(small), cost(large)
    holds(other <= 3 * max(one, 10), f"a page of 10,000 keys costs {other} ticks, of 200 keys {one}")


def number_20_a_list_asks_no_silo():
    b, _, _ = taken("20", {f"f{n}": b"x" * n for n in range(1, 20)})
    away = NAS.rename(NAS.with_name("away"))
    try:
        listed = S3.list_objects_v2(Bucket=b)["Contents"]
        holds([o["Size"] for o in listed] == sorted((o["Size"] for o in listed), key=str), "sizes are wrong")
        holds(len(listed) == 19 and all(o["ETag"] for o in listed), "a list lacks something while the silo is away")
    finally:
        away.rename(NAS)


def number_21_what_is_listed_is_there():
    b = bucket()
    for n in range(60):
        S3.put_object(Bucket=b, Key=f"k{n:02}", Body=bytes([n]) * 2000)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        drain = pool.submit(holdall, "place", f"s3://{b}/", "--on", "cold")
        for n in range(0, 60, 2):
            S3.delete_object(Bucket=b, Key=f"k{n:02}")
            for key in keys(b)[:3]:
                holds(get(b, key) == bytes([int(key[1:])]) * 2000, f"{key} is listed and reads {get(b, key)[:40]!r}")
        drain.result()
    holds(keys(b) == [f"k{n:02}" for n in range(1, 60, 2)], "the list is not what was left")


def number_22_what_was_uploaded_is_there_at_once():
    b, _, root = taken("22", {f"f{n}": b"theirs" for n in range(50)})
    for n in range(30):
        S3.put_object(Bucket=b, Key=f"new{n}", Body=b"ours")
        S3.head_object(Bucket=b, Key=f"new{n}")
        holds(f"new{n}" in keys(b, Prefix="new"), "it is not listed")
    passed(root)
    holds(len(keys(b)) == 80 and get(b, "new7") == b"ours", "a pass took away what was uploaded")


def number_23_what_others_change_is_seen():
    b, at, _ = taken("23", {f"f{n:02}": b"before" for n in range(30)})
    (at / "f01").write_bytes(b"changed")
    (at / "new").write_bytes(b"new")
    (at / "f02").unlink()
    (at / "f03").rename(at / "moved")
    soon(lambda: get(b, "f01") == b"changed" and get(b, "new") == b"new", "what was changed is not seen")
    soon(lambda: get(b, "f02") == "NoSuchKey" and get(b, "moved") == b"before", "what is gone, or was renamed, is not seen")


def number_24_a_name_and_names_below_it():
    b = bucket()
    for body in (b"", b"x", b"y" * 100_000):
        for order in (("a", "a/b", "a/b/c"), ("z/b/c", "z/b", "z")):
            for key in order:
                S3.put_object(Bucket=b, Key=key, Body=body + key.encode())
            holds(all(get(b, key) == body + key.encode() for key in order), f"{order} do not all read")
            S3.delete_object(Bucket=b, Key=order[1])
            holds(get(b, order[0]) == body + order[0].encode() and get(b, order[2]) == body + order[2].encode(), "one took another")
    b, at, _ = taken("24", {f"keep{n}": b"k" for n in range(20)} | {"a": b"file", "d/x": b"below"})
    (at / "a").unlink()
    (at / "a").mkdir()
    (at / "a" / "b").write_bytes(b"now below")
    (at / "d" / "x").unlink()
    (at / "d").rmdir()
    (at / "d").write_bytes(b"now a file")
    soon(lambda: get(b, "a/b") == b"now below" and get(b, "d") == b"now a file", "what became a folder, or a file, is not seen")
    soon(lambda: get(b, "a") == get(b, "d/x") == "NoSuchKey", "what a folder was before is still there")


def number_25_a_name_with_and_without_a_slash():
    b = bucket()
    for key in ("foo", "foo/", "foo//"):
        S3.put_object(Bucket=b, Key=key, Body=key.encode())
    holds(keys(b) == ["foo", "foo/", "foo//"], f"the keys are {keys(b)}")
    S3.delete_object(Bucket=b, Key="foo/")
    holds((get(b, "foo"), get(b, "foo/"), get(b, "foo//")) == (b"foo", "NoSuchKey", b"foo//"), "one stands for another")


def number_26_nothing_depends_on_extended_attributes():
    b, more = bucket(), {f"m{n}": "v" * 180 for n in range(10)}
    S3.put_object(Bucket=b, Key="small", Body=b"x", Metadata=more, ContentType="text/odd")
    S3.put_object(Bucket=b, Key="large", Body=b"x" * 100_000, Metadata=more, ContentType="text/odd")
    for key in ("small", "large"):
        head = S3.head_object(Bucket=b, Key=key)
        holds((head["Metadata"], head["ContentType"]) == (more, "text/odd"), f"{key} has other metadata")
    found = [path for path in HOT.rglob("*") if os.listxattr(path)]
    holds(not found, f"{found[:3]} have extended attributes")


def number_27_long_names():
    b = bucket()
    names = ["n" * 255, "長" * 341, "k" * 1024, "/".join(["d" * 200] * 5), "😀" * 256]
    for body in (b"small", b"l" * 100_000):
        for name in names:
            S3.put_object(Bucket=b, Key=name, Body=body)
            holds(get(b, name) == body, f"{name[:20]}… does not read")
    for name in ("k" * 1025, "長" * 342):
        try:
            S3.put_object(Bucket=b, Key=name, Body=b"")
            raise AssertionError(f"{len(name.encode())} bytes are a key")
        except ClientError as error:
            holds(error.response["Error"]["Code"] == "KeyTooLongError", str(error))
    b, _, _ = taken("27", {"f" * 255: b"1", "長" * 85: b"2", "/".join(["d" * 200] * 4): b"3"})
    holds(len(keys(b)) == 3 and get(b, "長" * 85) == b"2", "a long file name is not taken over")


def number_28_no_two_keys_share_a_file_and_none_gets_out():
    b = bucket()
    names = ["a", "A", "a/", "a//", "a/b", "a//b", "/a", "..", "../a", "a/../b", ".", "./a", "a+b", "a b", "a%2Fb", "a%2fb", "\x01", "é",
             "e\u0301", "ﬁ", "fi", "con", "a:b", "a\\b", "~", "*", "a\tb", "a?b#c"]
    for size in (10, 70_000):
        for name in names:
            S3.put_object(Bucket=b, Key=name, Body=name.encode() * size)
        holds(sorted(keys(b)) == sorted(names), "a key is listed as another")
        wrong = [name for name in names if get(b, name) != name.encode() * size]
        holds(not wrong, f"{wrong} read other bytes")
    around = {path.name for path in HOT.parent.iterdir()}
    holds(not around & {"a", "b"}, f"a key lies outside of its silo: {around}")
    b, _, _ = taken("28", {"é": b"1", "e\u0301": b"2", "Case": b"3", "case": b"4", "a+b": b"5", "a%2Fb": b"6", " ": b"7"})
    holds((get(b, "é"), get(b, "e\u0301"), get(b, "Case"), get(b, "case")) == (b"1", b"2", b"3", b"4"), "two files are one key")
    holds((get(b, "a+b"), get(b, "a%2Fb"), get(b, " ")) == (b"5", b"6", b"7"), "a file's name is not its key")


def number_29_completing_copies_nothing():
    b = bucket()
    upload = S3.create_multipart_upload(Bucket=b, Key="k")["UploadId"]
    parts = []
    for number in (1, 2, 3):
        done = S3.upload_part(Bucket=b, Key="k", UploadId=upload, PartNumber=number, Body=bytes([number]) * (8 * MIB))
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
    before = written()
    S3.complete_multipart_upload(Bucket=b, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    holds(written() - before < 4 * MIB, f"completing 24 MiB wrote {(written() - before) >> 20} MiB")
    holds(len(get(b, "k")) == 24 * MIB, "it is not whole")


def written():
    """Bytes that the gateway had written so far."""
    lines = Path(f"/proc/{os.environ['HOLDALL_PID']}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


def number_31_what_was_completed_can_be_copied():
    b = bucket()
    for n in range(10):
        upload = S3.create_multipart_upload(Bucket=b, Key=f"k{n}")["UploadId"]
        part = S3.upload_part(Bucket=b, Key=f"k{n}", UploadId=upload, PartNumber=1, Body=bytes([n]) * 70_000)
        done = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        S3.complete_multipart_upload(Bucket=b, Key=f"k{n}", UploadId=upload, MultipartUpload=done)
        S3.copy_object(Bucket=b, Key=f"c{n}", CopySource={"Bucket": b, "Key": f"k{n}"})
        holds(get(b, f"c{n}") == bytes([n]) * 70_000, "the copy reads other bytes")


def number_37_a_failed_listing_hides_nothing_and_mends_itself():
    b, _, root = taken("37", {f"f{n:02}": b"here" for n in range(40)})
    away = NAS.rename(NAS.with_name("away"))
    NAS.mkdir()
    try:
        soon(lambda: status(root)["problem"], "nobody says that the folder is away")
        holds(len(keys(b)) == 40, "names are gone with the folder")
        holds(get(b, "f01") == "ServiceUnavailable", f"a file of a folder that is away reads {get(b, 'f01')!r}")
    finally:
        NAS.rmdir()
        away.rename(NAS)
    soon(lambda: get(b, "f01") == b"here", "it does not read though the folder is back")
    soon(lambda: not status(root)["problem"], "the problem is still told")
    holds(len(keys(b)) == 40, "names are gone")


def number_38_a_source_that_changes_under_a_read_ends_it():
    b, at, _ = taken("38", {"f": b"1" * (16 * MIB)})
    body = S3.get_object(Bucket=b, Key="f")["Body"]
    first = body.read(MIB)
    (at / "f").write_bytes(b"2" * (16 * MIB))
    try:
        rest = body.read()
        holds(set(first + rest) == set(b"1") and len(first + rest) == 16 * MIB, "a read is a mixture")
    except Exception as error:  # noqa: BLE001 - each client has its own word for a body that ends early
        holds(not isinstance(error, AssertionError), str(error))
    soon(lambda: get(b, "f") == b"2" * (16 * MIB), "the next read does not serve what is there")


def number_39_roots_do_not_overlap():
    b, _, _ = taken("39", {"a/f": b"x"})
    other = bucket()
    for silo, into in (("nas:39/a/", f"s3://{other}/"), ("nas:39/", f"s3://{other}/"), ("nas:", f"s3://{other}/")):
        holds("overlaps" in holdall("assimilate", silo, "--into", into, code=4), f"{silo} is taken over twice")
    (NAS / "39-other").mkdir()
    holds("overlaps" in holdall("assimilate", "nas:39-other/", "--into", f"s3://{b}/a/", code=4), "keys are of two roots")


def number_40_an_etag_of_parts_is_no_md5():
    them = client(url=THEIRS)
    upload = them.create_multipart_upload(Bucket="theirs", Key="parts")["UploadId"]
    bodies, parts = [b"a" * (5 * MIB), b"b" * 100], []
    for number, body in enumerate(bodies, 1):
        done = them.upload_part(Bucket="theirs", Key="parts", UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
    them.complete_multipart_upload(Bucket="theirs", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    them.put_object(Bucket="theirs", Key="plain", Body=b"plain")
    b = bucket()
    holdall("assimilate", "theirs", "--into", f"s3://{b}/", "--every", "1s")
    tags = {key: them.head_object(Bucket="theirs", Key=key)["ETag"] for key in ("parts", "plain")}
    holds(tags["parts"].endswith('-2"') and tags["plain"] == f'"{hashlib.md5(b"plain").hexdigest()}"', f"odd tags: {tags}")
    for when in ("in place", "moved"):
        for key, tag in tags.items():
            holds(S3.head_object(Bucket=b, Key=key)["ETag"] == tag, f"{when}, {key} has another ETag")
        holds(get(b, "parts") == b"".join(bodies) and get(b, "plain") == b"plain", f"{when}, it reads other bytes")
        holdall("drain", "theirs", "--to", "cold")


def number_41_what_was_moved_is_not_new():
    b, _, root = taken("41", {f"f{n}": os.urandom(3000) for n in range(30)})
    before = {o["Key"]: (o["ETag"], o["LastModified"]) for o in S3.list_objects_v2(Bucket=b)["Contents"]}
    holdall("place", f"s3://{b}/", "--on", "cold")
    passed(root)
    after = {o["Key"]: (o["ETag"], o["LastModified"]) for o in S3.list_objects_v2(Bucket=b)["Contents"]}
    holds(after == before, "what was moved is another object")
    counts = status(root)["counts"]
    holds((counts["made"], counts["changed"], counts["removed"]) == (0, 0, 0), f"a pass did something: {counts}")


TESTS = [test for name, test in list(globals().items()) if name.startswith("number_")]

if __name__ == "__main__":
    run(TESTS)
