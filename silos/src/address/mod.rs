//! A silo is named by a URL.

mod check;

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;
use url::form_urlencoded;

pub(crate) use check::check_endpoint;
use check::{
    check_account, check_bool, check_bucket, check_container, check_file, check_host, check_list, check_prefix,
    check_region, check_user, unknown, without_password,
};

/// Where a silo is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// `file:///absolute` or `file:relative` (below the data folder).
    Posix(PathBuf),
    /// `s3://bucket[/prefix]?endpoint=URL&region=NAME&path_style=true|false`.
    S3 {
        /// Bucket name.
        bucket: String,
        /// Prefix of all our names, without slashes at its ends; may be empty.
        prefix: String,
        /// `http://host:port`; AWS's own when absent.
        endpoint: Option<String>,
        /// Signing region.
        region: String,
        /// Path-style addressing; the default wherever an endpoint is given.
        path_style: bool,
    },
    /// `azure://container[/prefix]?account=NAME&endpoint=URL`: Azure Blob Storage.
    Azure {
        /// Container name.
        container: String,
        /// Prefix of all our names, without slashes at its ends; may be empty.
        prefix: String,
        /// The storage account.
        account: String,
        /// `https://host:port`, with the account behind it where the host is not the account's alone:
        /// `http://127.0.0.1:10000/devstoreaccount1`. The account's own in Azure's public cloud when absent.
        endpoint: Option<String>,
    },
    /// `gs://bucket[/prefix]?endpoint=URL`: Google Cloud Storage.
    Gcs {
        /// Bucket name.
        bucket: String,
        /// Prefix of all our names, without slashes at its ends; may be empty.
        prefix: String,
        /// `https://host:port`; Google's own when absent. `http:` only with a loopback address, where emulators are:
        /// requests there go unsigned unless credentials are declared or set in the environment, and the machine's
        /// metadata service is not asked.
        endpoint: Option<String>,
    },
    /// `https://host[:port][/path]?list=NAME` or `http:`: files of others on a web server.
    Http {
        /// Scheme, host and port.
        origin: String,
        /// Path of all names, without slashes at its ends; may be empty.
        path: String,
        /// The file, below the path, that lists all names; the server's page of each folder where there is none.
        list: Option<String>,
    },
    /// `davs://host[:port][/path]`, or `dav:` without TLS: WebDAV.
    Dav {
        /// Scheme, host and port, the scheme `http:` or `https:`.
        origin: String,
        /// Path of all our names, without slashes at its ends; may be empty.
        path: String,
    },
    /// `sftp://[user@]host[:port]/path?known_hosts=FILE`: SFTP, by the machine's own `ssh`.
    Sftp {
        /// Who is let in; who `ssh` says where it is left out.
        user: Option<String>,
        /// As `ssh` knows it.
        host: String,
        /// What `ssh` says where it is left out.
        port: Option<u16>,
        /// From the server's root, without slashes at its ends; may be empty.
        path: String,
        /// The file with the keys of known hosts; the user's where it is left out.
        known_hosts: Option<String>,
    },
    /// `memory:NAME`: lost with the process; for tests. The same name is the same silo within a process.
    #[cfg(any(test, feature = "memory"))]
    Memory(String),
}

/// The URL names no silo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}`: {reason}")]
pub struct BadAddress {
    /// The URL as given, a password in it left out.
    pub url: String,
    /// What is wrong, naming the part.
    pub reason: String,
}

/// The region requests are signed for where the URL names none.
const DEFAULT_REGION: &str = "us-east-1";
const SCHEMES: [&str; 9] = ["file", "s3", "azure", "gs", "sftp", "dav", "davs", "http", "https"];
const S3_PARAMETERS: [&str; 3] = ["endpoint", "region", "path_style"];
const AZURE_PARAMETERS: [&str; 2] = ["account", "endpoint"];
const GCS_PARAMETERS: [&str; 1] = ["endpoint"];
const HTTP_PARAMETERS: [&str; 1] = ["list"];
const SFTP_PARAMETERS: [&str; 1] = ["known_hosts"];

