"""What goes wrong in the middle of a move: a kill, an answer that is lost, a silo that gives half, a write that meets it."""
import concurrent.futures
import contextlib
import hashlib
import os
import random
import shutil
import signal
import threading

from checks import holds, soon
from runner.house import Failed
from world import BUCKET, FOLDERS, LARGE, MIB, SILOS, SMALL, World, body, code, filled, health

# How the name of a blob ends that many objects share.
PACK = ".0000000000-0000000000000000"


def number_01_killed_at_every_step_of_a_move():
    """rustfs: a process that died in the middle of a transition left objects that were nowhere, or remote copies that nobody knew."""
    points = ["move-journalled:1", "move-copied:1", "move-put:3", "move-committed:4", "pack-written:1", "sweep-deleted:1"]
    with World() as world:
        bodies, here = filled(world, 4), "hot"
        for point in points:
            there = SILOS[(SILOS.index(here) + 1) % len(SILOS)]
            world.killed(signal.SIGTERM)
            world.again(HOLDALL_FAILPOINT=point)
            job = world.ordered("drain", here, "--to", there)
            holds(world.process.wait(60) == -signal.SIGKILL, f"{point} is not passed from {here} to {there}")
            world.again()
            world.reads(bodies, f"killed at {point}")
            world.ended(job)
            world.settled()
            holds(not world.blobs(here), f"killed at {point}, {here} still holds {world.blobs(here)}")
            on = {key: world.on(key) for key in bodies}
            holds(all(silos == [there] for silos in on.values()), f"killed at {point}, not all is in {there} alone: {on}")
            world.reads(bodies, f"after {point}")
            here = there


def number_02_an_answer_that_was_lost_says_neither_yes_nor_no():
    """rustfs: the tier had stored the bytes, but its answer was lost, and what was made of that was a guess."""
    with World() as world:
        bodies = filled(world, 2)
        for what in ("lost", "unsent", "late"):
            # All of a pass, so that a wrong guess would move something.
            world.door.befall(what, "PUT", 1000)
            job = world.ordered("drain", "hot", "--to", "cloud")
            soon(lambda: len(world.door.met) >= 3, f"nothing is {what}")
            holds(world.job(job)["moved_objects"] == 0, f"what was {what} counts as moved: {world.job(job)}")
            holds(all(world.on(key) == ["hot"] for key in bodies), f"{what}, and an object is not in hot alone")
            world.door.heal()
            world.ended(job)
            # What was sent long ago lands when all is done.
            holds((world.door.land() > 0) == (what == "late"), "what was late is not")
            world.reads(bodies, f"after answers were {what}")
            world.settled()
            world.door.befall("lost", "DELETE", 1)
            world.drain("cloud", "hot")
            holds(world.door.met, "no delete was lost")
            world.reads(bodies, "after the answer to a delete was lost")
            world.settled()
            holds(not world.blobs("cloud"), "what was deleted without an answer is still there")
    with World(writes=["cloud"]) as world:
        # In a pack, alone and sent at once, and streamed.
        for length in (SMALL, 100_000, LARGE):
            for what in ("lost", "unsent", "late"):
                before, after = body("before", length), body(what, length)
                world.put("k", before)
                world.door.befall(what, "PUT", 1000)
                holds(code(world.s3.put_object, Bucket=BUCKET, Key="k", Body=after) == "ServiceUnavailable", f"{what} is answered")
                world.door.heal()
                holds(world.get("k") == before, f"a write that was not acknowledged shows, though its answer was {what}")
                world.door.land()
                world.settled()
                holds(world.get("k") == before, f"what was {what} shows later")


def number_03_what_was_overwritten_or_deleted_is_collected_once():
    """rustfs: overwriting or deleting a transitioned object left its remote copy there for ever, or deleted it twice."""
    with World() as world:
        bodies = filled(world, 4)
        world.s3.copy_object(Bucket=BUCKET, Key="shared", CopySource={"Bucket": BUCKET, "Key": "k07"})
        bodies["shared"] = bodies["k07"]
        world.drain("hot", "cloud")
        remote = {key: world.where(key)[0]["blob"] for key in bodies}
        world.command("silo", "uncordon", "hot")
        bodies |= {key: body("new", LARGE) for key in ("k00", "k01")}
        world.put("k00", bodies["k00"])
        world.put("k01", bodies["k01"])
        for key in ("k02", "k03", "k07"):
            world.delete(key)
            del bodies[key]
        world.reads(bodies, "before the sweep")
        world.settled()
        world.settled()
        world.reads(bodies, "after the sweep")
        gone = [remote["k01"], remote["k03"]]
        deleted = lambda: [blob for blob in world.door.asked("DELETE") if not blob.endswith(PACK)]  # noqa: E731
        holds(sorted(deleted()) == sorted(gone), f"{deleted()} were deleted, and {gone} should be")
        world.delete("shared")
        del bodies["shared"]
        world.settled()
        holds(deleted()[2:] == [remote["k07"]], f"{deleted()} were deleted in the end")
        world.reads(bodies, "in the end")


