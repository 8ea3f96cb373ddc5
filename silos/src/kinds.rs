//! What is known of each kind of silo before one is probed: the tests hold what probes find to it, and the tables of
//! `docs/silos.md` are made of it.

use crate::facts::Facts;
use crate::posix::kind::{self as mounts, Kind};
use crate::web::Words;
use crate::{azure, dav, gcs, http, s3, sftp};

/// Whether silos of a kind promise something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// All of them.
    Always,
    /// None of them.
    Never,
    /// Some: the probe tries it out.
    Probed,
}

impl Promise {
    /// What all of these have in common.
    fn of(kinds: &[Kind], keeps: impl Fn(&Kind) -> bool) -> Self {
        match kinds.iter().filter(|kind| keeps(kind)).count() {
            0 => Self::Never,
            some if some == kinds.len() => Self::Always,
            _ => Self::Probed,
        }
    }

    /// Whether a silo of the kind may have been found so.
    fn allows(self, found: bool) -> bool {
        match self {
            Self::Always => found,
            Self::Never => !found,
            Self::Probed => true,
        }
    }
}

/// A kind of silo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// As people call it.
    pub name: &'static str,
    /// How it is declared.
    pub url: &'static str,
    /// See [`Facts::family`].
    pub family: &'static str,
    /// What [`Facts::kind`] may be; empty where servers name themselves.
    pub kinds: Vec<&'static str>,
    /// See [`Facts::exclusive_create`].
    pub exclusive_create: Promise,
    /// See [`Facts::enforces_upload_checksum`].
    pub enforces_upload_checksum: Promise,
    /// See [`Facts::conditional_read`].
    pub conditional_read: Promise,
    /// See [`Facts::durable_put`].
    pub durable_put: Promise,
    /// It takes no bytes: what it holds can be taken over, no more.
    pub read_only: bool,
    /// No silo of the kind shows finer times, nanoseconds.
    pub time_grain_ns: u64,
    /// What it lacks or wants, one sentence each.
    pub limits: Vec<String>,
}

impl Known {
    /// Every kind, in the order of the documentation.
    pub fn all() -> Vec<Self> {
        let [sshfs, rclone] = mounts::BY_FUSE;
        let (local, other): (Vec<_>, Vec<_>) = mounts::every().partition(|kind| kind.local);
        vec![
            disk(&local),
            over_sshfs(sshfs),
            smb(rclone),
            mount(&other),
            of_s3(),
            of_azure(),
            of_gcs(),
            of_sftp(),
            of_webdav(),
            of_http(),
        ]
    }

    /// The kind of a silo that was probed; none of what is only for tests.
    pub fn of(facts: &Facts) -> Option<Self> {
        let same = |known: &Self| {
            known.family == facts.family && (known.kinds.is_empty() || known.kinds.contains(&&*facts.kind))
        };
        Self::all().into_iter().find(same)
    }

    /// What of these facts no silo of this kind may have, one fragment each.
    pub fn differs(&self, facts: &Facts) -> Vec<&'static str> {
        let grain = facts.time_grain_ns;
        let held = [
            (self.exclusive_create.allows(facts.exclusive_create), "exclusive create"),
            (self.enforces_upload_checksum.allows(facts.enforces_upload_checksum), "upload checksums"),
            (self.conditional_read.allows(facts.conditional_read), "conditional reads"),
            (self.durable_put.allows(facts.durable_put), "durability"),
            (grain == 0 || grain >= self.time_grain_ns, "time grain"),
            (facts.max_blob == if self.read_only { 0 } else { crate::limits::MAX_EXTENT }, "largest blob"),
        ];
        held.into_iter().filter_map(|(holds, what)| (!holds).then_some(what)).collect()
    }
}

/// What folders have in common.
fn folder(name: &'static str, kinds: &[Kind], limits: &[&str]) -> Known {
    Known {
        name,
        url: "file:///path",
        family: "posix",
        kinds: kinds.iter().map(|kind| kind.name).collect(),
        exclusive_create: Promise::of(kinds, |kind| kind.creates_exclusively()),
        enforces_upload_checksum: Promise::Never,
        conditional_read: Promise::Always,
        durable_put: Promise::of(kinds, |kind| kind.durable),
        read_only: false,
        time_grain_ns: kinds.iter().map(|kind| kind.least_grain_ns()).min().unwrap_or(0),
        limits: limits.iter().map(|limit| (*limit).to_owned()).collect(),
    }
}

fn disk(kinds: &[Kind]) -> Known {
    folder("disk", kinds, &["`tmpfs` and `ramfs` are lost with the machine, and said not to be durable."])
}

/// SFTP tells when a file was last written to, as its writer says.
const SET_BACK: &str = "Of what is taken over, a rewrite of the same size whose writer sets the time back (`touch -r`) is not \
                        seen: there is no time of the change itself.";

