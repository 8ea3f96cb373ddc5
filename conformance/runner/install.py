"""What the tests need and the machine lacks: Debian packages by apt-get, the rest below .conformance/."""
import contextlib
import hashlib
import os
import shutil
import sys
from pathlib import Path

from .house import CONFORMANCE, HOME, Skip, clean_env, need, sh

VENV = HOME / "venv"
NPM = HOME / "npm"
AZURITE = HOME / "azurite"
_apt = {}


def debian(program, package):
    """Makes sure that a program is there."""
    if found := shutil.which(program):
        return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Skip(f"`{program}` is missing and cannot be installed here (Debian: {package})")
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    if "update" not in _apt:
        _apt["update"] = sh(["apt-get", "update", "-qq"], "install-apt", env=env)
    with _nothing_starts():
        code = sh(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], "install-apt", env=env)
    if code != 0:
        raise Skip(f"`{program}` is missing and `apt-get install {package}` failed")
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if not found:
        raise Skip(f"Debian's {package} brings no `{program}`")
    return found


@contextlib.contextmanager
def _nothing_starts():
    """While a package is installed, the server that it may bring is not started: tests start their own, on the loopback."""
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            policy.unlink()


def python(more=None):
    """The virtual environment with the clients, and with what `more` (a requirements file) names."""
    for requirements in filter(None, [CONFORMANCE / "clients" / "requirements.txt", more]):
        if _stamped(VENV, requirements):
            continue
        if not (VENV / "bin" / "python").exists():
            if sh([sys.executable, "-m", "venv", VENV], "install-pypi") != 0:
                _venv_by_debian()
        pip = [VENV / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements]
        if sh(pip, "install-pypi") != 0:
            raise Skip(f"`pip install -r {requirements.name}` failed, see .conformance/logs/install-pypi.log")
        _stamp(VENV, requirements)
    return VENV / "bin"


def _venv_by_debian():
    shutil.rmtree(VENV, ignore_errors=True)
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    if os.geteuid() == 0 and shutil.which("apt-get"):
        sh(["apt-get", "update", "-qq"], "install-apt", env=env)
        sh(["apt-get", "install", "-y", "-qq", "python3-venv"], "install-apt", env=env)
    if sh([sys.executable, "-m", "venv", VENV], "install-pypi") != 0:
        raise Skip("no virtual environment can be made (Debian: python3-venv)")


def npm():
    """The folder with the JavaScript clients."""
    return _packages(CONFORMANCE / "clients", NPM)


def azurite():
    """The program that speaks Azure's Blob API."""
    return _packages(CONFORMANCE / "azurite", AZURITE) / "node_modules" / ".bin" / "azurite-blob"


def _packages(source, folder):
    """What a folder's package.json and lock name, installed into another."""
    debian("node", "nodejs")
    program = debian("npm", "npm")
    lock = source / "package-lock.json"
    if not _stamped(folder, lock):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "package.json", folder)
        shutil.copy(lock, folder)
        need([program, "ci", "--no-audit", "--no-fund"], "install-npm", cwd=folder, env=clean_env())
        _stamp(folder, lock)
    return folder


def _stamped(folder, source):
    stamp = folder / f".installed-{source.name}"
    return stamp.exists() and stamp.read_text() == _digest(source)


def _stamp(folder, source):
    (folder / f".installed-{source.name}").write_text(_digest(source))


def _digest(source):
    return hashlib.sha256(source.read_bytes()).hexdigest()
