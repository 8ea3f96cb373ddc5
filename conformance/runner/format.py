"""Data folders of every format that was ever released, opened by this version."""
import subprocess
import tarfile

from . import rust
from .clients import lines
from .gateway import Gateway
from .house import CONFORMANCE, HOLDALL, Failed
from .install import python

FIXTURES = CONFORMANCE / "fixtures"
NOTE = "shown.json"


def _program(mode, gateway):
    env = gateway.env() | gateway.program_env(HOLDALL_PROGRAM=HOLDALL)
    return [python() / "python", CONFORMANCE / "clients" / "kept.py", mode, gateway.folder / NOTE], env


def _unpack(fixture, folder):
    with tarfile.open(fixture) as archive:
        archive.extractall(folder, filter="tar")


def _check(gateway):
    """Bytes and rows agree, every digest read."""
    gateway.command("check", "--deep")


def _run(report, _only):
    fixtures = sorted(FIXTURES.glob("format-*.tar.xz"))
    for fixture in fixtures:
        name = fixture.name.removesuffix(".tar.xz")
        lines(name, report, lambda gateway: _program("read", gateway), lambda: Gateway(name, prepare=lambda folder: _unpack(fixture, folder)), _check)
    if not fixtures:
        raise Failed("no fixture is there")


def write(number):
    """Writes the fixture of the format that this version writes."""
    rust.build()
    with Gateway("format") as gateway:
        args, env = _program("write", gateway)
        subprocess.run([str(arg) for arg in args], env=env, check=True)
        gateway.command("check", "--deep")
        gateway.stopped_cleanly()
        with tarfile.open(FIXTURES / f"format-{number}.tar.xz", "w:xz") as archive:
            for part in ("data", NOTE):
                archive.add(gateway.folder / part, part)


PARTS = [rust.Part("formats", "data folders of earlier versions", _run)]
