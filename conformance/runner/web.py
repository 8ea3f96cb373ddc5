"""Web servers with a folder of files, each on the loopback and gone with its test."""
import base64
import hashlib
import os
import pwd
import shutil
import tempfile
from pathlib import Path

from .gateway import Beside, free_port
from .install import debian, python

NGINX_CONF = """\
daemon off;
master_process off;
pid {run}/pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {run}/body;
  proxy_temp_path {run}/proxy;
  fastcgi_temp_path {run}/fastcgi;
  uwsgi_temp_path {run}/uwsgi;
  scgi_temp_path {run}/scgi;
  server {{
    listen 127.0.0.1:{port};
    autoindex on;
    location /html/ {{ alias {share}/; }}
    location /json/ {{ alias {share}/; autoindex_format json; }}
  }}
}}
"""
APACHE_CONF = """\
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile {run}/pid
DefaultRuntimeDir {run}
ErrorLog /dev/stderr
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule autoindex_module {modules}/mod_autoindex.so
{user}
DocumentRoot {share}
<Directory {share}>
  Options Indexes
  Require all granted
</Directory>
AllowEncodedSlashes NoDecode
"""


DAV_CONF = """\
LoadModule dav_module {modules}/mod_dav.so
LoadModule dav_fs_module {modules}/mod_dav_fs.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authn_file_module {modules}/mod_authn_file.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule auth_basic_module {modules}/mod_auth_basic.so
DavLockDB {run}/locks
<Location />
  Dav On
  AuthType Basic
  AuthName conformance
  AuthUserFile {run}/users
  Require valid-user
</Location>
"""


class Web(Beside):
    """A server of a folder of its own."""

    def __init__(self, name):
        self.folder = Path(tempfile.mkdtemp(prefix=f"holdall-{name}-"))
        self.folder.chmod(0o755)
        self.share, self.run = self.folder / "share", self.folder / "run"
        for folder in (self.share, self.run):
            folder.mkdir()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        try:
            super().__init__(name, self.serve(port), port, "/", any_answer=True)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def __exit__(self, *_):
        super().__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)


class Nginx(Web):
    """nginx, whose pages are HTML below /html and JSON below /json."""

    def serve(self, port):
        conf = self.run / "conf"
        conf.write_text(NGINX_CONF.format(port=port, run=self.run, share=self.share))
        return [debian("nginx", "nginx-light"), "-c", conf, "-p", self.run]


class Apache(Web):
    """Apache; its workers are nobody in particular."""

    conf = APACHE_CONF

    def serve(self, port):
        program = debian("apache2", "apache2-bin")
        user = ""
        if os.geteuid() == 0:
            worker = pwd.getpwnam("www-data")
            user = "User www-data\nGroup www-data"
            for folder in (self.share, self.run):
                os.chown(folder, worker.pw_uid, worker.pw_gid)
        conf = self.run / "conf"
        conf.write_text(self.conf.format(port=port, run=self.run, share=self.share, modules=MODULES, user=user))
        return [program, "-d", self.run, "-f", conf, "-X"]


class ApacheDav(Apache):
    """Apache's mod_dav, which asks for a password."""

    login = "holdall:conformance"
    conf = APACHE_CONF + DAV_CONF

    def serve(self, port):
        user, password = self.login.split(":")
        digest = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()
        (self.run / "users").write_text(f"{user}:{{SHA}}{digest}\n")
        (self.run / "users").chmod(0o644)
        return super().serve(port)


class RcloneDav(Web):
    """rclone's WebDAV server, which asks for a password."""

    login = "holdall:conformance"

    def serve(self, port):
        user, password = self.login.split(":")
        return [
            python() / "rclone", "serve", "webdav", self.share, "--addr", f"127.0.0.1:{port}", "--config",
            self.run / "rclone.conf", *CACHED, "--cache-dir", self.run / "cache", "--user", user, "--pass", password,
        ]


class RcloneHttp(Web):
    """rclone's web server."""

    def serve(self, port):
        return [
            python() / "rclone", "serve", "http", self.share, "--addr", f"127.0.0.1:{port}", "--config",
            self.run / "rclone.conf", "--dir-cache-time", "0s", "--vfs-cache-mode", "off",
        ]


MODULES = Path("/usr/lib/apache2/modules")
# rclone takes bytes in any order only into files of its own, and hands those on at once.
# What it knows of folders it keeps: with 0s it locks itself out.
CACHED = ("--vfs-cache-mode", "writes", "--vfs-write-back", "0s", "--dir-cache-time", "1h")
