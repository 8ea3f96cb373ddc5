"""Web servers with a folder of files, each on the loopback and gone with its test."""
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
ErrorLog {run}/log
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


class RcloneHttp(Web):
    """rclone's web server."""

    def serve(self, port):
        return [
            python() / "rclone", "serve", "http", self.share, "--addr", f"127.0.0.1:{port}", "--config",
            self.run / "rclone.conf", "--dir-cache-time", "0s", "--vfs-cache-mode", "off",
        ]


MODULES = Path("/usr/lib/apache2/modules")
