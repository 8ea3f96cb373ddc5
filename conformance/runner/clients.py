"""Real clients, each against a fresh gateway, each test with a name."""
import importlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import rust
from .gateway import Gateway, Moto
from .house import CONFORMANCE, HOLDALL, LOGS, Failed, tail
from .install import npm, python

# A gateway that also answers to virtual-host names, for the clients that can be told where those are.
DOMAIN = "s3.conformance.test"
CONFIG = f'domains = ["{DOMAIN}"]\n'


class Context:
    """What a client's test is given."""

    def __init__(self, gateway, bin_folder, log):
        self.gateway, self.bin, self.log = gateway, bin_folder, log
        self.domain = DOMAIN
        self._names = 0
        self.folder = None

    def bucket_name(self):
        """A name not used yet on this gateway."""
        self._names += 1
        return f"conf-{self._names}"

    def sh(self, *args, env=None, stdin=None, code=0, timeout=120):
        """Runs a client; returns its standard output as bytes. Another exit code than `code` is a failure; with `code` None
        it must fail, and what it says of that is returned."""
        done = subprocess.run(
            [str(arg) for arg in args], env=env or self.gateway.aws_env(), input=stdin, capture_output=True, cwd=self.folder,
            timeout=timeout, stdin=None if stdin is not None else subprocess.DEVNULL,
        )
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(map(str, args))}\n".encode() + done.stdout[-4000:] + done.stderr[-4000:] + b"\n")
        if code is None and done.returncode != 0:
            return done.stderr
        if done.returncode != code:
            raise Failed(f"`{' '.join(map(str, args))[:200]}` exits with {done.returncode}: {done.stderr.decode(errors='replace')[-400:]}")
        return done.stdout

    def check(self, holds, otherwise):
        """Fails with these words unless it holds."""
        if not holds:
            raise Failed(otherwise)

    def equal(self, found, expected, what=""):
        """Fails unless both are the same."""
        if found != expected:
            raise Failed(f"{what or 'value'} is {str(found)[:300]}, expected {str(expected)[:300]}")


def _python_part(name, what, module):
    def run(report, only):
        def part():
            bin_folder = python()
            rust.build()
            tests = importlib.import_module(f"clients.{module}").TESTS
            with Gateway(name, CONFIG) as gateway:
                context = Context(gateway, bin_folder, LOGS / f"{name}.log")
                for test in tests:
                    title = test.__name__.replace("_", "-")
                    if only and title not in only:
                        continue
                    context.folder = Path(tempfile.mkdtemp(prefix=f"holdall-{name}-"))
                    report.run(f"{name}.{title}", lambda: test(context))
                    shutil.rmtree(context.folder, ignore_errors=True)
                if gateway.process.poll() is not None:
                    raise Failed(f"the gateway ended with {gateway.process.returncode} during the tests")
                context.check(gateway.stopped_cleanly(), "the gateway's exit code after SIGTERM is not 0")

        report.run(f"{name}.gateway-stays-up-and-stops", part)

    return rust.Part(name, what, run)


def _boto(report, only):
    """boto3 lives in the virtual environment: its tests run in a program of their own that prints a line for each."""

    def program(gateway):
        env = gateway.program_env(HOLDALL_DOMAIN=DOMAIN, HOLDALL_OTHER=json.dumps(gateway.account("other")))
        return [python() / "python", CONFORMANCE / "clients" / "boto.py", *only], env

    lines("boto3", report, program)


def _sdk(report, only):
    """aws-sdk-js runs in node; a module is found beside the file that imports it."""

    def program(gateway):
        folder = npm()
        shutil.copy(CONFORMANCE / "clients" / "sdk.mjs", folder)
        return ["node", folder / "sdk.mjs", *only], gateway.program_env()

    lines("aws-sdk-js", report, program)