fn over_sshfs(kind: Kind) -> Known {
    let limits = [
        "Folders cannot be flushed: that a new name survives a power loss is the word of the server's file system.",
        "Times have whole seconds.",
        SET_BACK,
    ];
    folder("sshfs", &[kind], &limits)
}

fn smb(kind: Kind) -> Known {
    let limits = [
        "It has to be mounted with `--vfs-cache-mode writes`; without, it is refused when it is registered.",
        "rclone answers a flush before its server has the bytes, and reads them back from its own cache: no silo for the \
         only copy.",
        "A name can neither be moved nor linked without replacing: register the silo with one gateway at a time.",
    ];
    folder("SMB by rclone", &[kind], &limits)
}

fn mount(kinds: &[Kind]) -> Known {
    let limits = [
        "NFS and SMB as the kernel mounts them: bytes are flushed by the server, a new name's survival is its word.",
        "FUSE programs other than these two are not known to pass flushes and creates on, and said not to.",
    ];
    folder("other mounts", kinds, &limits)
}

/// What buckets have in common: nothing that a server says is taken for a promise.
fn bucket(name: &'static str, url: &'static str, words: &Words, versions: &str) -> Known {
    let asked = format!(
        "Asked for by `{}` (replace nothing) and `{}` (refuse other bytes).",
        words.exclusive_shown,
        words.checksum.header.as_str()
    );
    Known {
        name,
        url,
        family: words.family,
        kinds: Vec::new(),
        exclusive_create: Promise::Probed,
        enforces_upload_checksum: Promise::Probed,
        conditional_read: Promise::Probed,
        durable_put: Promise::Always,
        read_only: false,
        time_grain_ns: crate::web::TIME_GRAIN,
        limits: vec![asked, versions.to_owned()],
    }
}

fn of_s3() -> Known {
    bucket("S3", "s3://bucket/prefix", &s3::WORDS, "Where the bucket keeps versions, blobs are deleted by version.")
}

fn of_azure() -> Known {
    let versions = "What versions and soft delete keep takes room until it goes; snapshots go with their blob.";
    bucket("Azure Blob Storage", "azure://container/prefix?account=NAME", &azure::WORDS, versions)
}

fn of_gcs() -> Known {
    let versions = "Where the bucket keeps versions, blobs are deleted by generation.";
    bucket("Google Cloud Storage", "gs://bucket/prefix", &gcs::WORDS, versions)
}

fn of_sftp() -> Known {
    let limits = [
        "By the machine's own `ssh` program, in whose known hosts the server has to be; a password is asked for by nobody.",
        "Bytes are flushed where the server can (OpenSSH can); folders cannot be, so that a new name's survival is its word.",
        "Times have whole seconds. Of others' files links are not followed, and names that are not UTF-8 are refused.",
        SET_BACK,
    ];
    files(sftp::FAMILY, "SFTP", "sftp://user@host/path", Promise::Always, Promise::Probed, &limits)
}

fn of_webdav() -> Known {
    let limits = [
        "Asked for by `If-None-Match` (replace nothing). No server says whether what it took survives a power loss: no silo for \
         the only copy.",
        "A folder is listed by `PROPFIND` with `Depth: 1`. Nothing is locked. Credentials go over `davs:` alone, or to this \
         machine.",
    ];
    files(dav::WORDS.family, "WebDAV", "davs://host/path", Promise::Probed, Promise::Never, &limits)
}

/// What servers of files have in common.
fn files(
    family: &'static str,
    name: &'static str,
    url: &'static str,
    conditional_read: Promise,
    durable_put: Promise,
    limits: &[&str],
) -> Known {
    Known {
        name,
        url,
        family,
        kinds: Vec::new(),
        exclusive_create: Promise::Probed,
        enforces_upload_checksum: Promise::Never,
        conditional_read,
        durable_put,
        read_only: false,
        time_grain_ns: crate::web::TIME_GRAIN,
        limits: limits.iter().map(|limit| (*limit).to_owned()).collect(),
    }
}

fn of_http() -> Known {
    let limits = [
        "Read-only, to be taken over. What there is says the page of each folder, as nginx, Apache, Caddy, rclone and Python \
         make it, or, with `?list=NAME`, a file with one name a line or a JSON array of them: what neither names is not \
         seen, and a page that lists no folder (an `index.html`) is an error.",
        "Each name costs a HEAD a pass. It needs `Content-Length` and `Last-Modified`, and ranges.",
        "A file is known by its `ETag` and `Last-Modified`: one that is written to twice within a second is waited for, one \
         whose time is set back is not told from the one before.",
        "Redirects are not followed. Credentials go over `https:` alone, or to this machine.",
    ];
    Known {
        name: "web server",
        url: "https://host/path",
        family: http::WORDS.family,
        kinds: Vec::new(),
        exclusive_create: Promise::Never,
        enforces_upload_checksum: Promise::Never,
        conditional_read: Promise::Always,
        durable_put: Promise::Never,
        read_only: true,
        time_grain_ns: crate::web::TIME_GRAIN,
        limits: limits.iter().map(|limit| (*limit).to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests;