impl Address {
    /// Parses a silo's URL; `base` is the folder that relative paths are below.
    pub fn parse(url: &str, base: &Path) -> Result<Self, BadAddress> {
        Self::read(url, base).map_err(|reason| BadAddress { url: without_password(url), reason })
    }

    /// The name, below what the silo is, of a key in a bucket; none where that is another bucket, or lies elsewhere.
    pub fn name_of<'a>(&self, in_bucket: &str, key: &'a str) -> Option<&'a str> {
        let (bucket, prefix) = match self {
            Self::S3 { bucket, prefix, .. } | Self::Gcs { bucket, prefix, .. } => (bucket, prefix),
            Self::Azure { container, prefix, .. } => (container, prefix),
            Self::Posix(_) | Self::Http { .. } | Self::Dav { .. } | Self::Sftp { .. } => return None,
            #[cfg(any(test, feature = "memory"))]
            Self::Memory(_) => return None,
        };
        if bucket != in_bucket {
            return None;
        }
        if prefix.is_empty() { Some(key) } else { key.strip_prefix(prefix.as_str())?.strip_prefix('/') }
    }

    fn read(url: &str, base: &Path) -> Result<Self, String> {
        let (scheme, rest) = url.split_once(':').ok_or_else(|| {
            format!("a silo's URL begins with one of `{}:`; a folder is `file:{url}`", SCHEMES.join(":`, `"))
        })?;
        match scheme {
            "file" => posix(rest, base).map(Self::Posix),
            "s3" => s3(rest),
            "azure" => azure(rest),
            "gs" => gcs(rest),
            "sftp" => sftp(rest),
            "dav" => dav("http", rest),
            "davs" => dav("https", rest),
            "http" | "https" => http(scheme, rest),
            #[cfg(any(test, feature = "memory"))]
            "memory" if !rest.is_empty() => Ok(Self::Memory(rest.to_owned())),
            _ => Err(unknown("scheme", scheme, &SCHEMES)),
        }
    }
}

fn posix(rest: &str, base: &Path) -> Result<PathBuf, String> {
    if let Some(at) = rest.find(['?', '#']) {
        let part = &rest[at..];
        return Err(format!("a `file:` URL takes no parameters, but has `{part}`; in a name write `%3F` or `%23`"));
    }
    let path = match rest.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(host) => return Err(format!("`file://` is followed by a path, `/{host}` perhaps, not by a host")),
        None => rest,
    };
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| "the path is not UTF-8".to_owned())?;
    let path = Path::new(decoded.as_ref());
    if decoded.is_empty() || decoded.contains('\0') {
        return Err("the path is empty or contains NUL".to_owned());
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("the path contains `..`".to_owned());
    }
    Ok(if path.is_absolute() { path.to_owned() } else { base.join(path) })
}

/// A bucket's URL taken apart.
struct Parts<'a> {
    bucket: &'a str,
    prefix: String,
    query: &'a str,
}

impl<'a> Parts<'a> {
    /// `what` is the kind, as in `an S3 silo`, and `form` the least that such a URL is.
    fn of(rest: &'a str, what: &str, form: &str) -> Result<Self, String> {
        let parts = Self::with_user(rest, what, form)?;
        if parts.bucket.contains('@') {
            return Err("credentials do not belong into a URL".to_owned());
        }
        Ok(parts)
    }

