"""How others lost data, time or trust with moves: each a test, which begins with what happened. Prints one line a test;
arguments name the tests to run.

Each test has a gateway of its own, with folders `hot`, `cold`, `far` and the bucket `cloud` of another gateway, behind a door
that loses answers. HOLDALL_MOTO is a server of S3's whose buckets keep versions. What goes wrong in the middle of a move is in
`mishaps.py`.
"""
import contextlib
import hashlib
import os
import random
import shutil
import signal
import tempfile
from pathlib import Path

import mishaps
from checks import holds, run, soon
from connection import client
from world import BEHIND, BUCKET, FOLDERS, LARGE, MIB, SILOS, SMALL, World, body, code, filled, health, in_parts


def there_and_back(world, look):
    """Moves all of it through every silo and home again; what `look` sees must stay."""
    before = look()
    for here, there in zip(SILOS, (*SILOS[1:], SILOS[0])):
        world.drain(here, there)
        after = look()
        changed = {key: (before.get(key), after.get(key)) for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        holds(not changed, f"from {here} to {there} this changed: {changed}")
    world.settled()


def number_06_what_has_parts_keeps_them():
    """minio, rustfs: a multipart object that had been moved could not be read whole any more, or not by part, or by other ETags."""
    parts = {1: body(1, 5 * MIB + 1), 4: body(4, 5 * MIB), 9: body(9, 77)}
    whole = b"".join(parts.values())
    borders = [0, 5 * MIB + 1, 10 * MIB + 1, len(whole)]
    with World() as world:
        in_parts(world, "k", parts)
        world.s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "k"})
        sums = b"".join(hashlib.md5(bytes_of).digest() for bytes_of in parts.values())
        etag = f'"{hashlib.md5(sums).hexdigest()}-3"'

        def look():
            for key in ("k", "copy"):
                holds(world.get(key) == whole, f"{key} is not what was uploaded")
                holds(world.s3.head_object(Bucket=BUCKET, Key=key)["ETag"] == etag, f"{key} has another ETag")
                for number, bytes_of in parts.items():
                    got = world.s3.get_object(Bucket=BUCKET, Key=key, PartNumber=number)
                    holds(got["Body"].read() == bytes_of and got["PartsCount"] == 3, f"part {number} of {key} is not what was uploaded")
                for border in borders[1:-1]:
                    for first, last in ((border - 1, border), (border - 70, border + 70), (border, border), (1, border + 1)):
                        got = world.get(key, Range=f"bytes={first}-{last}")
                        holds(got == whole[first : last + 1], f"{first} to {last} of {key} are other bytes")
                holds(code(world.s3.get_object, Bucket=BUCKET, Key=key, PartNumber=2) == "InvalidPart", "there is a part 2")
            return {}

        there_and_back(world, look)


def number_07_what_was_brought_near_stays_listed_and_the_far_copy_stays():
    """minio: an object that had been restored for a time vanished from lists, or its remote copy was deleted with the restored one."""
    near = '[objective.near]\non = "s3://"\ncopy_on_read = ["hot"]\nmax = "1GiB"\n'
    with World('[align]\nevery = "1s"\n', writes=["cloud"]) as world:
        bodies = filled(world, 3)
        far = world.blobs("cloud")
        (world.folder / "near.toml").write_text(near)
        world.command("apply", "-f", world.folder / "near.toml")
        read = ["k01", "k03"]
        for key in read:
            world.get(key)
        soon(lambda: all(world.on(key) == ["cloud", "hot"] for key in read), "what is read has no copy near")
        world.reads({key: bodies[key] for key in bodies}, "with a copy near")
        holds(far.items() <= world.blobs("cloud").items(), "the far copy went when a near one came")
        # A copy near goes as a far one would: it is swept.
        soon(lambda: all("hot" in world.on(key) for key in bodies), "what is read has no copy near")
        (world.folder / "near.toml").write_text(near.replace("1GiB", "1KiB"))
        world.command("apply", "-f", world.folder / "near.toml")
        soon(lambda: all(world.on(key) == ["cloud"] for key in bodies), "the copies near stay")
        world.swept()
        holds(not world.blobs("hot"), "the bytes of copies near stay")
        world.reads(bodies, "once the copies near are gone")
        world.command("objective", "delete", "near")
        world.command("objective", "set", "archive", "--on", "s3://", "--place", "cloud")
        world.command("place", f"s3://{BUCKET}/k01", "--on", "hot", "--hold", "3s")
        world.reads(bodies, "while it is held near")
        soon(lambda: world.on("k01") == ["cloud"], "what was held for a time does not go back")
        world.reads(bodies, "once it is back")
        world.settled()


