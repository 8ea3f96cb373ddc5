"""The move chain: a gateway with a silo of every kind, each on a server or mount of its own that ends with it."""
import contextlib
import os
import tempfile
from pathlib import Path

from .house import TARGET, Failed, Skip, sh, tail
from .kinds import KINDS
from .rust import Part, build, rig_said
from .web import Nginx

# Where the rig's own silos, which are always there, come in.
ORDER = ("sshfs", "smb", "moto", "other", "azure", "gs", "sftp", "webdav")
OWN = ("other", "gs")


def run(report, _only):
    """Starts what can be started here, and goes through all of it."""
    build()
    silos, args, env = {}, [], {}
    with contextlib.ExitStack() as stack:

        def start(name, make):
            try:
                return make()
            except Skip as skip:
                report.skip(f"chain.{name}", str(skip))

        for name, kind in KINDS.items():
            if silo := start(name, lambda: kind(stack, name)):
                silos[name] = silo
                env |= silo.env
        if web := start("web", lambda: stack.enter_context(Nginx("chain-nginx"))):
            args += ["--web", f"{web.url}/html", "--web-folder", web.share]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdall-chain-")))
        declared = folder / "silos.toml"
        declared.write_text("".join(silo.declared for silo in silos.values()))
        args += ["--declare", declared, "--through", ",".join(name for name in ORDER if name in silos or name in OWN)]

        def test():
            code = sh([TARGET / "debug" / "chain", *args], "chain", env=dict(os.environ, **env), timeout=900)
            if code != 0:
                raise Failed(f"exit code {code}: {rig_said('chain')}")

        if report.run("chain", test):
            print(f"        {tail('chain', 1)}", flush=True)


PARTS = [Part("chain", "objects moved through a silo of every kind and back: nothing that a client sees of them changes", run)]
