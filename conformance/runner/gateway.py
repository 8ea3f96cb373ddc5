"""A fresh gateway (or moto) on free ports, stopped by the one who started it."""
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from .house import HOLDALL, LOGS, Failed, clean_env

KEY, SECRET = "CONFORMANCE0KEY", "conformance/secret+of/no+worth"


def free_port():
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url, process, what, seconds=60, any_answer=False):
    """Waits until a URL answers 200 (or anything, if that will do), or the process ends."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"{what} ended with {process.returncode} before it was ready")
        try:
            with opener.open(url, timeout=5) as answer:
                if answer.status == 200 or any_answer:
                    return
        except OSError as error:
            if any_answer and isinstance(error, urllib.error.HTTPError):
                return
            time.sleep(0.05)
    raise Failed(f"{what} was not ready after {seconds} s")


class Gateway:
    """`holdall serve` with a data folder of its own, empty or as `prepare` leaves it."""

    def __init__(self, name, config=None, host="127.0.0.1", prepare=None):
        self.name, self.host = name, host
        self.folder = Path(tempfile.mkdtemp(prefix=f"holdall-{name}-"))
        if prepare:
            prepare(self.folder)
        self.port, self.admin_port = free_port(), free_port()
        self.url, self.admin = f"http://{host}:{self.port}", f"http://{host}:{self.admin_port}"
        self.key, self.secret, self.region = KEY, SECRET, "us-east-1"
        self.more = {}
        args = [HOLDALL, "serve", "--data", self.folder / "data"]
        args += ["--listen", f"{host}:{self.port}", "--admin-listen", f"{host}:{self.admin_port}"]
        if config:
            (self.folder / "holdall.toml").write_text(config)
            args += ["--config", self.folder / "holdall.toml"]
        self.args = [str(arg) for arg in args]
        self.log = LOGS / f"gateway-{name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._launch()

    def _launch(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.args, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env())

    def env(self):
        """What the gateway and its command line take from the environment."""
        own = {"HOLDALL_ADMIN": self.admin, "HOLDALL_INVENTORY_EVERY": "0s"}
        return clean_env(HOLDALL_ACCESS_KEY_ID=KEY, HOLDALL_SECRET_ACCESS_KEY=SECRET, **{**own, **self.more})

    def again(self, **more):
        """Starts it on what it left, with more in its environment; it was stopped before."""
        self.more = more
        self._launch()
        self._wait()

    def _wait(self):
        wait_for(f"{self.admin}/readyz", self.process, f"the gateway for {self.name}")

    def __enter__(self):
        try:
            self._wait()
        except Failed as failed:
            self.__exit__(None, None, None)
            raise Failed(f"{failed}: {self.log.read_text(errors='replace')[-500:]}") from None
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *args, code=0):
        """Runs `holdall …` and returns its standard output; another exit code than `code` is a failure."""
        done = subprocess.run(
            [str(HOLDALL), *map(str, args)], env=self.env(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=300, cwd=self.folder,
        )
        if done.returncode != code:
            raise Failed(f"`holdall {' '.join(map(str, args))}` exits with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def account(self, name):
        """Creates an account: its access_key_id, secret_access_key and canonical_id."""
        return json.loads(self.command("account", "create", name, "--json"))

    def aws_env(self, **more):
        """The environment of an AWS client of this gateway."""
        return clean_env(
            AWS_ACCESS_KEY_ID=self.key, AWS_SECRET_ACCESS_KEY=self.secret, AWS_DEFAULT_REGION=self.region,
            AWS_ENDPOINT_URL=self.url, AWS_MAX_ATTEMPTS=1, **more,
        )

    def program_env(self, **more):
        """The environment of a client program of ours, as `clients/connection.py` reads it."""
        return clean_env(HOLDALL_URL=self.url, HOLDALL_KEY=self.key, HOLDALL_SECRET=self.secret, **more)

    def stopped_cleanly(self):
        """SIGTERM, and whether it ended by itself with exit code 0."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60) == 0


class Beside:
    """Somebody else's server on a free port of the loopback, for silos."""

    def __init__(self, name, args, port, ready, any_answer=False):
        self.name, self.port, self.ready, self.any_answer = name, port, ready, any_answer
        LOGS.mkdir(parents=True, exist_ok=True)
        with (LOGS / f"{name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(arg) for arg in args], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean_env(),
            )

    def __enter__(self):
        try:
            wait_for(f"http://127.0.0.1:{self.port}{self.ready}", self.process, self.name, any_answer=self.any_answer)
        except Failed:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Moto(Beside):
    """moto's S3: another implementation than ours; it checks no signatures."""

    def __init__(self, bin_folder):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        super().__init__("moto", [bin_folder / "moto_server", "-H", "127.0.0.1", "-p", port], port, "/moto-api/")


class Azurite(Beside):
    """Azure's Blob API in memory, as Microsoft's emulator has it; it checks signatures."""

    def __init__(self, program):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/devstoreaccount1"
        args = [program, "--blobHost", "127.0.0.1", "--blobPort", port, "--inMemoryPersistence", "--skipApiVersionCheck"]
        super().__init__("azurite", [*args, "--disableTelemetry", "--silent"], port, "/", any_answer=True)
