"""Where things are, how a program is run, and how a result is kept."""
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFORMANCE = ROOT / "conformance"
HOME = ROOT / ".conformance"
LOGS = HOME / "logs"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
HOLDALL = TARGET / "debug" / "holdall"
# One set of features for every build, so that no crate is built twice: failpoints and seeded bugs are in.
# The rig that mounts a file system is in as well.
FEATURES = "holdall/faults,holdall-conformance/powerloss"
CI = os.environ.get("CI", "").lower() not in ("", "0", "false")


class Skip(Exception):
    """Raised by a test that cannot run here; its text says why."""


class Failed(Exception):
    """Raised by a test whose log file says the rest."""


class Report:
    """Counts results and tells each as it comes."""

    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []
        self._lock = threading.Lock()

    def add(self, name, verdict, why="", seconds=None):
        """`verdict` is passed, failed or skipped; a skip that CI requires is a failure."""
        took = "" if seconds is None else f"  ({seconds:.1f} s)"
        reason = f"  {why}" if why else ""
        with self._lock:
            if verdict == "passed":
                self.passed += 1
            else:
                (self.failed if verdict == "failed" else self.skipped).append((name, why))
            say(f"{verdict:<8}{name}{took}{reason}")

    def skip(self, name, why, required=True):
        """Skips by name; in CI what is required must not be skipped."""
        if CI and required:
            self.add(name, "failed", f"required here, but skipped: {why}")
        else:
            self.add(name, "skipped", why)

    def run(self, name, test, required=True):
        """Runs one test function."""
        start = time.monotonic()
        try:
            test()
        except Skip as skip:
            self.skip(name, str(skip), required)
            return False
        except Exception as error:  # noqa: BLE001 - whatever a test raises is its result
            self.add(name, "failed", f"{type(error).__name__}: {str(error)[:600]}", time.monotonic() - start)
            return False
        self.add(name, "passed", seconds=time.monotonic() - start)
        return True

    def count(self, passed, failed, skipped):
        """Results that another runner counted and printed."""
        with self._lock:
            self.passed += passed
            self.failed += failed
            self.skipped += skipped

    def close(self):
        """The closing line and the exit code."""
        for name, why in self.failed:
            say(f"FAILED  {name}  {why[:900]}")
        say(f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped")
        return 1 if self.failed or not self.passed else 0


def say(line):
    """One line, at once."""
    print(line, flush=True)


def clean_env(**more):
    """This environment without what would leak another person's settings into a client."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "BOTO", "RCLONE_", "HOLDALL_")) and not name.lower().endswith("_proxy")
    }
    kept |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "no_proxy": "*"}
    kept |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_PAGER": "", "PYTHONDONTWRITEBYTECODE": "1"}
    return kept | {name: str(value) for name, value in more.items()}


def sh(args, log, cwd=ROOT, env=None, timeout=3600, stdin=None):
    """Runs a program with its output in a log file; returns its exit code. Its whole group ends with it."""
    path = LOGS / f"{log}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as out:
        out.write(f"$ {' '.join(map(str, args))}\n".encode())
        out.flush()
        child = subprocess.Popen(
            [str(arg) for arg in args], cwd=cwd, env=env, stdin=stdin or subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )
        try:
            return child.wait(timeout)
        except subprocess.TimeoutExpired:
            out.write(f"\nstill running after {timeout} s\n".encode())
            return 124
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def need(args, log, **options):
    """Runs a program that must succeed."""
    code = sh(args, log, **options)
    if code != 0:
        raise Failed(f"exit code {code}, see .conformance/logs/{log}.log: {tail(log)}")


def tail(log, lines=6):
    """The end of a log in one line, behind what a test said when it panicked."""
    text = (LOGS / f"{log}.log").read_text(errors="replace").strip().splitlines()
    at = next((index for index, line in enumerate(text) if "panicked at" in line), None)
    said = [] if at is None else text[at : at + 4]
    end = " | ".join(line.strip() for line in text[-lines:])[-600 if not said else -200 :]
    return " | ".join([*(line.strip() for line in said), end])[:900]


def fresh(path):
    """An empty folder."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


if sys.version_info < (3, 9):
    sys.exit("conformance/run needs Python 3.9 or later")
