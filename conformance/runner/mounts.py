"""Mounted paths: a folder over sshfs and a share over SMB, each by a server on the loopback that ends with its test."""
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from .gateway import free_port
from .house import LOGS, Failed, Skip, clean_env, need, sh
from .install import debian, python
from .web import CACHED

PASSWORD = "conformance"
SMB_CONF = """\
[global]
  server role = standalone server
  interfaces = 127.0.0.1/8
  bind interfaces only = yes
  smb ports = {port}
  disable netbios = yes
  disable spoolss = yes
  load printers = no
  server min protocol = SMB2
  passdb backend = tdbsam:{run}/passdb.tdb
  private dir = {run}
  lock directory = {run}
  state directory = {run}
  cache directory = {run}
  pid directory = {run}
  ncalrpc dir = {run}/ncalrpc
  log file = {run}/log
[share]
  path = {share}
  read only = no
"""
SSHD_CONF = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {run}/host
AuthorizedKeysFile {run}/key.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""


class Mount:
    """A server and what mounts its folder, below a temporary folder; on exit all of it is gone, whatever a test did to it."""

    def __init__(self, name, mounts=True):
        if mounts and not os.access("/dev/fuse", os.R_OK | os.W_OK):
            raise Skip("/dev/fuse cannot be opened: no FUSE here")
        if mounts:
            debian("fusermount3", "fuse3")
        self.name, self.mounts = name, mounts
        self.folder = Path(tempfile.mkdtemp(prefix=f"holdall-{name}-"))
        self.share, self.at, self.run = self.folder / "share", self.folder / "mnt", self.folder / "run"
        for folder in (self.share, self.at, self.run):
            folder.mkdir()
        self.port = free_port()
        self.server = self.client = None

    def __enter__(self):
        try:
            self.server = self.start(self.serve())
            self.wait(self.listens, self.server)
            if self.mounts:
                self.client = self.start(self.mount())
                self.wait(lambda: os.path.ismount(self.at), self.client)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        send(family(self.server) + family(self.client), signal.SIGCONT)
        if self.client:
            # Lazily, since a test that failed may still have a file open.
            sh(["fusermount3", "-u", "-z", self.at], f"mount-{self.name}")
        for process in (self.client, self.server):
            end(process)
        if os.path.ismount(self.at):
            sh(["umount", "-l", self.at], f"mount-{self.name}")
        if not os.path.ismount(self.at):
            shutil.rmtree(self.folder, ignore_errors=True)

    def served_by(self):
        """The processes whose standing still the mount feels as a server that hangs."""
        return ",".join(str(pid) for pid, _ in family(self.server))

    def mounted_by(self):
        """The processes whose standing still is the mount's own."""
        return ",".join(str(pid) for pid, _ in family(self.client))

    def start(self, args):
        """Starts a program of ours; what it says is in the log."""
        with (LOGS / f"mount-{self.name}.log").open("ab") as log:
            return subprocess.Popen(
                [str(arg) for arg in args], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean_env(),
                start_new_session=True,
            )

    def wait(self, ready, process):
        """Waits until something holds, or the process ends."""
        deadline = time.monotonic() + 30
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                log = (LOGS / f"mount-{self.name}.log").read_text(errors="replace")
                raise Failed(f"{process.args[0]} is not ready: {log[-400:]}")
            time.sleep(0.05)

    def listens(self):
        """Whether the server answers."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Sshfs(Mount):
    """A folder of an sshd of ours, mounted by sshfs."""

    def serve(self):
        sshd = debian("sshd", "openssh-server")
        for key in ("host", "key"):
            need(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.run / key], f"mount-{self.name}")
        (self.run / "conf").write_text(SSHD_CONF.format(port=self.port, run=self.run))
        if os.geteuid() == 0:
            # Where sshd drops its privileges; a machine that runs no sshd of its own lacks it.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        return [sshd, "-D", "-e", "-f", self.run / "conf"]

    def mount(self):
        options = f"IdentityFile={self.run / 'key'},StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null,BatchMode=yes"
        served = f"{getpass.getuser()}@127.0.0.1:{self.share}"
        return [debian("sshfs", "sshfs"), "-f", "-F", "/dev/null", "-p", self.port, "-o", options, served, self.at]


class Sshd(Mount):
    """A folder of an sshd of ours, which nothing mounts."""

    def __init__(self, name):
        super().__init__(name, mounts=False)

    serve = Sshfs.serve

    def url(self):
        """Where SFTP finds the folder."""
        return f"sftp://{getpass.getuser()}@127.0.0.1:{self.port}{self.share}"

    def query(self):
        """What an URL ends with, so that `ssh` trusts the server."""
        known = self.run / "known"
        known.write_text(f"[127.0.0.1]:{self.port} {(self.run / 'host.pub').read_text()}")
        return f"?known_hosts={known}"


class RcloneSftp(Sshd):
    """The same of rclone's SFTP server, which flushes nothing."""

    def serve(self):
        debian("ssh-keygen", "openssh-client")
        for key in ("host", "key"):
            need(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.run / key], f"mount-{self.name}")
        return [
            python() / "rclone", "serve", "sftp", self.share, "--addr", f"127.0.0.1:{self.port}", "--config",
            self.run / "rclone.conf", "--key", self.run / "host", "--authorized-keys", self.run / "key.pub",
            *CACHED, "--cache-dir", self.run / "cache",
        ]

    def url(self):
        """rclone shows nothing above the folder."""
        return f"sftp://me@127.0.0.1:{self.port}"


