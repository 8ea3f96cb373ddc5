"""SIGTERM under load: requests in flight are finished, the rest is refused, nothing acknowledged is lost."""
import shutil
import subprocess
import time

from . import rust
from .gateway import Gateway
from .house import CONFORMANCE, Failed, clean_env
from .install import python

PATIENCE = 30


def _client(mode, gateway, note, **more):
    env = clean_env(HOLDALL_URL=gateway.url, HOLDALL_KEY=gateway.key, HOLDALL_SECRET=gateway.secret)
    args = [python() / "python", CONFORMANCE / "clients" / "stopped.py", mode, note]
    return subprocess.Popen([str(arg) for arg in args], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **more)


def _stop(gateway, note):
    """Loads it for a moment, stops it, and keeps its folder."""
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
        kept = None
        with Gateway("stop") as gateway:
            note = gateway.folder.parent / f"{gateway.folder.name}.json"
            _stop(gateway, note)
            kept = shutil.move(gateway.folder / "data", f"{gateway.folder}-data")
        try:
            with Gateway("stop", prepare=lambda folder: shutil.move(kept, folder / "data")) as again:
                with _client("look", again, note) as look:
                    told = look.stdout.read().strip()
                if look.returncode != 0:
                    raise Failed(told)
                again.command("check", "--deep")
        finally:
            note.unlink(missing_ok=True)
            shutil.rmtree(kept, ignore_errors=True)

    report.run("stop", test)


PARTS = [rust.Part("stop", "SIGTERM under load", _run)]
