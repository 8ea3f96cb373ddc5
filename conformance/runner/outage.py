"""Silos of other kinds than S3 that stand still, each on a server or mount of its own that ends with it."""
import contextlib
import os
import tempfile
from pathlib import Path

from .house import TARGET, Failed, sh, tail
from .kinds import KINDS
from .rust import Part, build, rig_said

# S3 is what the rig does by itself; moto, the other one, checks no signatures and is slower than anything that it stands for.
STOPPED = ("sshfs", "smb", "azure", "sftp", "webdav")


def _part(name, what, *args):
    def run(report, only):
        for kind in STOPPED:
            if only and kind not in only:
                continue
            log = f"{name}-{kind}"
            if report.run(f"{name}.{kind}", lambda: _stopped(kind, log, args)):
                print(f"        {tail(log, 1)}", flush=True)

    return Part(name, what, run)


def _stopped(kind, log, args):
    build()
    with contextlib.ExitStack() as stack:
        silo = KINDS[kind](stack, "far")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdall-outage-")))
        declared = folder / "far.toml"
        declared.write_text(silo.declared)
        args = ["--declare", declared, "--pid", silo.pid, *args]
        code = sh([TARGET / "debug" / "outage", *args], log, env=dict(os.environ, **silo.env), timeout=1800)
        if code != 0:
            raise Failed(f"exit code {code}: {rig_said(log)}")


WHAT = "a silo of each other kind whose server stands still under load: elsewhere nobody notices"
# Without the silo for longer than it takes until that is known; what it does to latency is for the long run.
PARTS = [_part("outages", WHAT, "--before", "4", "--window", "14")]
SOAK = [_part("soak-outages", "the same five times each", "--pairs", "5")]
