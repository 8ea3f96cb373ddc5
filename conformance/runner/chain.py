"""The move chain: a gateway with a silo of every kind, each on a server or mount of its own that ends with it."""
import base64
import contextlib
import email.utils
import hashlib
import hmac
import os
import tempfile
import urllib.request
from pathlib import Path

from .gateway import Azurite, Moto
from .house import TARGET, Failed, Skip, sh, tail
from .install import azurite, python
from .mounts import Smb, Sshd, Sshfs
from .rust import Part, build, rig_said
from .web import ApacheDav, Nginx

ACCOUNT = "devstoreaccount1"
# Every emulator's, published with each of them.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
API = "2023-11-03"
# Where the rig's own silos come in.
ORDER = ("sshfs", "smb", "moto", "other", "azure", "gs", "sftp", "webdav")


class Chain:
    """What the rig is told: silos as declared, and the environment that they name."""

    def __init__(self):
        self.silos, self.env, self.web = {}, {}, []

    def add(self, name, url, **credentials):
        """A silo; each of its credentials is an environment variable of that value, or a file."""
        lines = [f"[silo.{name}]", f'url = "{url}"']
        named = []
        for field, value in credentials.items():
            if field.endswith("_env"):
                variable = f"CHAIN_{name}_{field}".upper()
                self.env[variable], value = value, variable
            named.append(f'{field} = "{value}"')
        if named:
            lines.append(f"credentials = {{ {', '.join(named)} }}")
        self.silos[name] = "\n".join(lines) + "\n"


def _sshfs(stack, chain):
    _mounted(stack, chain, "sshfs", Sshfs("chain-sshfs"))


def _smb(stack, chain):
    _mounted(stack, chain, "smb", Smb("chain-smb"))


def _mounted(stack, chain, name, mount):
    folder = stack.enter_context(mount).at / "silo"
    folder.mkdir()
    chain.add(name, f"file://{folder}")


def _moto(stack, chain):
    server = stack.enter_context(Moto(python()))
    _put(f"{server.url}/chain")
    keys = {"access_key_id_env": "testing", "secret_access_key_env": "testing"}
    chain.add("moto", f"s3://chain?endpoint={server.url}&region=us-east-1", **keys)


def _azure(stack, chain):
    server = stack.enter_context(Azurite(azurite()))
    date = email.utils.formatdate(usegmt=True)
    words = ["PUT", *[""] * 11, f"x-ms-date:{date}", f"x-ms-version:{API}", f"/{ACCOUNT}/{ACCOUNT}/chain", "restype:container"]
    signed = hmac.new(base64.b64decode(ACCOUNT_KEY), "\n".join(words).encode(), hashlib.sha256).digest()
    headers = {"x-ms-date": date, "x-ms-version": API}
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signed).decode()}"
    _put(f"{server.url}/chain?restype=container", headers)
    chain.add("azure", f"azure://chain?account={ACCOUNT}&endpoint={server.url}", account_key_env=ACCOUNT_KEY)


def _sftp(stack, chain):
    server = stack.enter_context(Sshd("chain-sftp"))
    chain.add("sftp", server.url() + server.query(), ssh_key_file=server.run / "key")


def _webdav(stack, chain):
    server = stack.enter_context(ApacheDav("chain-dav"))
    user, password = server.login.split(":")
    chain.add("webdav", server.url.replace("http:", "dav:"), user_env=user, password_env=password)


def _web(stack, chain):
    server = stack.enter_context(Nginx("chain-nginx"))
    chain.web = ["--web", f"{server.url}/html", "--web-folder", server.share]


KINDS = {"sshfs": _sshfs, "smb": _smb, "moto": _moto, "azure": _azure, "sftp": _sftp, "webdav": _webdav, "web": _web}


def _put(url, headers=None):
    """An empty PUT that must succeed."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, data=b"", method="PUT", headers=headers or {})
    # Without it, a type is made up that a signature does not know.
    request.add_unredirected_header("Content-Type", "")
    with opener.open(request, timeout=30):
        pass


def run(report, _only):
    """Starts what can be started here, and goes through all of it."""
    build()
    chain = Chain()
    with contextlib.ExitStack() as stack:
        for name, start in KINDS.items():
            try:
                start(stack, chain)
            except Skip as skip:
                report.skip(f"chain.{name}", str(skip))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdall-chain-")))
        declared = folder / "silos.toml"
        declared.write_text("".join(chain.silos.values()))
        through = ",".join(name for name in ORDER if name in chain.silos or name not in KINDS)
        args = ["--declare", declared, "--through", through, *chain.web]

        def test():
            code = sh([TARGET / "debug" / "chain", *args], "chain", env=dict(os.environ, **chain.env), timeout=900)
            if code != 0:
                raise Failed(f"exit code {code}: {rig_said('chain')}")

        if report.run("chain", test):
            print(f"        {tail('chain', 1)}", flush=True)


PARTS = [Part("chain", "objects moved through a silo of every kind and back: nothing that a client sees of them changes", run)]