def number_09_old_objects_move_and_what_does_not_says_why():
    """minio: objects from before the rule never moved, and neither log nor status said what they waited for."""
    with World() as world:
        bodies = filled(world, 2)
        for silo in ("hot", "cold"):
            world.command("silo", "set", silo, "--label", "site=one")
        away = world.at("cold").with_name("away")
        apart = ["--copies", "2", "--apart", "site", "--never", "far", "--never", "cloud"]
        stands = {
            "is paused": (lambda: world.command("silo", "pause", "cold"), lambda: world.command("silo", "resume", "cold")),
            "takes no new bytes": (lambda: world.command("silo", "cordon", "cold"), lambda: world.command("silo", "uncordon", "cold")),
            "is down": (lambda: goes(world, "cold", away), lambda: away.rename(world.at("cold"))),
            "no silo is allowed": (
                lambda: world.command("objective", "set", "ban", "--on", "s3://", "--never", "cold"),
                lambda: world.command("objective", "delete", "ban"),
            ),
            "is of the same site": (
                lambda: world.command("objective", "set", "ban", "--on", "s3://", *apart),
                lambda: world.command("objective", "delete", "ban"),
            ),
        }
        for reason, (stand, give_way) in stands.items():
            stand()
            place = ["--place", "cold", "--place", "hot"] if "site" in reason else ["--place", "cold"]
            world.command("objective", "set", "archive", "--on", f"s3://{BUCKET}/", *place)
            told = lambda: [wait["reason"] for wait in world.said("plan")["waits"]]  # noqa: E731
            holds(told() and all(reason in why for why in told()), f"`plan` says {told()}, and it {reason}")
            why = world.said("why", f"s3://{BUCKET}/k00")["extents"][0]
            holds(reason in (why["waits_for"] or ""), f"`why` says {why}, and it {reason}")
            soon(lambda: reason in str(world.said("status")["alignment"]), f"`status` does not say that it {reason}")
            holds(all(world.on(key) == ["hot"] for key in bodies), f"it moved though it {reason}")
            give_way()
            if "site" not in reason:
                soon(lambda: all(world.on(key) == ["cold"] for key in bodies), f"it never moves, though nothing {reason} any more")
            holds(not told(), f"`plan` still says {told()}")
            world.command("objective", "delete", "archive")
            world.command("place", f"s3://{BUCKET}/", "--on", "hot")
        for when in ("age > days(30)", "tags.class == 'raw'"):
            world.command("objective", "set", "archive", "--on", f"s3://{BUCKET}/", "--place", "cold", "--when", when)
            why = world.said("why", f"s3://{BUCKET}/k00")["objectives"][0]
            holds(why["holds"] is False and when in why["wish"], f"`why` does not say that `{when}` does not hold: {why}")
        world.settled()
        world.reads(bodies, "in the end")


def goes(world, silo, away):
    """A silo's folder is not there."""
    world.at(silo).rename(away)
    soon(lambda: health(world, silo) == "down", f"nobody sees that {silo} is down")


HEADERS = {
    "ContentType": "text/x-moves; charset=utf-8", "CacheControl": "max-age=7, private", "ContentEncoding": "x-none",
    "ContentDisposition": 'attachment; filename="a b"', "ContentLanguage": "eo", "Metadata": {"colour": "deep blue", "long": "m" * 1500},
    "StorageClass": "STANDARD_IA",
}
TAGS = [{"Key": "team", "Value": "night shift"}, {"Key": "empty", "Value": ""}]


