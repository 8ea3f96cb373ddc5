"""What a data folder must still hold after an upgrade: `write FILE` fills a gateway and notes what it shows,
`read FILE` compares. Prints one line a test."""
import hashlib
import json
import os
import subprocess
import sys

from connection import client

HOLDALL = os.environ["HOLDALL_PROGRAM"]
MIB = 1 << 20
ODD_KEYS = ["a", "a/b", "a//b", "a/", "..", "/lead", "sp ace", "per%cent", "😀", "é", "e\u0301", "Case", "case", "k" * 1024, "tab\tx"]
SHOWN = ["ETag", "ContentLength", "ContentType", "CacheControl", "Metadata", "TagCount", "PartsCount", "LastModified", "ChecksumCRC32"]


def holdall(*args):
    """Runs the program against the gateway; its JSON."""
    done = subprocess.run([HOLDALL, *args, "--json"], capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line]


def compressible(length, seed):
    return (hashlib.sha256(str(seed).encode()).digest() * (length // 32 + 1))[:length]


def fill():
    """One of everything that has a row."""
    s3, other = client(), holdall("account", "create", "other")[0]
    theirs = client(other["access_key_id"], other["secret_access_key"])
    theirs.create_bucket(Bucket="theirs")
    theirs.put_object(Bucket="theirs", Key="k", Body=b"theirs")
    for bucket in ("kept", "empty"):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_tagging(Bucket="kept", Tagging={"TagSet": [{"Key": "team", "Value": "night shift"}]})
    for number, key in enumerate(ODD_KEYS):
        s3.put_object(Bucket="kept", Key=key, Body=compressible(number * 11, number))
    s3.put_object(Bucket="kept", Key="told", Body=b"told", ContentType="text/x-told", CacheControl="max-age=1", Tagging="a=b&c=d",
                  Metadata={"long": "m" * 1500, "short": "s"}, ChecksumAlgorithm="CRC32")
    s3.put_object(Bucket="kept", Key="blocks", Body=compressible(3 * MIB + 5, "blocks"))
    part = lambda upload, number, body: {"PartNumber": number, "ETag": s3.upload_part(  # noqa: E731
        Bucket="kept", Key=upload["Key"], UploadId=upload["UploadId"], PartNumber=number, Body=body)["ETag"]}
    parted = s3.create_multipart_upload(Bucket="kept", Key="parted")
    parts = [part(parted, 2, compressible(5 * MIB, "two")), part(parted, 9, b"nine")]
    s3.complete_multipart_upload(Bucket="kept", Key="parted", UploadId=parted["UploadId"], MultipartUpload={"Parts": parts})
    for key in ("parted", "told"):
        s3.copy_object(Bucket="kept", Key=f"copied/{key}", CopySource={"Bucket": "kept", "Key": key})
    s3.delete_object(Bucket="kept", Key="Case")
    upload = s3.create_multipart_upload(Bucket="kept", Key="open", Metadata={"of": "the upload"})
    begun = [part(upload, 1, compressible(5 * MIB, "open"))]
    holdall("place", "s3://kept/p", "--on", "cold")
    return {"other": other, "upload": {"id": upload["UploadId"], "parts": begun}}


def shown(other):
    """What the gateway shows of it all."""
    s3, theirs = client(), client(other["access_key_id"], other["secret_access_key"])
    objects = {}
    for entry in s3.list_objects_v2(Bucket="kept")["Contents"]:
        key = entry["Key"]
        got = s3.get_object(Bucket="kept", Key=key, ChecksumMode="ENABLED")
        objects[key] = {name: str(got.get(name)) for name in SHOWN} | {
            "sha256": hashlib.sha256(got["Body"].read()).hexdigest(), "listed": [entry["ETag"], entry["Size"], str(entry["LastModified"])],
            "tags": s3.get_object_tagging(Bucket="kept", Key=key)["TagSet"],
        }
    return {
        "objects": objects, "buckets": [[b["Name"], str(b["CreationDate"])] for b in s3.list_buckets()["Buckets"]],
        "bucket tags": s3.get_bucket_tagging(Bucket="kept")["TagSet"],
        "part": s3.head_object(Bucket="kept", Key="copied/parted", PartNumber=9)["ContentLength"],
        "theirs": theirs.get_object(Bucket="theirs", Key="k")["Body"].read().decode(),
        "uploads": [u["UploadId"] for u in s3.list_multipart_uploads(Bucket="kept").get("Uploads", [])],
        "usage": holdall("du"), "jobs": [[job["id"], job["state"]] for job in holdall("job", "list")[0]],
        "silos": {row["name"]: row["id"] for row in holdall("silo", "list")[0]},
    }


def finish(upload):
    """The upload that was open is completed, and an object is written and moved: the folder is in use again."""
    s3 = client()
    s3.complete_multipart_upload(Bucket="kept", Key="open", UploadId=upload["id"], MultipartUpload={"Parts": upload["parts"]})
    got = s3.get_object(Bucket="kept", Key="open")
    assert got["Metadata"] == {"of": "the upload"} and got["Body"].read() == compressible(5 * MIB, "open"), "the upload"
    s3.put_object(Bucket="kept", Key="new", Body=b"new")
    holdall("drain", "hot", "--to", "cold", "--wait", "done")
    assert s3.get_object(Bucket="kept", Key="new")["Body"].read() == b"new", "a new object"


def without_silos(shown):
    """What silos hold shrinks when what waited for the sweep goes, a few seconds after the start."""
    return shown | {"usage": [{of: rows for of, rows in usage.items() if of != "silos"} for usage in shown["usage"]]}


def differences(before, now, at=""):
    if isinstance(before, dict) and isinstance(now, dict):
        return [d for key in before.keys() | now.keys() for d in differences(before.get(key), now.get(key), f"{at}/{key}")]
    return [] if before == now else [f"{at[:80]} was {str(before)[:80]}, is {str(now)[:80]}"]


def test(name, act, *args):
    try:
        wrong = act(*args)
    except Exception as error:  # noqa: BLE001
        wrong = [f"{type(error).__name__}: {error}"]
    why = "; ".join(wrong or []).replace("\n", " ")[:400]
    print(f"failed {name}: {why}" if why else f"passed {name}", flush=True)
    return not why


if __name__ == "__main__":
    mode, file = sys.argv[1:]
    if mode == "write":
        filled = fill()
        with open(file, "w") as out:
            json.dump(filled | {"shown": json.loads(json.dumps(shown(filled["other"])))}, out, indent=1, sort_keys=True)
        print("passed written")
    else:
        with open(file) as kept:
            expected = json.load(kept)
        compare = lambda: differences(  # noqa: E731
            without_silos(expected["shown"]), without_silos(json.loads(json.dumps(shown(expected["other"])))))
        sys.exit(0 if all([test("shows-the-same", compare), test("goes-on", finish, expected["upload"])]) else 1)
