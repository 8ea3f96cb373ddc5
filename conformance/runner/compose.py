"""The Compose demo, where a Docker engine is or can be started.

Where no image registry is reached the base images are made here, by debootstrap, with this machine's own toolchain and
the crates it has already fetched: the Dockerfile takes them by build argument.
"""
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from . import rust
from .house import HOME, ROOT, Failed, Skip, fresh, need, sh, tail
from .install import debian

LOG = "compose"
PROJECT = "holdall-conformance"
SUITE = "bookworm"
# What each local image has beside a minimal Debian; debootstrap resolves no virtual packages, so those are named.
PACKAGES = {"builder": "gcc,libc6-dev,ca-certificates", "runtime": "ca-certificates", "client": "awscli,python3-cffi-backend,ca-certificates"}
DEFAULTS = {"builder": "rust:1.95-bookworm", "runtime": "gcr.io/distroless/cc-debian12", "client": "amazon/aws-cli:2.31.0"}


@contextlib.contextmanager
def _engine():
    """The environment in which `docker` works; an engine of our own is stopped in the end."""
    docker = debian("docker", "docker.io")
    if sh([docker, "info"], LOG) == 0:
        yield dict(os.environ)
        return
    daemon = debian("dockerd", "docker.io")
    if os.geteuid() != 0:
        raise Skip("no Docker engine runs, and only root can start one")
    # A socket's path is short, so it cannot be below .conformance.
    work = Path(tempfile.mkdtemp(prefix="holdall-docker-"))
    host = f"unix://{work}/docker.sock"
    args = [daemon, "--host", host, "--data-root", HOME / "docker" / "data", "--exec-root", work / "exec",
            "--pidfile", work / "docker.pid"]
    with (HOME / "logs" / "dockerd.log").open("ab") as log:
        child = subprocess.Popen([str(arg) for arg in args], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        env = dict(os.environ, DOCKER_HOST=host, DOCKER_BUILDKIT="0", COMPOSE_DOCKER_CLI_BUILD="0")
        deadline = time.monotonic() + 60
        while sh([docker, "info"], "compose-engine", env=env) != 0:
            if child.poll() is not None or time.monotonic() > deadline:
                raise Skip("dockerd does not start here, see .conformance/logs/dockerd.log")
            time.sleep(1)
        yield env
    finally:
        child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(60)
        if child.poll() is None:
            child.kill()
            child.wait()
        shutil.rmtree(work, ignore_errors=True)


def _images(env):
    """Build arguments: the published images where they can be pulled, else local ones."""
    if all(sh(["docker", "pull", "--quiet", image], LOG, env=env, timeout=600) == 0 for image in DEFAULTS.values()):
        return {}
    return {kind.upper(): _local(kind, env) for kind in DEFAULTS}


def _local(kind, env):
    name = f"holdall-local/{kind}:{SUITE}"
    if sh(["docker", "image", "inspect", name], "compose-engine", env=env) == 0:
        return name
    program = debian("debootstrap", "debootstrap")
    root = fresh(HOME / "docker" / kind)
    cache = HOME / "docker" / "debs"
    cache.mkdir(parents=True, exist_ok=True)
    try:
        need([program, "--variant=minbase", f"--cache-dir={cache}", f"--include={PACKAGES[kind]}", SUITE, root], LOG, timeout=900)
        changes = ["ENV DEBIAN_FRONTEND=noninteractive"]
        if kind == "builder":
            _toolchain(root)
            changes += ["ENV PATH=/rust/bin:/usr/bin:/bin", "ENV CARGO_HOME=/cargo", "ENV CARGO_NET_OFFLINE=true"]
        flags = [flag for change in changes for flag in ("--change", change)]
        _import(root, flags, name, env)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return name


def _import(root, flags, name, env):
    tar = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)
    try:
        need(["docker", "import", *flags, "-", name], LOG, env=env, stdin=tar.stdout, timeout=900)
    finally:
        tar.stdout.close()
        tar.wait()


def _toolchain(root):
    """This machine's toolchain and the crates of the lock file, so that the build needs no network."""
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    need(["cargo", "fetch", "--locked"], LOG)
    for part in ("bin", "lib"):
        shutil.copytree(Path(sysroot) / part, root / "rust" / part, symlinks=True, ignore=shutil.ignore_patterns("*docs*", "share"))
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    for part in ("registry/cache", "registry/index"):
        shutil.copytree(home / part, root / "cargo" / part, symlinks=True)


def _run(report, _only):
    def test():
        with _engine() as env:
            compose = [debian("docker-compose", "docker-compose"), "-f", ROOT / "docker" / "compose.yaml", "-p", PROJECT]
            env |= _images(env)
            try:
                need([*compose, "build"], LOG, env=env, timeout=3600)
                code = sh([*compose, "up", "--no-color", "--exit-code-from", "story", "story"], LOG, env=env, timeout=600)
                if code != 0:
                    raise Failed(f"the story ends with {code}: {tail(LOG)}")
            finally:
                sh([*compose, "down", "--volumes", "--timeout", "5"], "compose-engine", env=env, timeout=120)

    report.run("compose", test, required=False)


PARTS = [rust.Part("compose", "docker/compose.yaml tells the demo's story", _run)]