def number_12_headers_tags_and_classes_stay():
    """seaweedfs, rclone: a copy to another store lost the content type, the encoding, tags, or the storage class."""
    with World() as world:
        tagging = "team=night%20shift&empty="
        for key, length in (("small", SMALL), ("large", LARGE), ("empty", 0)):
            world.put(key, body(key, length), Tagging=tagging, ChecksumAlgorithm="SHA256", **HEADERS)
        in_parts(world, "parts", {1: body(1, 5 * MIB), 2: b"2"}, Tagging=tagging, ChecksumAlgorithm="CRC32", **HEADERS)
        for key in world.keys():
            source = {"Bucket": BUCKET, "Key": key}
            world.s3.copy_object(Bucket=BUCKET, Key=f"copy-{key}", CopySource=source, StorageClass="STANDARD_IA")
        sums = {key: checksums(world, key) for key in world.keys()}
        holds(all(sums[key] for key in ("small", "large", "empty", "parts")), f"checksums are missing: {sums}")

        def look():
            for key in world.keys():
                head = world.s3.head_object(Bucket=BUCKET, Key=key)
                lost = {name for name, value in HEADERS.items() if head.get(name) != value}
                holds(not lost, f"{key} has other {lost}")
                tags = world.s3.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"]
                holds(sorted(tags, key=str) == sorted(TAGS, key=str), f"{key} has tags {tags}")
            return {key: checksums(world, key) for key in world.keys()}

        there_and_back(world, look)
        # What could be lost on the way is not promised in the first place.
        refused = code(world.s3.put_object, Bucket=BUCKET, Key="sealed", Body=b"x", ServerSideEncryption="aws:kms")
        holds(refused == "NotImplemented" and "sealed" not in world.keys(), f"encryption that is not done is answered by {refused}")


def checksums(world, key):
    head = world.s3.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
    return {name: value for name, value in head.items() if name.startswith("Checksum")}


def number_13_etag_and_last_modified_stay():
    """s3proxy, seaweedfs: a move gave objects other ETags and dates, and every client that synchronizes took them for new."""
    nas = Path(tempfile.mkdtemp(prefix="holdall-moves-nas-"))
    (nas / "f").write_bytes(body("f", LARGE))
    (nas / "g").write_bytes(b"g")
    os.utime(nas / "g", (1_000_000_000, 1_000_000_000))
    try:
        with World(f'[silo.nas]\nurl = "file://{nas}"\naccess = "read-only"\n') as world:
            bodies = filled(world, 2) | {"empty": b"", "f": body("f", LARGE), "g": b"g"}
            world.put("empty", b"")
            in_parts(world, "parts", {1: body(1, 5 * MIB), 2: b"2"})
            world.command("assimilate", "nas:", "--into", f"s3://{BUCKET}/")
            soon(lambda: {"f", "g"} <= set(world.keys()), "the files are not taken over")

            def look():
                shown = {}
                for o in world.s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
                    head = world.s3.head_object(Bucket=BUCKET, Key=o["Key"])
                    one = {"IfNoneMatch": head["ETag"]}, {"IfModifiedSince": head["LastModified"]}
                    for condition in one:
                        holds(code(world.s3.get_object, Bucket=BUCKET, Key=o["Key"], **condition) == "304", f"{o['Key']} is new")
                    shown[o["Key"]] = [o["ETag"], o["LastModified"], o["Size"], head["ETag"], head["LastModified"]]
                return shown

            before = look()
            world.drain("nas", "hot")
            holds(look() == before, f"what lay in place changed when it moved: {look()}, was {before}")
            there_and_back(world, look)
            holds(all(world.get(key) == bytes_of for key, bytes_of in bodies.items()), "it reads other bytes")
    finally:
        shutil.rmtree(nas)


