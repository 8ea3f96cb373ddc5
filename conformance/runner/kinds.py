"""A silo of each kind that Holdall writes to, each on a server or mount of its own that ends with it."""
import base64
import email.utils
import hashlib
import hmac
import urllib.request

from .gateway import Azurite, Moto
from .install import azurite, python
from .mounts import Smb, Sshd, Sshfs
from .web import ApacheDav

ACCOUNT = "devstoreaccount1"
# Every emulator's, published with each of them.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
API = "2023-11-03"


class Silo:
    """A silo as declared, the environment that its credentials name, and the process without which it stands still."""

    def __init__(self, name, url, server, **credentials):
        """Each of the credentials is an environment variable of that value, or a file."""
        self.env, self.pid = {}, server.pid
        lines, named = [f"[silo.{name}]", f'url = "{url}"'], []
        for field, value in credentials.items():
            if field.endswith("_env"):
                variable = f"SILO_{name}_{field}".upper()
                self.env[variable], value = value, variable
            named.append(f'{field} = "{value}"')
        if named:
            lines.append(f"credentials = {{ {', '.join(named)} }}")
        self.declared = "\n".join(lines) + "\n"


def _sshfs(stack, name):
    mount = stack.enter_context(Sshfs(f"sshfs-{name}"))
    return Silo(name, _folder(mount), mount.server)


def _smb(stack, name):
    mount = stack.enter_context(Smb(f"smb-{name}"))
    # rclone serves from its cache, and takes what is written into it, while its server stands still.
    return Silo(name, _folder(mount), mount.client)


def _folder(mount):
    folder = mount.at / "silo"
    folder.mkdir()
    return f"file://{folder}"


def _moto(stack, name):
    server = stack.enter_context(Moto(python()))
    _put(f"{server.url}/silo")
    keys = {"access_key_id_env": "testing", "secret_access_key_env": "testing"}
    return Silo(name, f"s3://silo?endpoint={server.url}&region=us-east-1", server.process, **keys)


def _azure(stack, name):
    server = stack.enter_context(Azurite(azurite()))
    date = email.utils.formatdate(usegmt=True)
    words = ["PUT", *[""] * 11, f"x-ms-date:{date}", f"x-ms-version:{API}", f"/{ACCOUNT}/{ACCOUNT}/silo", "restype:container"]
    signed = hmac.new(base64.b64decode(ACCOUNT_KEY), "\n".join(words).encode(), hashlib.sha256).digest()
    headers = {"x-ms-date": date, "x-ms-version": API}
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signed).decode()}"
    _put(f"{server.url}/silo?restype=container", headers)
    url = f"azure://silo?account={ACCOUNT}&endpoint={server.url}"
    return Silo(name, url, server.process, account_key_env=ACCOUNT_KEY)


def _sftp(stack, name):
    server = stack.enter_context(Sshd(f"sftp-{name}"))
    return Silo(name, server.url() + server.query(), server.server, ssh_key_file=server.run / "key")


def _webdav(stack, name):
    server = stack.enter_context(ApacheDav(f"dav-{name}"))
    user, password = server.login.split(":")
    return Silo(name, server.url.replace("http:", "dav:"), server.process, user_env=user, password_env=password)


# A web server is left out: nothing is written to it. So is Google's service, for which there is no server but the tests' own.
KINDS = {"sshfs": _sshfs, "smb": _smb, "moto": _moto, "azure": _azure, "sftp": _sftp, "webdav": _webdav}


def _put(url, headers=None):
    """An empty PUT that must succeed."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, data=b"", method="PUT", headers=headers or {})
    # Without it, a type is made up that a signature does not know.
    request.add_unredirected_header("Content-Type", "")
    with opener.open(request, timeout=30):
        pass
