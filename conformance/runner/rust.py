"""The Rust side: the checks, the tests of all crates, and the rigs."""
import os
import re

from .gateway import Azurite, Gateway, Moto
from .house import CI, FEATURES, LOGS, ROOT, TARGET, Failed, Skip, need, sh, tail
from .install import azurite, python
from .mounts import RcloneSftp, Smb, Sshd, Sshfs
from .web import Apache, ApacheDav, Nginx, RcloneDav, RcloneHttp

# The tests of a server that nobody writes to on another way: rclone does not look there again.
OURS = ("a_server", "many_at_once", "who_is_not_let_in")
RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", re.M)
FAILED_TEST = re.compile(r"^test (\S.*?) \.\.\. FAILED$", re.M)
IGNORED_TEST = re.compile(r"^test (\S.*?) \.\.\. ignored", re.M)
_built = []


class Part:
    """A named step of the run."""

    def __init__(self, name, what, run):
        self.name, self.what, self.run = name, what, run


def cargo(log, *args, env=None, timeout=3600):
    """Runs cargo; a failure quotes the log's end."""
    need(["cargo", *args], log, env=dict(os.environ, **(env or {})), timeout=timeout)


def build():
    """The one build of everything; once a run."""
    if not _built:
        cargo("build", "build", "--workspace", "--bins", "--features", FEATURES)
        _built.append(True)


def _check(name, what, *args, env=None):
    def run(report, _only):
        report.run(name, lambda: cargo(name, *args, env=env))

    return Part(name, what, run)


def _cargo_tests(name, args, env=None):
    """Runs `cargo test` and counts every test of it as one of ours."""

    def run(report):
        code = sh(
            ["cargo", "test", *args, "--features", FEATURES, "--no-fail-fast"], name,
            env=dict(os.environ, **(env or {})),
        )
        text = (LOGS / f"{name}.log").read_text(errors="replace")
        counts = [tuple(map(int, row)) for row in RESULT.findall(text)]
        failed = FAILED_TEST.findall(text)
        passed = sum(row[0] for row in counts)
        ignored = [(test, "ignored") for test in IGNORED_TEST.findall(text)]
        report.count(passed, [(f"{name} {test}", _why(text, test)) for test in failed], ignored)
        if code != 0 and not failed:
            report.add(name, "failed", f"exit code {code}: {tail(name)}")
        return f"{passed} passed, {len(failed)} failed, {len(ignored)} ignored"

    return run


def _why(text, test):
    """What a failed test printed, in one line."""
    said = text.rpartition(f"---- {test} stdout ----")[2].split("\n----", 1)[0].split("\nfailures:", 1)[0]
    return " | ".join(line.strip() for line in said.splitlines() if line.strip())


def _rust_tests(report, _only):
    said = _cargo_tests("rust-tests", ["--workspace"])(report)
    print(f"rust-tests: {said}", flush=True)


def rig_said(name):
    """Why a rig failed: what it printed from there on, which may be many lines of a gateway's log."""
    text = (LOGS / f"{name}.log").read_text(errors="replace")
    _, mark, why = text.rpartition(" failed with seed ")
    return " | ".join(f"seed {why}".split("\n"))[:600] if mark else tail(name)


def _silo_tests(report, only):
    """The silo contract against real servers. The tests are in silos/tests and take the server from the environment."""
    if not (ROOT / "silos" / "tests" / "s3.rs").exists():
        report.skip("silos", "silos/tests/s3.rs is not there")
        return

    def moto():
        with Moto(python()) as server:
            _silo_test("moto", _silo_env(server.url, "testing", "testing"), "s3")

    def holdall():
        build()
        with Gateway("silos") as gateway:
            _silo_test("holdall", _silo_env(gateway.url, gateway.key, gateway.secret), "s3")

    def azure():
        with Azurite(azurite()) as server:
            _silo_test("azurite", {"HOLDALL_TEST_AZURE_ENDPOINT": server.url}, "azure")

    def web(server, paths=("",)):
        with server as site:
            for path in paths:
                env = {"HOLDALL_TEST_HTTP_URL": site.url + path, "HOLDALL_TEST_HTTP_FOLDER": str(site.share)}
                _silo_test(f"{site.name}{path.replace('/', '-')}", env, "http")

    def dav(server, *only, **more):
        with server as site:
            env = {"HOLDALL_TEST_FILES_URL": site.url.replace("http:", "dav:"), "HOLDALL_TEST_FILES_LOGIN": site.login} | more
            _silo_test(site.name, env | {"HOLDALL_TEST_FILES_FOLDER": str(site.share)}, "files", *only)

    def sftp(server, durable, *only):
        with server as host:
            env = {"HOLDALL_TEST_FILES_URL": host.url(), "HOLDALL_TEST_FILES_QUERY": host.query()}
            env |= {"HOLDALL_TEST_FILES_KEY": str(host.run / "key"), "HOLDALL_TEST_FILES_FOLDER": str(host.share)}
            _silo_test(host.name, env | {"HOLDALL_TEST_FILES_DURABLE": durable}, "files", *only)

    tests = {
        "moto": moto,
        "holdall": holdall,
        "azurite": azure,
        "nginx": lambda: web(Nginx("nginx"), ("/html", "/json")),
        "apache": lambda: web(Apache("apache")),
        "rclone": lambda: web(RcloneHttp("rclone-http")),
        "apache-dav": lambda: dav(ApacheDav("apache-dav")),
        "rclone-dav": lambda: dav(RcloneDav("rclone-dav"), *OURS, HOLDALL_TEST_FILES_REPLACES="true"),
        "sshd": lambda: sftp(Sshd("sshd"), "true"),
        "rclone-sftp": lambda: sftp(RcloneSftp("rclone-sftp"), "false", *OURS),
    }
    _run_named(report, "silos", tests, only)