def number_14_a_deleted_key_stays_deleted():
    """Sippy's documentation: a key that was deleted came back from the old store when that was looked through again."""
    nas = Path(tempfile.mkdtemp(prefix="holdall-moves-nas-"))
    for name in ("taken", "moved", "stays"):
        (nas / name).write_bytes(body(name, LARGE))
    try:
        with World(f'[silo.nas]\nurl = "file://{nas}"\naccess = "read-only"\n') as world:
            root = world.said("assimilate", "nas:", "--into", f"s3://{BUCKET}/", "--every", "1s")["id"]
            soon(lambda: world.keys() == ["moved", "stays", "taken"], "the files are not taken over")
            bodies = {"stays": body("stays", LARGE)} | filled(world, 2)
            world.command("place", f"s3://{BUCKET}/moved", "--on", "hot")
            world.drain("hot", "cold")
            kept = {blob: (world.at("cold") / "blobs" / blob).read_bytes() for blob in world.blobs("cold")}
            for key in ("taken", "moved", "k00", "k01"):
                world.delete(key)
                bodies.pop(key, None)
            world.reads(bodies, "once they are deleted")
            world.drain("cold", "hot")
            for _ in range(2):
                passed(world, root)
                world.reads(bodies, "after passes and a drain back")
                world.killed(signal.SIGTERM)
                # The old store is as it was before: its bytes are back, too.
                for blob, bytes_of in kept.items():
                    (world.at("cold") / "blobs" / blob).parent.mkdir(parents=True, exist_ok=True)
                    (world.at("cold") / "blobs" / blob).write_bytes(bytes_of)
                world.again()
                passed(world, root)
                world.reads(bodies, "after a restart")
            world.swept()
            holds(not world.blobs("cold"), f"what nobody names stays in the old store: {world.blobs('cold')}")
            world.reads(bodies, "after the sweep")
            holds(sorted(file.name for file in nas.iterdir()) == ["moved", "stays", "taken"], "a file of others is gone")
    finally:
        shutil.rmtree(nas)


def passed(world, root):
    """Waits for two passes more: one may have begun before."""
    passes = lambda: world.said("assimilate", "status", str(root))["passes"]  # noqa: E731
    before = passes()
    soon(lambda: passes() >= before + 2, "no pass ends")


def number_15_one_delete_is_for_all_silos():
    """noobaa: the same key lay in three stores, was deleted once, and was read again from one of the others."""
    with World() as world:
        bodies = filled(world, 3)
        three = ["--place", "hot", "--place", "cold", "--place", "cloud", "--copies", "3"]
        world.command("objective", "set", "three", "--on", "s3://", *three)
        soon(lambda: all(world.on(key) == ["cloud", "cold", "hot"] for key in bodies), "there are no three copies")
        for key in list(bodies):
            world.delete(key)
            holds(world.get(key) == "NoSuchKey", f"{key} reads though it was deleted")
        for silo in ("hot", "cold", "cloud"):
            holds(world.blobs(silo), f"{silo} never had a copy")
        world.killed()
        world.again()
        world.reads({}, "after a restart")
        world.settled()
        holds(not any(world.blobs(silo) for silo in SILOS), f"what was deleted is still held: { {s: world.blobs(s) for s in SILOS} }")
        world.reads({}, "in the end")


def number_16_a_silo_comes_again_and_probes_leave_nothing():
    """minio: a tier that was added again was "already in use", and what tried it out left objects in buckets that keep versions."""
    moto = client(url=os.environ["HOLDALL_MOTO"])
    moto.create_bucket(Bucket="versions")
    moto.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})

    def left():
        found = moto.list_object_versions(Bucket="versions")
        return [o["Key"] for kind in ("Versions", "DeleteMarkers") for o in found.get(kind, [])]

    url = f"s3://versions?endpoint={os.environ['HOLDALL_MOTO']}&region=us-east-1"
    keys = ["--access-key-id-env", "HOLDALL_ACCESS_KEY_ID", "--secret-access-key-env", "HOLDALL_SECRET_ACCESS_KEY"]
    with World() as world:
        bodies, folder = filled(world, 2), f"file://{world.folder / 'attic'}"
        for turn in range(3):
            for name, at in (("kept", [url, *keys]), ("attic", [folder])):
                world.command("silo", "create", name, *at)
                world.command("silo", "probe", name, "--size", "1MiB")
                holds(f"overlaps silo `{name}`" in world.refused("silo", "create", "twice", *at), "one bucket or folder is two silos")
            holds(left() == ["holdall-silo.json"], f"a probe left {left()}")
            for name in ("kept", "attic"):
                world.command("place", f"s3://{BUCKET}/", "--on", name)
                world.reads(bodies, f"in {name}")
            world.command("drain", "attic", "--to", "hot")
            world.swept()
            holds(left() == ["holdall-silo.json"], f"what moved away left {left()}")
            for name in ("kept", "attic"):
                world.command("silo", "cordon", name)
                world.command("silo", "delete", name)
            world.reads(bodies, f"without them, {turn}")