class Smb(Mount):
    """A share of an smbd of ours, mounted by rclone."""

    def __init__(self, name, cache="writes"):
        super().__init__(name)
        self.cache = cache

    def serve(self):
        smbd = debian("smbd", "samba")
        conf = self.run / "smb.conf"
        (self.run / "ncalrpc").mkdir()
        conf.write_text(SMB_CONF.format(port=self.port, run=self.run, share=self.share))
        add = subprocess.run(
            [debian("smbpasswd", "samba-common-bin"), "-c", conf, "-s", "-a", getpass.getuser()],
            input=f"{PASSWORD}\n{PASSWORD}\n", capture_output=True, text=True,
        )
        if add.returncode != 0:
            raise Failed(f"smbpasswd: {add.stdout}{add.stderr}")
        return [smbd, "-F", "--no-process-group", "-s", conf]

    def mount(self):
        rclone = python() / "rclone"
        obscured = subprocess.run([rclone, "obscure", PASSWORD], capture_output=True, text=True, check=True).stdout.strip()
        return [
            rclone, "mount", ":smb:share", self.at, "--config", self.run / "rclone.conf", "--cache-dir", self.run / "cache",
            "--smb-host", "127.0.0.1", "--smb-port", self.port, "--smb-user", getpass.getuser(), "--smb-pass", obscured,
            "--vfs-cache-mode", self.cache,
        ]


def family(process):
    """A process and all below it that are alive: their ids, each with its parent and when it was started."""
    if process is None or process.poll() is not None:
        return []
    every = {int(stat.parent.name): _born(int(stat.parent.name)) for stat in Path("/proc").glob("[0-9]*/stat")}
    found = [process.pid]
    for pid in found:
        found += [child for child, born in every.items() if born and born[0] == pid]
    return [(pid, every[pid][1]) for pid in found if every.get(pid)]


def _born(pid):
    """The parent of a process and when it was started; nothing of one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), fields[19]


def send(processes, number):
    """Sends a signal to what is still the process it was."""
    for pid, start in processes:
        born = _born(pid)
        if born and born[1] == start:
            os.kill(pid, number)


def end(process):
    """Ends a process and all below it."""
    processes = family(process)
    send(processes, signal.SIGTERM)
    if process:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        send(processes, signal.SIGKILL)
        process.wait(10)