def number_04_reads_go_on_through_sweeps():
    """rustfs: the pointer still named what the sweep had deleted, and readers got errors."""
    with World() as world:
        bodies = filled(world, 10)
        written = {key: {hashlib.md5(bytes_of).hexdigest()} for key, bytes_of in bodies.items()} | {"expires": set()}
        stop, reads, wrong = threading.Event(), [0] * 64, []

        def read(number):
            draw = random.Random(number)
            while not stop.is_set():
                key = draw.choice([*bodies, "expires"])
                try:
                    got = world.s3.get_object(Bucket=BUCKET, Key=key)
                    digest = hashlib.md5(got["Body"].read()).hexdigest()
                    if digest not in written[key] or got["ETag"] != f'"{digest}"':
                        wrong.append(f"{key} reads other bytes")
                except Exception as error:  # noqa: BLE001 - whatever a reader meets is the result
                    if key != "expires" or "NoSuchKey" not in str(error):
                        wrong.append(f"{key}: {error}")
                reads[number] += 1

        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            readers = [pool.submit(read, number) for number in range(64)]
            try:
                for leg, (here, there) in enumerate((("hot", "cold"), ("cold", "cloud"), ("cloud", "hot"))):
                    job = world.ordered("drain", here, "--to", there)
                    for key in list(bodies)[leg * 4 : leg * 4 + 4]:
                        new = body((key, leg), LARGE)
                        for of in (key, "expires"):
                            written[of].add(hashlib.md5(new).hexdigest())
                        world.put(key, new)
                        world.put("expires", new)
                        world.delete("expires")
                        world.said("sweep", "--now")
                    moved = world.ended(job)["moved_objects"]
                    holds(moved > 0, f"nothing moved from {here} to {there}")
                    world.said("sweep", "--now")
            finally:
                stop.set()
            for reader in readers:
                reader.result()
        holds(not wrong, f"{len(wrong)} of {sum(reads)} reads failed: {wrong[:3]}")
        holds(min(reads) > 0 and sum(reads) >= 500, f"only {sum(reads)} reads: the test shows too little")
        world.settled()


def number_04_what_is_being_read_waits_for_its_reader():
    """rustfs: a reader that was slow lost its object in the middle, to a sweep or an expiry."""
    with World() as world:
        bodies = {key: body(key, 32 * MIB) for key in ("moved", "deleted", "overwritten")}
        for key, bytes_of in bodies.items():
            world.put(key, bytes_of)
        slow = {key: world.s3.get_object(Bucket=BUCKET, Key=key)["Body"] for key in bodies}
        begun = {key: stream.read(MIB) for key, stream in slow.items()}
        held = world.blobs("hot")
        world.delete("deleted")
        world.put("overwritten", b"new")
        world.command("drain", "hot", "--to", "cold", "--wait", "done")
        for _ in range(5):
            waits = world.said("sweep", "--now")["waiting"]
        holds(waits >= 3 and held.items() <= world.blobs("hot").items(), "a sweep took what is being read")
        for key, stream in slow.items():
            holds(begun[key] + stream.read() == bodies[key], f"the slow reader of what was {key} has other bytes")
        world.settled()
        holds(not world.blobs("hot"), "what nobody reads any more is still there")
        holds((world.get("moved"), world.get("overwritten")) == (bodies["moved"], b"new"), "it reads other bytes")
        holds(world.get("deleted") == "NoSuchKey", "what was deleted reads")