    /// The same where a user's name may stand before the place.
    fn with_user(rest: &'a str, what: &str, form: &str) -> Result<Self, String> {
        let rest = rest.strip_prefix("//").ok_or_else(|| format!("{what} is `{form}`"))?;
        if rest.contains('#') {
            let scheme = form.split_once(':').map_or(form, |(scheme, _)| scheme);
            return Err(format!("an `{scheme}:` URL has no `#`; write `%23`"));
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = percent_decode_str(prefix).decode_utf8().map_err(|_| "the prefix is not UTF-8".to_owned())?;
        let prefix = prefix.trim_matches('/').to_owned();
        check_prefix(&prefix)?;
        Ok(Self { bucket, prefix, query })
    }

    /// Hands every parameter to `take`, which puts it where it belongs and says whether there was one already.
    fn parameters(
        &self,
        known: &[&str],
        mut take: impl FnMut(&str, Cow<'_, str>) -> Result<bool, String>,
    ) -> Result<(), String> {
        for (key, value) in form_urlencoded::parse(self.query.as_bytes()) {
            if !known.contains(&key.as_ref()) {
                return Err(unknown("parameter", &key, known));
            }
            if take(&key, value)? {
                return Err(format!("parameter `{key}` is given twice"));
            }
        }
        Ok(())
    }
}

fn s3(rest: &str) -> Result<Address, String> {
    let parts = Parts::of(rest, "an S3 silo", "s3://bucket")?;
    let bucket = check_bucket(parts.bucket)?;
    let (mut endpoint, mut region, mut path_style) = (None, None, None);
    parts.parameters(&S3_PARAMETERS, |key, value| {
        Ok(match key {
            "endpoint" => endpoint.replace(check_endpoint(&value, None)?).is_some(),
            "region" => region.replace(check_region(&value)?).is_some(),
            _ => path_style.replace(check_bool(&value)?).is_some(),
        })
    })?;
    Ok(Address::S3 {
        // A name with dots matches no wildcard certificate.
        path_style: path_style.unwrap_or(endpoint.is_some() || bucket.contains('.')),
        bucket,
        prefix: parts.prefix,
        endpoint,
        region: region.unwrap_or_else(|| DEFAULT_REGION.to_owned()),
    })
}

fn azure(rest: &str) -> Result<Address, String> {
    let parts = Parts::of(rest, "an Azure silo", "azure://container?account=NAME")?;
    let container = check_container(parts.bucket)?;
    let (mut account, mut endpoint) = (None, None);
    parts.parameters(&AZURE_PARAMETERS, |key, value| {
        Ok(match key {
            "account" => account.replace(check_account(&value)?).is_some(),
            _ => endpoint.replace(value.into_owned()).is_some(),
        })
    })?;
    let account = account.ok_or("an Azure silo has the parameter `account`")?;
    let endpoint = endpoint.map(|url| check_endpoint(&url, Some(&account))).transpose()?;
    Ok(Address::Azure { container, prefix: parts.prefix, account, endpoint })
}

fn gcs(rest: &str) -> Result<Address, String> {
    let parts = Parts::of(rest, "a silo of Google Cloud Storage", "gs://bucket")?;
    let bucket = check_bucket(parts.bucket)?;
    let mut endpoint = None;
    parts.parameters(&GCS_PARAMETERS, |_, value| Ok(endpoint.replace(check_endpoint(&value, None)?).is_some()))?;
    if let Some(url) = endpoint.as_ref().filter(|url| url.starts_with("http://") && !crate::web::is_loopback(url)) {
        return Err(format!("endpoint `{url}` would be sent tokens unencrypted; `http://` is for this machine alone"));
    }
    Ok(Address::Gcs { bucket, prefix: parts.prefix, endpoint })
}

fn http(scheme: &str, rest: &str) -> Result<Address, String> {
    let parts = Parts::of(rest, "a web server", "https://host/path")?;
    let origin = check_endpoint(&format!("{scheme}://{}", parts.bucket), None)?;
    let mut list = None;
    parts.parameters(&HTTP_PARAMETERS, |_, value| Ok(list.replace(check_list(&value)?).is_some()))?;
    Ok(Address::Http { origin, path: parts.prefix, list })
}

fn dav(scheme: &str, rest: &str) -> Result<Address, String> {
    let parts = Parts::of(rest, "a WebDAV silo", "davs://host/path")?;
    let origin = check_endpoint(&format!("{scheme}://{}", parts.bucket), None)?;
    parts.parameters(&[], |_, _| Ok(false))?;
    Ok(Address::Dav { origin, path: parts.prefix })
}

fn sftp(rest: &str) -> Result<Address, String> {
    let parts = Parts::with_user(rest, "an SFTP silo", "sftp://user@host/path")?;
    let (user, place) = match parts.bucket.rsplit_once('@') {
        Some((user, place)) => (Some(check_user(user)?), place),
        None => (None, parts.bucket),
    };
    let (host, port) = check_host(place)?;
    let mut known_hosts = None;
    parts.parameters(&SFTP_PARAMETERS, |_, value| Ok(known_hosts.replace(check_file(&value)?).is_some()))?;
    Ok(Address::Sftp { user, host, port, path: parts.prefix, known_hosts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, BadAddress> {
        Address::parse(url, Path::new("/data"))
    }

    fn posix_at(path: &str) -> Address {
        Address::Posix(PathBuf::from(path))
    }

    fn s3_at(bucket: &str, prefix: &str, endpoint: Option<&str>, region: &str, path_style: bool) -> Address {
        Address::S3 {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: endpoint.map(str::to_owned),
            region: region.to_owned(),
            path_style,
        }
    }

    fn azure_at(container: &str, prefix: &str, endpoint: Option<&str>) -> Address {
        Address::Azure {
            container: container.to_owned(),
            prefix: prefix.to_owned(),
            account: "acct".to_owned(),
            endpoint: endpoint.map(str::to_owned),
        }
    }

    fn gcs_at(bucket: &str, prefix: &str, endpoint: Option<&str>) -> Address {
        Address::Gcs { bucket: bucket.to_owned(), prefix: prefix.to_owned(), endpoint: endpoint.map(str::to_owned) }
    }

    fn http_at(origin: &str, path: &str, list: Option<&str>) -> Address {
        Address::Http { origin: origin.to_owned(), path: path.to_owned(), list: list.map(str::to_owned) }
    }

    fn dav_at(origin: &str, path: &str) -> Address {
        Address::Dav { origin: origin.to_owned(), path: path.to_owned() }
    }

    fn sftp_at(user: Option<&str>, host: &str, port: Option<u16>, path: &str, known_hosts: Option<&str>) -> Address {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Address::Sftp {
            user: owned(user),
            host: host.to_owned(),
            port,
            path: path.to_owned(),
            known_hosts: owned(known_hosts),
        }
    }

    #[test]
    fn addresses_that_are_understood() {
        for (url, expected) in [
            ("file:///srv/hot", posix_at("/srv/hot")),
            ("file:/srv/hot", posix_at("/srv/hot")),
            ("file:hot", posix_at("/data/hot")),
            ("file:a%20b/c%3F", posix_at("/data/a b/c?")),
            ("memory:x", Address::Memory("x".to_owned())),
            ("s3://archive", s3_at("archive", "", None, "us-east-1", false)),
            ("s3://archive/", s3_at("archive", "", None, "us-east-1", false)),
            ("s3://archive/a/b/?region=eu-west-1", s3_at("archive", "a/b", None, "eu-west-1", false)),
            (
                "s3://archive?endpoint=http://127.0.0.1:9100&region=us-east-1",
                s3_at("archive", "", Some("http://127.0.0.1:9100"), "us-east-1", true),
            ),
            (
                "s3://archive?endpoint=https%3A%2F%2Fs3.example.com%2F&path_style=false",
                s3_at("archive", "", Some("https://s3.example.com"), "us-east-1", false),
            ),
            ("azure://cold-1?account=acct", azure_at("cold-1", "", None)),
            (
                "azure://cold/a/b/?endpoint=http://127.0.0.1:10000/acct/&account=acct",
                azure_at("cold", "a/b", Some("http://127.0.0.1:10000/acct")),
            ),
            (
                "azure://cold?account=acct&endpoint=https://acct.blob.example.com",
                azure_at("cold", "", Some("https://acct.blob.example.com")),
            ),
            ("gs://archive/x", gcs_at("archive", "x", None)),
            ("gs://archive?endpoint=http://localhost:4443", gcs_at("archive", "", Some("http://localhost:4443"))),
            ("http://host", http_at("http://host", "", None)),
            ("dav://host:81/a%20b/", dav_at("http://host:81", "a b")),
            ("davs://host", dav_at("https://host", "")),
            ("sftp://nas/srv/holdall", sftp_at(None, "nas", None, "srv/holdall", None)),
            (
                "sftp://me@127.0.0.1:2222/x/?known_hosts=/etc/known",
                sftp_at(Some("me"), "127.0.0.1", Some(2222), "x", Some("/etc/known")),
            ),
            ("https://host:8443/a%20b/?list=all/names.txt", http_at("https://host:8443", "a b", Some("all/names.txt"))),
        ] {
            assert_eq!(parse(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn addresses_that_are_refused() {
        for (url, expected) in [
            (
                "hot",
                "a silo's URL begins with one of `file:`, `s3:`, `azure:`, `gs:`, `sftp:`, `dav:`, `davs:`, `http:`, `https:`; a folder is `file:hot`",
            ),
            ("files:///x", "unknown scheme `files`; did you mean `file`?"),
            (
                "gopher://x",
                "unknown scheme `gopher`; known are `file`, `s3`, `azure`, `gs`, `sftp`, `dav`, `davs`, `http`, `https`",
            ),
            ("file://srv/hot", "`file://` is followed by a path, `/srv/hot` perhaps, not by a host"),
            ("file:../x", "the path contains `..`"),
            ("file:a/%2e%2e/x", "the path contains `..`"),
            ("file:", "the path is empty or contains NUL"),
            ("file:a%00", "the path is empty or contains NUL"),
            ("file:a?b=1", "a `file:` URL takes no parameters, but has `?b=1`; in a name write `%3F` or `%23`"),
            (
                "memory:",
                "unknown scheme `memory`; known are `file`, `s3`, `azure`, `gs`, `sftp`, `dav`, `davs`, `http`, `https`",
            ),
            ("s3:bucket", "an S3 silo is `s3://bucket`"),
            ("s3://ab", "`ab` is no name of a bucket"),
            ("s3://..%2f/", "`..%2f` is no name of a bucket"),
            ("s3://abc/a//b", "prefix `a//b` has an empty, `.` or `..` segment or a control character"),
            ("s3://abc/a/%2e%2e", "prefix `a/..` has an empty, `.` or `..` segment or a control character"),
            ("s3://abc?endpont=http://x", "unknown parameter `endpont`; did you mean `endpoint`?"),
            ("s3://abc?pathstyle=true", "unknown parameter `pathstyle`; did you mean `path_style`?"),
            ("s3://abc?secret_key=x", "unknown parameter `secret_key`; known are `endpoint`, `region`, `path_style`"),
            ("s3://abc?region=a&region=b", "parameter `region` is given twice"),
            ("azure:cold", "an Azure silo is `azure://container?account=NAME`"),
            ("azure://cold", "an Azure silo has the parameter `account`"),
            ("azure://Cold?account=acct", "`Cold` is no name of a container"),
            ("azure://cold?account=Acct", "account `Acct` is not 3 to 24 small letters and digits"),
            ("azure://cold?acount=acct", "unknown parameter `acount`; did you mean `account`?"),
            (
                "azure://cold?account=acct&endpoint=http://127.0.0.1:1/other",
                "endpoint `http://127.0.0.1:1/other` has more than scheme, host, port and the account",
            ),
            ("gs:bucket", "a silo of Google Cloud Storage is `gs://bucket`"),
            ("gs://abc?region=x", "unknown parameter `region`; known are `endpoint`"),
            (
                "gs://abc?endpoint=http://10.0.0.1",
                "endpoint `http://10.0.0.1` would be sent tokens unencrypted; `http://` is for this machine alone",
            ),
            ("s3://abc?region=", "region `` is not 1 to 64 letters, digits, `-` and `_`"),
            ("s3://abc?path_style=yes", "path_style is `true` or `false`, not `yes`"),
            ("s3://abc?endpoint=localhost:9000", "endpoint `localhost:9000` is neither `http://` nor `https://`"),
            ("s3://abc?endpoint=http://x/y", "endpoint `http://x/y` has more than scheme, host and port"),
            (
                "s3://abc?endpoint=http://169.254.169.254",
                "endpoint `http://169.254.169.254` is a link-local address, where a machine's metadata is served",
            ),
        ] {
            assert_eq!(parse(url).map_err(|error| error.reason), Err(expected.to_owned()), "{url}");
        }
    }

    #[test]
    fn servers_of_files_that_are_refused() {
        for (url, expected) in [
            ("davs://host?x=y", "unknown parameter `x`; this kind takes none"),
            ("sftp://-oProxyCommand=x/y", "`-oProxyCommand=x` is no name of a host"),
            ("sftp://a b@host/y", "`a b` is no name of a user"),
            ("sftp://host:0x/y", "`host:0x` is no name of a host"),
            ("sftp://host:0/y", "`host:0` is no name of a host"),
            ("sftp://169.254.1.1/y", "`169.254.1.1` is no name of a host"),
            ("sftp://host/y?known_hosts=x", "known_hosts `x` is no absolute path of a file"),
            ("http:x", "a web server is `https://host/path`"),
            ("http:///x", "endpoint `http://` is no URL: empty host"),
            ("https://host/a/../b", "prefix `a/../b` has an empty, `.` or `..` segment or a control character"),
            ("https://host?lst=x", "unknown parameter `lst`; did you mean `list`?"),
            ("https://host?list=", "list `` is no path below the URL's"),
            ("https://host?list=http://x", "list `http://x` is no path below the URL's"),
            (
                "http://169.254.169.254/latest",
                "endpoint `http://169.254.169.254` is a link-local address, where a machine's metadata is served",
            ),
        ] {
            assert_eq!(parse(url).map_err(|error| error.reason), Err(expected.to_owned()), "{url}");
        }
    }

    #[test]
    fn a_key_of_the_bucket_is_a_name_below_the_prefix() {
        for (url, bucket, key, name) in [
            ("s3://photos", "photos", "a/b", Some("a/b")),
            ("s3://photos", "others", "a/b", None),
            ("s3://photos/in/deep", "photos", "in/deep/a", Some("a")),
            ("s3://photos/in/deep", "photos", "in/deeper/a", None),
            ("gs://photos/in", "photos", "in//a", Some("/a")),
            ("azure://photos/in?account=acct", "photos", "in/a", Some("a")),
            ("file:///photos", "photos", "a", None),
        ] {
            assert_eq!(parse(url).unwrap().name_of(bucket, key), name, "{url} {key}");
        }
    }

    #[test]
    fn a_secret_in_a_url_is_refused_and_not_repeated() {
        for url in [
            "s3://KEY:SECRET@bucket",
            "s3://bucket?endpoint=http://KEY:SECRET@host",
            "s3x://a:SECRET@b",
            "azure://a:SECRET@b?account=acct",
            "gs://a:SECRET@b",
            "https://a:SECRET@b/c",
            "davs://a:SECRET@b/c",
            "sftp://a:SECRET@b/c",
            "azure://abc?account=acct&sv=1&sig=SECRET",
        ] {
            let error = parse(url).unwrap_err();
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
    }
}
