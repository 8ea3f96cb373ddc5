"""SIGTERM under load: requests in flight are finished, the rest is refused, nothing acknowledged is lost."""
import subprocess
import time

from . import rust
from .gateway import Gateway
from .house import CONFORMANCE, Failed
from .install import python

PATIENCE = 30


def _client(mode, gateway, note):
    args = [python() / "python", CONFORMANCE / "clients" / "stopped.py", mode, note]
    return subprocess.Popen(
        [str(arg) for arg in args], env=gateway.program_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )


def _stop(gateway, note):
    """Loads it for a moment and stops it."""
    with _client("load", gateway, note) as load:
        load.stdout.readline()
        time.sleep(2)
        begun = time.monotonic()
        clean = gateway.stopped_cleanly()
        took = time.monotonic() - begun
        load.stdout.read()
    if not clean:
        raise Failed("the gateway's exit code after SIGTERM is not 0")
    if took > PATIENCE + 5:
        raise Failed(f"the gateway took {took:.0f} s to stop")


def _run(report, _only):
    def test():
        rust.build()
        with Gateway("stop") as gateway:
            note = gateway.folder / "acknowledged.json"
            _stop(gateway, note)
            gateway.again()
            with _client("look", gateway, note) as look:
                told = look.stdout.read().strip()
            if look.returncode != 0:
                raise Failed(told)
            gateway.command("check", "--deep")

    report.run("stop", test)


PARTS = [rust.Part("stop", "SIGTERM under load", _run)]