def number_05_what_is_written_while_it_moves_survives():
    """backbeat: the transition task read the object, and then wrote its row, over the object that had been put meanwhile."""
    with World() as world:
        bodies = {f"k{n}": body(n, LARGE) for n in range(5)}
        for key, bytes_of in bodies.items():
            world.put(key, bytes_of)
        world.door.befall("held", "PUT", 5)
        job = world.ordered("place", f"s3://{BUCKET}/", "--on", "cloud")
        soon(lambda: len(world.door.met) == 5, "the moves do not begin")
        bodies |= {"k0": body("new", LARGE), "k1": b"new and small"}
        world.put("k0", bodies["k0"])
        world.put("k1", bodies["k1"])
        world.delete("k2")
        del bodies["k2"]
        # Its bytes are the moving ones, under another name.
        world.s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "k3"})
        bodies["copy"] = bodies.pop("k3")
        world.delete("k3")
        world.reads(bodies, "while it moves")
        shown = {o["Key"]: (o["ETag"], o["LastModified"]) for o in world.s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
        world.door.heal()
        ended = world.ended(job)
        holds(ended["superseded"] == 3, f"the move did not meet what was written: {ended}")
        world.reads(bodies, "after the move")
        after = {o["Key"]: (o["ETag"], o["LastModified"]) for o in world.s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
        holds(after == shown, "the move changed what was written meanwhile")
        world.settled()
        holds(world.on("k4") == world.on("copy") == ["cloud"], "what nobody wrote did not move")
        world.reads(bodies, "after the sweep")


def number_08_nothing_goes_because_a_move_was_to_have_happened():
    """minio: the tier was down, the transition never happened, and the expiry that was to follow it ran all the same."""
    with World() as world:
        bodies = filled(world, 3)
        rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
        refused = code(world.s3.put_bucket_lifecycle_configuration, Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})
        holds(refused == "NotImplemented", f"a rule that expires is {refused}")
        both = ["--on", "s3://", "--place", "hot", "--place", "cold", "--copies", "2"]
        world.command("objective", "set", "wish", *both)
        soon(lambda: all(world.on(key) == ["cold", "hot"] for key in bodies), "there are no two copies")
        held = world.blobs("hot")
        away = world.at("cold").rename(world.at("cold").with_name("away"))
        soon(lambda: health(world, "cold") == "down", "nobody sees that cold is down")
        # What is in hot is too much now; what is to be the only copy cannot be asked.
        world.command("objective", "set", "wish", "--on", "s3://", "--place", "cold")
        soon(lambda: world.said("plan")["waits"], "nothing waits for a silo that is down")
        waited(world, held, bodies)
        away.rename(world.at("cold"))
        soon(lambda: all(world.on(key) == ["cold"] for key in bodies), "it never goes, though cold is back")
        world.settled()
        world.reads(bodies, "in cold alone")
    with World() as world:
        bodies = filled(world, 3)
        held = world.blobs("hot")
        world.door.shut = True
        soon(lambda: health(world, "cloud") == "down", "nobody sees that the cloud is down")
        job = world.ordered("drain", "hot", "--to", "cloud")
        soon(lambda: world.job(job)["failed"] or world.job(job)["error"], "nothing is told of a drain to a silo that is down")
        waited(world, held, bodies)
        world.door.shut = False
        world.ended(job)
        world.settled()
        holds(not world.blobs("hot"), "the drain never ends, though the cloud is back")
        world.reads(bodies, "in the cloud alone")


def waited(world, held, bodies):
    """Sweeps some times; what is held and what reads stays."""
    for _ in range(4):
        # It says that it cannot ask the one that is down.
        with contextlib.suppress(Failed):
            world.said("sweep", "--now")
    holds(held.items() <= world.blobs("hot").items(), "bytes went though nobody else has them")
    world.reads(bodies, "while the other silo is down")


def number_10_a_delete_has_a_reason_that_outlives_its_process():
    """seaweedfs: a component was started again on state that was not the last one, and deleted from the remote store what that did
    not name."""
    with World() as world:
        bodies, data = filled(world, 3), world.folder / "data"
        world.command("place", f"s3://{BUCKET}/", "--on", "cloud")
        for key in ("k00", "k01"):
            bodies[key] = body("new", LARGE)
            world.put(key, bodies[key])
        world.settled()
        old = {world.where(key)[0]["blob"] for key in ("k03", "k05")}
        before = len(world.door.asked("DELETE"))
        # A life ends between its decision and the delete: the next one knows why, and deletes that alone.
        world.door.befall("unsent", "DELETE", 1000)
        for key in ("k03", "k05"):
            world.delete(key)
            del bodies[key]
        soon(lambda: {blob for _, blob in world.door.met} == old, "nothing is to be deleted")
        world.killed()
        world.door.heal()
        world.again()
        world.reads(bodies, "in the next life")
        world.settled()
        asked = set(world.door.asked("DELETE")[before:])
        holds(asked == old, f"{asked} were deleted, and there was a reason for {old}")
        # No state at all: the silos are another namespace's.
        world.killed()
        held, before = world.blobs("cloud"), len(world.door.asked("DELETE"))
        data.rename(world.folder / "kept")
        for folder in FOLDERS:
            shutil.copytree(world.folder / "kept" / folder, data / folder)
        holds(starts_in_vain(world), "a gateway that knows nothing takes the silos of another one")
        holds(len(world.door.asked("DELETE")) == before and world.blobs("cloud") == held, "who knew nothing deleted something")
        holds(all(world.blobs(folder) for folder in ("hot",)), "who knew nothing emptied a folder")
        shutil.rmtree(data)
        (world.folder / "kept").rename(data)
        world.again()
        world.reads(bodies, "once its state is back")
        world.settled()


def number_10_state_that_is_not_the_last_one_is_refused():
    """seaweedfs: the same; here the index's file of earlier was put back, and what was written since was deleted as nobody's."""
    with World(backups="24h") as world:
        bodies, index = filled(world, 2), world.folder / "data" / "index.redb"
        kept, newest = world.folder / "kept", world.folder / "newest"
        world.killed(signal.SIGTERM)
        shutil.copy(index, kept)
        world.again()
        for key in ("k00", "later"):
            bodies[key] = body(f"new {key}", LARGE)
            world.put(key, bodies[key])
        world.killed(signal.SIGTERM)
        shutil.copy(index, newest)
        shutil.copy(kept, index)
        holds(starts_in_vain(world), "a gateway begins with an index of earlier")
        shutil.copy(newest, index)
        world.again()
        world.reads(bodies, "once its last state is back")


def starts_in_vain(world):
    """Starts it where it must not come to serve these silos: it ends by itself."""
    world._launch()
    try:
        world._wait()
    except Failed:
        return world.process.wait(60) != 0
    world.killed()
    return False


def number_11_half_an_object_is_not_stored_as_a_whole_one():
    """seaweedfs: a read of a silo ended early, and what was missing was filled with zeros, stored, and served as if it were whole."""
    with World(writes=["cloud"]) as world:
        bodies = {"k": body("k", LARGE), "large": body("large", 3 * MIB), "small": body("small", SMALL)}
        for key, bytes_of in bodies.items():
            world.put(key, bytes_of)
        for what in ("short", "broken"):
            for key in bodies:
                world.door.befall(what, "GET", 1000)
                got = world.tried(key)
                holds(isinstance(got, str), f"{key} reads {len(got)} bytes, though the silo gave half of them")
                holds(world.door.met, f"no read was {what}")
                world.door.heal()
            world.door.befall(what, "GET", 1000)
            job = world.ordered("drain", "cloud", "--to", "cold")
            soon(lambda: world.job(job)["failed"] >= 3, f"nothing is told of reads that were {what}")
            holds(all(world.on(key) == ["cloud"] for key in bodies), f"what was {what} moved")
            world.door.heal()
            world.ended(job)
            world.reads(bodies, f"once nothing is {what} any more")
            world.settled()
            world.drain("cold", "cloud")
    with World() as world:
        bodies = {f"k{n}": body(n, LARGE) for n in range(4)}
        for key, bytes_of in bodies.items():
            world.put(key, bytes_of)
        files = [world.at("hot") / "blobs" / world.where(f"k{n}")[0]["blob"] for n in range(2)]
        for n, file in enumerate(files):
            length = file.stat().st_size
            os.truncate(file, LARGE // 2)
            if n:
                os.truncate(file, length)
        job = world.ordered("drain", "hot", "--to", "cold")
        soon(lambda: world.on("k2") == world.on("k3") == ["cold"] and world.job(job)["failed"] >= 2, "the others do not move")
        holds(world.on("k0") == world.on("k1") == ["hot"], "half a file, or one filled with zeros, moved")
        for key in ("k0", "k1"):
            got = world.tried(key)
            holds(isinstance(got, str), f"{key} reads {len(got)} bytes, though half of its file is lost")
        world.command("job", "cancel", job)