def _run_named(report, part, tests, only):
    """Runs a part's tests, or those of them that were asked for."""
    for name, test in tests.items():
        if not only or name in only:
            report.run(f"{part}.{name}", test)


def _mount_tests(report, only):
    """The silo contract on mounted paths; and while their servers, or the programs that mount, stand still."""

    def mounted(mount):
        name = f"mount-{mount.name}"
        with mount:
            env = {"HOLDALL_TEST_MOUNT": str(mount.at)}
            _silo_test(name, env | {"HOLDALL_TEST_MOUNT_STOP": mount.served_by()}, "mount")
            _silo_test(f"{name}-stopped", env | {"HOLDALL_TEST_MOUNT_STOP": mount.mounted_by()}, "mount", "hangs")

    def unfit():
        with Smb("smb-unfit", cache="off") as mount:
            _silo_test("mount-smb-unfit", {"HOLDALL_TEST_MOUNT_UNFIT": str(mount.at)}, "mount", "refused")

    tests = {
        "sshfs": lambda: mounted(Sshfs("sshfs")),
        "smb": lambda: mounted(Smb("smb")),
        "smb-unfit": unfit,
    }
    _run_named(report, "mounts", tests, only)


def _silo_test(name, env, test, *only):
    """Runs a test of silos/tests with these settings; at least one of it must run."""
    code = sh(
        ["cargo", "test", "--workspace", "--test", test, "--features", FEATURES, "--", "--include-ignored", *only],
        f"silos-{name}", env=dict(os.environ, **env), timeout=900,
    )
    if code != 0:
        raise Failed(tail(f"silos-{name}"))
    if not sum(int(row[0]) for row in RESULT.findall((LOGS / f"silos-{name}.log").read_text(errors="replace"))):
        raise Failed("ran no test")


def _silo_env(url, key, secret):
    return {
        "HOLDALL_TEST_S3_ENDPOINT": url, "HOLDALL_TEST_S3_ACCESS_KEY_ID": key, "HOLDALL_TEST_S3_SECRET_ACCESS_KEY": secret,
        "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1",
    }


def _rig(name, what, program, *args, required=True, timeout=1800):
    def run(report, _only):
        def test():
            build()
            # 77 is a rig's word for "cannot run here", by the custom of automake.
            env = dict(os.environ, RCLONE=str(python() / "rclone"))
            code = sh([TARGET / "debug" / program, *args], name, env=env, timeout=timeout)
            if code == 77:
                raise Skip(tail(name, 1))
            if code != 0:
                raise Failed(f"exit code {code}: {rig_said(name)}")

        if report.run(name, test, required):
            print(f"        {tail(name, 1)}", flush=True)

    return Part(name, what, run)


def _pass(report, _only):
    """Objectives against very many objects: rows alone, in a folder that is gone afterwards."""

    def test():
        cargo(
            "soak-pass", "test", "-p", "holdall-namespace", "--test", "objectives", "--", "--ignored", "--nocapture", "many",
            env={"HOLDALL_TEST_OBJECTS": "1000000"},
        )

    report.run("soak-pass", test)


