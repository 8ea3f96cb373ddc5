"""A gateway with silos to move things between: three folders, and a bucket of another gateway behind a door."""
import hashlib
import itertools
import json
import os
import signal
import time

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from checks import holds
from connection import client
from door import Door
from runner.gateway import Gateway
from runner.house import Failed

FOLDERS = ("hot", "cold", "far")
SILOS = (*FOLDERS, "cloud")
BUCKET = "moves"
MIB = 1 << 20
# Up to 64 KiB objects share a blob.
SMALL, LARGE = 3_000, 300_000
KEYS = '{ access_key_id_env = "HOLDALL_ACCESS_KEY_ID", secret_access_key_env = "HOLDALL_SECRET_ACCESS_KEY" }'
# Backups of the index are no bytes of objects: without them each silo holds what rows name, and nothing else.
CONFIG = """sweep_grace = "0s"
[backup]
every = "{backups}"
[silo.hot]
url = "file:hot"
[silo.cold]
url = "file:cold"
[silo.far]
url = "file:far"
[silo.cloud]
url = "s3://{bucket}?endpoint={door}&region=us-east-1"
credentials = {keys}
[write]
to = [{writes}]
"""
BEHIND = client()
_numbers = itertools.count(1)


class World(Gateway):
    """Everything is written to the first silo that takes it; what is retired goes with the next sweep."""

    def __init__(self, more="", writes=SILOS, backups="0s"):
        self.door, self.behind = Door(os.environ["HOLDALL_URL"]), f"cloud-{next(_numbers)}"
        BEHIND.create_bucket(Bucket=self.behind)
        writes = ", ".join(f'"{silo}"' for silo in writes)
        config = CONFIG.format(bucket=self.behind, door=self.door.url, keys=KEYS, writes=writes, backups=backups)
        super().__init__("moves", config + more)
        self.s3 = client(url=self.url, max_pool_connections=80)

    def __enter__(self):
        super().__enter__()
        self.s3.create_bucket(Bucket=BUCKET)
        return self

    def __exit__(self, *gone):
        super().__exit__(*gone)
        self.door.close()

    def said(self, *args):
        """What `holdall …` answers."""
        return json.loads(self.command(*args, "--json"))

    def refused(self, *args):
        """Why `holdall …` does not do it."""
        try:
            done = self.command(*args)
        except Failed as failed:
            return str(failed)
        raise AssertionError(f"`holdall {' '.join(map(str, args))}` is not refused: {done}")

    def ordered(self, *args):
        """The number of a job that nobody waits for."""
        return self.said(*args, "--detach")["id"]

    def job(self, number):
        """A job as it stands."""
        return next(job for job in self.said("job", "list") if job["id"] == number)

    def ended(self, job):
        """Waits for a job."""
        self.command("job", "watch", job, "--wait", "done")
        return self.job(job)

    def drain(self, here, there):
        """Moves all of a silo, and waits until it is empty."""
        self.command("drain", here, "--to", there, "--wait", "done")
        self.swept()
        left = self.blobs(here) if here in SILOS else None
        holds(not left, f"{here} was drained to {there} and holds {left}")

    def killed(self, by=signal.SIGKILL):
        """Ends it; `again` starts it."""
        self.process.send_signal(by)
        self.process.wait(60)

    def put(self, key, body, **more):
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body, **more)

    def get(self, key, **more):
        """An object's bytes; the code of an error in their place."""
        try:
            return self.s3.get_object(Bucket=BUCKET, Key=key, **more)["Body"].read()
        except ClientError as error:
            return error.response["Error"]["Code"]

    def tried(self, key):
        """As `get`, but a body that ends early or is not what it should be counts as an error, too."""
        try:
            return self.get(key)
        except (BotoCoreError, HTTPError) as error:
            return type(error).__name__

    def delete(self, key):
        self.s3.delete_object(Bucket=BUCKET, Key=key)

    def keys(self):
        return [o["Key"] for o in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    def reads(self, bodies, when):
        """Each of these keys has these bytes, and there is no other key."""
        holds(self.keys() == sorted(bodies), f"{when}, the keys are {self.keys()}, not {sorted(bodies)}")
        for key, body in bodies.items():
            got = self.get(key)
            holds(got == body, f"{when}, {key} reads {short(got)}, not {short(body)}")

    def where(self, key):
        """Every replica of an object's bytes."""
        return self.said("where", f"s3://{BUCKET}/{key}")

    def on(self, key):
        """The silos that count for an object."""
        return sorted({replica["silo"] for replica in self.where(key) if replica["state"] == "verified"})

    def at(self, silo):
        """A silo's folder."""
        return self.folder / "data" / silo

    def blobs(self, silo):
        """What lies in a silo, whatever the index says: names and lengths."""
        if silo == "cloud":
            pages = BEHIND.get_paginator("list_objects_v2").paginate(Bucket=self.behind, Prefix="blobs/")
            found = [(o["Key"], o["Size"]) for page in pages for o in page.get("Contents", [])]
            return {key.removeprefix("blobs/"): size for key, size in found}
        at = self.at(silo) / "blobs"
        return {str(file.relative_to(at)): file.stat().st_size for file in at.rglob("*") if file.is_file()}

    def swept(self):
        """Sweeps until nothing waits; how many orphans there were."""
        orphans, deadline = 0, time.monotonic() + 60
        while True:
            done = self.said("sweep", "--now")
            orphans += done["orphans"]
            if not any(done[what] for what in ("replicas", "orphans", "waiting")):
                return orphans
            holds(time.monotonic() < deadline, f"there is no end to what the sweep finds: {done}")
            time.sleep(0.05)

    def settled(self):
        """Once swept: each silo holds exactly the blobs that rows name, counts and bytes are those of the rows, every byte reads."""
        deadline, told = time.monotonic() + 30, "sweeps find orphans for ever"
        while self.swept() or (told := self.differs()):
            holds(time.monotonic() < deadline, told)
        self.command("check", "--deep")

    def differs(self):
        """Where a silo, its counts, and the rows of all objects do not say the same; nothing where they do."""
        rows = {}
        for bucket in self.s3.list_buckets()["Buckets"]:
            for key in self.s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
                for replica in self.said("where", f"s3://{bucket['Name']}/{key['Key']}"):
                    rows[replica["extent"], replica["silo"]] = replica
        counts, used = {silo["name"]: silo for silo in self.said("silo", "list")}, self.said("du")["silos"]
        for silo in SILOS:
            named = [replica for replica in rows.values() if replica["silo"] == silo]
            names, there = {replica["blob"].split("@")[0] for replica in named}, self.blobs(silo)
            if set(there) != names:
                return f"{silo} holds {sorted(set(there) - names)} too many, {sorted(names - set(there))} are missing"
            extents, size = len(named), sum(replica["bytes"] for replica in named)
            count = counts[silo]
            if (count["extents"], count["used"], count["retired_extents"]) != (extents, size, 0):
                return f"{silo} counts {count['extents']} of {count['used']} bytes, rows {extents} of {size}"
            if [(row["objects"], row["bytes"]) for row in used if row["name"] == silo] != [(extents, size)]:
                return f"`du` says something else of {silo}: {used}"
            if size > sum(there.values()):
                return f"{silo} has {sum(there.values())} bytes of {size}"
        return None


def body(seed, length):
    """Bytes that no other seed has."""
    block = hashlib.sha256(str(seed).encode()).digest()
    return (block * (length // len(block) + 1))[:length]


def short(what):
    return what if isinstance(what, str) else f"{len(what)} bytes of {hashlib.sha256(what).hexdigest()[:8]}"


def filled(world, count, name="k"):
    """As many small objects and as many large ones; their bytes."""
    bodies = {f"{name}{n:02}": body((name, n), (SMALL, LARGE)[n % 2] + n) for n in range(count * 2)}
    for key, bytes_of in bodies.items():
        world.put(key, bytes_of)
    return bodies


def code(call, **args):
    """The code of the error that a call ends in."""
    try:
        call(**args)
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError(f"{call.__name__} of {args.get('Key')} is not refused")


def in_parts(world, key, parts, **more):
    """Uploads bytes by part number; with CRC32, as boto3 has it."""
    upload = world.s3.create_multipart_upload(Bucket=BUCKET, Key=key, **more)["UploadId"]
    done = []
    for number, bytes_of in parts.items():
        part = world.s3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=bytes_of)
        done.append({"PartNumber": number, "ETag": part["ETag"]})
    world.s3.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": done})


def health(world, name):
    return next(silo["health"] for silo in world.said("silo", "list") if silo["name"] == name)