def _pitfalls(report, only):
    """How others lost data; beside a folder and a bucket of others."""
    keys = '{ access_key_id_env = "HOLDALL_ACCESS_KEY_ID", secret_access_key_env = "HOLDALL_SECRET_ACCESS_KEY" }'
    with Gateway("pitfalls-theirs") as theirs:
        made = [python() / "aws", "s3api", "create-bucket", "--bucket", "theirs"]
        subprocess.run([str(arg) for arg in made], env=theirs.aws_env(), check=True, capture_output=True, timeout=60)
        nas = Path(tempfile.mkdtemp(prefix="holdall-pitfalls-nas-")) / "nas"
        nas.mkdir()
        config = f"""sweep_grace = "0s"
[silo.hot]
url = "file:hot"
[silo.cold]
url = "file:cold"
[silo.nas]
url = "file://{nas}"
access = "read-only"
[silo.theirs]
url = "s3://theirs?endpoint={theirs.url}&region=us-east-1"
access = "read-only"
credentials = {keys}
[write]
to = ["hot"]
"""

        def program(gateway):
            env = gateway.program_env(
                **{name: value for name, value in gateway.env().items() if name.startswith("HOLDALL_")}, HOLDALL_BIN=str(HOLDALL),
                HOLDALL_NAS=str(nas), HOLDALL_HOT=str(gateway.folder / "data" / "hot"), HOLDALL_THEIRS=theirs.url,
                HOLDALL_PID=str(gateway.process.pid),
            )
            return [python() / "python", CONFORMANCE / "clients" / "pitfalls.py", *only], env

        try:
            lines("pitfalls", report, program, start=lambda: Gateway("pitfalls", config))
        finally:
            shutil.rmtree(nas.parent, ignore_errors=True)


def _moves(report, only):
    """How others lost data with moves. Each test has a gateway of its own; this one's buckets are silos of theirs, and moto's keep
    versions."""
    with Moto(python()) as moto:

        def program(gateway):
            env = gateway.program_env(HOLDALL_MOTO=moto.url, PYTHONPATH=CONFORMANCE)
            return [python() / "python", CONFORMANCE / "clients" / "moves.py", *only], env

        lines("moves", report, program, start=lambda: Gateway("moves-behind", 'sweep_grace = "0s"\n'))


def _notifications(report, only):
    """A bucket of moto's, whose notifications go to a queue of moto's."""
    with Moto(python()) as moto:

        def program(gateway):
            env = gateway.program_env(
                **{name: value for name, value in gateway.env().items() if name.startswith("HOLDALL_")}, HOLDALL_BIN=str(HOLDALL),
                HOLDALL_MOTO=moto.url,
            )
            return [python() / "python", CONFORMANCE / "clients" / "notifications.py", *only], env

        lines("notifications", report, program)


def _inventory(report, only):
    """DuckDB is installed for this alone."""

    def program(gateway):
        env = gateway.program_env(
            **{name: value for name, value in gateway.env().items() if name.startswith("HOLDALL_")}, HOLDALL_BIN=str(HOLDALL),
        )
        clients = CONFORMANCE / "clients"
        return [python(clients / "inventory.txt") / "python", clients / "inventory.py", *only], env

    lines("inventory", report, program)


def lines(name, report, program, start=None, afterwards=None):
    """Runs a program that prints `passed NAME` or `failed NAME: WHY` for each of its tests."""

    def part():
        rust.build()
        with start() if start else Gateway(name, CONFIG) as gateway:
            args, env = program(gateway)
            seen = 0
            with (LOGS / f"{name}.log").open("wb") as log:
                child = subprocess.Popen(
                    [str(arg) for arg in args], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
                )
                try:
                    for line in child.stdout:
                        log.write(line.encode())
                        verdict, _, rest = line.strip().partition(" ")
                        if verdict in ("passed", "failed"):
                            test, _, why = rest.partition(": ")
                            report.add(f"{name}.{test}", verdict, why)
                            seen += 1
                    code = child.wait(60)
                finally:
                    if child.poll() is None:
                        child.kill()
                        child.wait()
            if code != 0 or not seen:
                raise Failed(f"exit code {code} after {seen} tests: {tail(name)}")
            if afterwards:
                afterwards(gateway)
            if not gateway.stopped_cleanly():
                raise Failed("the gateway's exit code after SIGTERM is not 0")

    report.run(f"{name}.gateway-stays-up-and-stops", part)


PARTS = [
    _python_part("aws-cli", "AWS's command line: s3 and s3api", "aws_cli"),
    rust.Part("boto3", "boto3 in all its transfer modes", _boto),
    rust.Part("aws-sdk-js", "AWS's SDK for JavaScript, version 3", _sdk),
    rust.Part("pitfalls", "how others lost data with lists, trees and what they took over", _pitfalls),
    rust.Part("moves", "how others lost data with moves: eighteen stories, each a test", _moves),
    rust.Part("notifications", "a bucket of others tells of its changes by a queue", _notifications),
    rust.Part("inventory", "the inventory's Parquet files, as DuckDB reads them", _inventory),
    _python_part("rclone", "rclone as its users set it", "rclone"),
]