CHECKS = [
    _check("fmt", "cargo fmt --check", "fmt", "--all", "--check"),
    _check(
        "clippy", "cargo clippy, warnings are errors",
        "clippy", "--workspace", "--all-targets", "--features", FEATURES, "--", "-D", "warnings",
    ),
    _check(
        "doc", "cargo doc, warnings are errors",
        "doc", "--workspace", "--no-deps", "--features", FEATURES, env={"RUSTDOCFLAGS": "-D warnings"},
    ),
]
TESTS = [
    Part("rust-tests", "the tests of all crates", _rust_tests),
    Part("silos", "the silo contract against moto, another Holdall, Azurite, and servers of files: HTTP, WebDAV, SFTP", _silo_tests),
    Part("mounts", "the silo contract on folders mounted by sshfs and over SMB, and while they hang", _mount_tests),
]
# A drain at a rate lasts long enough to be met by as many reads, overwrites and deletes as the run must show.
PACED = ("--rate", "64MiB")
RIGS = [
    _rig("livemove", "a drain under load, disk to disk, back and forth", "livemove", *PACED),
    _rig("livemove-s3", "the same between a disk and another Holdall", "livemove", "--cold", "s3", *PACED),
    _rig("switch", "a silo replaced under load: committed, rolled back, and with the new one failing halfway", "switch"),
    _rig("crash", "kill -9 at random moments and failpoints under load", "crash"),
    _rig(
        "kills", "kill -9 at every state of moves, copies, drops, repairs, switches and losses, with each end of the silo's next call",
        "kills",
    ),
    _rig("powerloss", "the power cut at random moments under load, on a disk that forgets what was not flushed", "powerloss"),
    _rig("twogateways", "two gateways over one index, one frozen past its lease and resumed, under load", "twogateways"),
    _rig("assimilate", "5,000 files of others: taken over, followed while they change, moved away from", "assimilate"),
    _rig("readwrite", "a tree that S3 and others write to at once, kill -9 at each step of what is done there", "readwrite"),
    _rig("small", "20,000 small objects: few requests to a bucket there and back, room given back", "small"),
    _rig("outage", "a silo that stands still, or is killed, under load: elsewhere nobody notices", "outage"),
    _rig("failover", "a copy killed, stalled, cut or corrupted while it is read: downloads go on at the other", "failover"),
    _rig("restore", "the index lost and made again: from two silos, from one, as of a moment, with damaged backups", "restore"),
    _rig("cost", "a plan's money against what its moves cost by three price cards, while clients change objects and calls fail", "cost"),
    _rig("memory", "stopped uploads, slow readers, a long listing: memory stays flat", "memory"),
]
SOAK = [
    _rig(
        "soak-auto", "40 days of placement that learns, the calendar turned, three buckets behind meters: the bill against the simulator's",
        "auto", "--objects", "200", timeout=3600,
    ),
    _rig("soak-livemove", "10,000 objects, 8 GiB, twice back and forth", "livemove", "--full", timeout=7200),
    _rig("soak-livemove-s3", "the same between a disk and another Holdall", "livemove", "--full", "--cold", "s3", timeout=7200),
    _rig(
        "soak-livemove-beside", "the same with a second gateway over the index", "livemove", "--full", "--beside",
        timeout=7200,
    ),
    _rig(
        "soak-switch", "1,000 objects to 64 MiB, all ways ten times, two gateways", "switch", "--objects", "1000", "--max-size",
        str(64 << 20), "--times", "10", "--beside", timeout=14400,
    ),
    _rig("soak-switch-s3", "the same with buckets of another Holdall, which is killed or stands still", "switch", "--new", "s3", "--times", "10", timeout=14400),
    _rig("soak-kills", "five times, and with unknown answers that it lives on after", "kills", "--full", "--times", "5", timeout=7200),
    _rig("soak-crash", "300 rounds", "crash", "--rounds", "300", "--within", "3000", "--writes", "50000", timeout=7200),
    _rig("soak-powerloss", "300 cuts", "powerloss", "--cuts", "300", "--births", "100", "--writes", "20000", timeout=7200),
    _rig(
        "soak-twogateways", "20 freezes", "twogateways", "--freezes", "20", "--races", "500", "--writes", "10000",
        timeout=7200,
    ),
    _rig(
        "soak-assimilate", "the same with 100,000 files and a minute of changes", "assimilate", "--files", "100000", "--seconds",
        "60", "--objects", "100000", timeout=7200,
    ),
    _rig("soak-readwrite", "300 kills", "readwrite", "--kills", "300", timeout=7200),
    _rig("soak-small", "the same with 10^6 objects", "small", "--objects", "1000000", "--pairs", "5", timeout=7200),
    _rig(
        "soak-scale", "10^7 objects of 100 bytes to 16 KiB loaded, the index lost and restored; 60 GB of disk", "small",
        "--objects", "10000000", "--mixed", "--load-only", timeout=14400,
    ),
    _rig(
        "soak-restore", "the same with 2,000 objects, a minute of load, 1,000 damaged bytes", "restore", "--objects", "2000",
        "--seconds", "60", "--flips", "1000", timeout=7200,
    ),
    _rig("soak-outage", "the same five times in each way", "outage", "--pairs", "5", timeout=7200),
    _rig(
        "soak-failover", "1,000 downloads of 64 MiB", "failover", "--downloads", "1000", "--mib", "64", "--stall", "20",
        "--hang", "200", "--hopeless", "60", timeout=7200,
    ),
    _rig(
        "soak-cost", "the same with 6,000 objects, some of them of 80 MiB", "cost", "--objects", "2000", "--large", "6", "--within",
        "1800", timeout=7200,
    ),
    _rig("soak-movers", "five pairs of windows at half load, with movers at work and paused", "movers", timeout=7200),
    Part("soak-pass", "a pass over 10^6 objects: constant memory", _pass),
    _rig("soak-memory", "64 uploads and 64 readers of 5 GiB, 10^6 keys", "memory", "--full", timeout=7200),
]
