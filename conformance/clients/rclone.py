"""rclone, with a remote as its documentation sets one up for an S3 server of another make."""
import json
import os


def _rclone(c, *args, **options):
    config = c.folder / "rclone.conf"
    if not config.exists():
        g = c.gateway
        config.write_text(
            f"[h]\ntype = s3\nprovider = Other\naccess_key_id = {g.key}\nsecret_access_key = {g.secret}\n"
            f"endpoint = {g.url}\nregion = {g.region}\n"
        )
    return c.sh(c.bin / "rclone", "--config", config, "--retries", "1", "--low-level-retries", "1", *args, **options)


def _bucket(c):
    name = c.bucket_name()
    _rclone(c, "mkdir", f"h:{name}")
    return name


def _tree(c):
    root = c.folder / "tree"
    names = ["a.txt", "b c.txt", "ü😀/plus+%.bin", "deep/x/y/z", "empty", "big.bin"]
    for index, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty" else os.urandom(18 << 20 if name == "big.bin" else 1000 + index))
    os.utime(root / "a.txt", (1_600_000_000, 1_600_000_000))
    return root


def copy_and_check(c):
    bucket, root = _bucket(c), _tree(c)
    _rclone(c, "copy", root, f"h:{bucket}/t")
    _rclone(c, "check", root, f"h:{bucket}/t")
    _rclone(c, "check", "--download", root, f"h:{bucket}/t")


def copy_back_with_times(c):
    bucket, root = _bucket(c), _tree(c)
    _rclone(c, "copy", root, f"h:{bucket}/t")
    _rclone(c, "copy", f"h:{bucket}/t", c.folder / "back")
    c.equal((c.folder / "back" / "big.bin").read_bytes() == (root / "big.bin").read_bytes(), True, "same bytes")
    c.equal(int((c.folder / "back" / "a.txt").stat().st_mtime), 1_600_000_000, "modification time")


def multipart_copy(c):
    bucket, root = _bucket(c), _tree(c)
    _rclone(c, "copy", "--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", root, f"h:{bucket}/t")
    _rclone(c, "check", "--download", root, f"h:{bucket}/t")
    _rclone(c, "copy", "--s3-copy-cutoff", "6M", f"h:{bucket}/t", f"h:{bucket}/u")
    _rclone(c, "check", f"h:{bucket}/t", f"h:{bucket}/u", "--download")


def sync_deletes_and_changes(c):
    bucket, root = _bucket(c), _tree(c)
    _rclone(c, "sync", root, f"h:{bucket}/s")
    (root / "a.txt").write_bytes(b"changed")
    (root / "b c.txt").unlink()
    _rclone(c, "sync", root, f"h:{bucket}/s")
    _rclone(c, "check", root, f"h:{bucket}/s")
    keys = {entry["Path"] for entry in json.loads(_rclone(c, "lsjson", "-R", "--files-only", f"h:{bucket}/s"))}
    c.equal(keys, {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}, "keys after sync")


def sync_again_moves_nothing(c):
    bucket, root = _bucket(c), _tree(c)
    _rclone(c, "sync", root, f"h:{bucket}/s")
    before = json.loads(_rclone(c, "lsjson", "-R", "--files-only", "--hash", f"h:{bucket}/s"))
    _rclone(c, "sync", root, f"h:{bucket}/s")
    c.equal(json.loads(_rclone(c, "lsjson", "-R", "--files-only", "--hash", f"h:{bucket}/s")), before, "the list after a second sync")


def rcat_and_cat(c):
    bucket = _bucket(c)
    body = os.urandom(6 << 20)
    _rclone(c, "rcat", f"h:{bucket}/streamed", stdin=body)
    c.equal(_rclone(c, "cat", f"h:{bucket}/streamed") == body, True, "same bytes")
    c.equal(_rclone(c, "cat", "--offset", "100", "--count", "7", f"h:{bucket}/streamed"), body[100:107], "a range")


def move_delete_and_purge(c):
    bucket, root = _bucket(c), _tree(c)
    _rclone(c, "copy", root, f"h:{bucket}/m")
    _rclone(c, "moveto", f"h:{bucket}/m/a.txt", f"h:{bucket}/m/moved.txt")
    c.equal(_rclone(c, "cat", f"h:{bucket}/m/moved.txt"), (root / "a.txt").read_bytes())
    _rclone(c, "delete", f"h:{bucket}/m/deep")
    _rclone(c, "cleanup", f"h:{bucket}")
    _rclone(c, "purge", f"h:{bucket}/m")
    c.equal(_rclone(c, "lsf", "-R", f"h:{bucket}"), b"", "what is left")
    _rclone(c, "rmdir", f"h:{bucket}")


def lists_in_pages(c):
    bucket = _bucket(c)
    root = c.folder / "many"
    root.mkdir()
    for index in range(55):
        (root / f"f{index:03}").write_bytes(b"x")
    _rclone(c, "copy", root, f"h:{bucket}", "--transfers", "8")
    out = _rclone(c, "lsf", "--s3-list-chunk", "10", f"h:{bucket}").decode().split()
    c.equal(out, [f"f{index:03}" for index in range(55)], "listed")


TESTS = [
    copy_and_check, copy_back_with_times, multipart_copy, sync_deletes_and_changes, sync_again_moves_nothing, rcat_and_cat,
    move_delete_and_purge, lists_in_pages,
]