def number_17_a_silo_that_holds_something_stays():
    """minio: a tier was removed though it still held objects, and those were gone."""
    with World(writes=["hot"]) as world:
        bodies = filled(world, 3)
        world.command("place", f"s3://{BUCKET}/", "--on", "cold")
        world.refused("silo", "delete", "cold")
        world.command("silo", "cordon", "cold")
        told = world.refused("silo", "delete", "cold")
        holds(f"holds {len(bodies)} extents" in told, f"that it holds something is not why it stays: {told}")
        world.reads(bodies, "after a refused removal")
        upload = world.s3.create_multipart_upload(Bucket=BUCKET, Key="open")["UploadId"]
        world.command("silo", "uncordon", "cold")
        world.command("drain", "cold", "--to", "far")
        world.command("silo", "delete", "cold")
        holds("cold" not in [silo["name"] for silo in world.said("silo", "list")], "it is still there")
        world.killed(signal.SIGTERM)
        config = world.folder / "holdall.toml"
        config.write_text(config.read_text().replace('[silo.cold]\nurl = "file:cold"\n', ""))
        world.again()
        world.reads(bodies, "once it is removed")
        world.s3.abort_multipart_upload(Bucket=BUCKET, Key="open", UploadId=upload)
        world.command("check", "--deep")


def number_18_bytes_in_silos_are_those_of_the_index():
    """seaweedfs: after moves the store held more, or less, than the index said, and nobody could tell why."""
    with World() as world:
        bodies = filled(world, 4)
        world.settled()
        draw = random.Random(18)
        for turn in range(4):
            there = draw.choice(SILOS)
            world.command("place", f"s3://{BUCKET}/k{turn % 2}", "--on", there)
            changed = draw.sample(sorted(bodies), 3)
            bodies[changed[0]] = body((turn, "new"), draw.choice((0, SMALL, LARGE)))
            world.put(changed[0], bodies[changed[0]])
            world.s3.copy_object(Bucket=BUCKET, Key=f"copy{turn}", CopySource={"Bucket": BUCKET, "Key": changed[1]})
            bodies[f"copy{turn}"] = bodies[changed[1]]
            world.delete(changed[2])
            del bodies[changed[2]]
            world.settled()
        for silo in FOLDERS:
            world.drain(silo, "cloud")
        world.settled()
        world.reads(bodies, "in the end")
        held = sum(len(bytes_of) for key, bytes_of in bodies.items())
        counted = world.said("du")["buckets"]
        holds([row["bytes"] for row in counted if row["name"] == BUCKET] == [held], f"`du` says {counted}, and there are {held} bytes")
        # A byte that no row names, and one that is missing, are found.
        lost = next(iter(world.blobs("cloud")))
        BEHIND.delete_object(Bucket=world.behind, Key=f"blobs/{lost}")
        told = world.differs()
        holds(told and lost in told, f"a blob that is gone is not missed: {told}")
        world.command("check", code=1)


TESTS = {name: test for name, test in [*vars(mishaps).items(), *globals().items()] if name.startswith("number_")}

if __name__ == "__main__":
    run([TESTS[name] for name in sorted(TESTS)])
