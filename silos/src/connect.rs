//! A silo is named by a URL.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::{Host, Url, form_urlencoded};

#[cfg(any(test, feature = "memory"))]
use crate::memory::Memory;
use crate::posix::Posix;
use crate::s3;
use crate::silo::Silo;

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
    /// `memory:NAME`: lost with the process; for tests. The same name is the same silo within a process.
    #[cfg(any(test, feature = "memory"))]
    Memory(String),
}

/// What a silo's requests are signed with; never shown.
#[derive(Clone, Default)]
pub enum Credentials {
    /// The environment's own ways (variables, profiles, instance metadata).
    #[default]
    Ambient,
    /// A key pair.
    Keys {
        /// Access key id.
        access_key_id: String,
        /// Secret access key.
        secret_access_key: String,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambient => f.write_str("Ambient"),
            Self::Keys { access_key_id, .. } => write!(f, "Keys({access_key_id}, ...)"),
        }
    }
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
const SCHEMES: [&str; 2] = ["file", "s3"];
const S3_PARAMETERS: [&str; 3] = ["endpoint", "region", "path_style"];

impl Address {
    /// Parses a silo's URL; `base` is the folder that relative paths are below.
    pub fn parse(url: &str, base: &Path) -> Result<Self, BadAddress> {
        Self::read(url, base).map_err(|reason| BadAddress { url: without_password(url), reason })
    }

    fn read(url: &str, base: &Path) -> Result<Self, String> {
        let (scheme, rest) = url.split_once(':').ok_or_else(|| {
            format!("a silo's URL begins with one of `{}:`; a folder is `file:{url}`", SCHEMES.join(":`, `"))
        })?;
        match scheme {
            "file" => posix(rest, base).map(Self::Posix),
            "s3" => bucket(rest),
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

fn bucket(rest: &str) -> Result<Address, String> {
    let rest = rest.strip_prefix("//").ok_or("an S3 silo is `s3://bucket`")?;
    if rest.contains('#') {
        return Err("an `s3:` URL has no `#`; write `%23`".to_owned());
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let prefix = percent_decode_str(prefix).decode_utf8().map_err(|_| "the prefix is not UTF-8".to_owned())?;
    let prefix = prefix.trim_matches('/').to_owned();
    check_bucket(bucket)?;
    check_prefix(&prefix)?;
    let (mut endpoint, mut region, mut path_style) = (None, None, None);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let taken = match key.as_ref() {
            "endpoint" => endpoint.replace(check_endpoint(&value)?).is_some(),
            "region" => region.replace(check_region(&value)?).is_some(),
            "path_style" => path_style.replace(check_bool(&value)?).is_some(),
            _ => return Err(unknown("parameter", &key, &S3_PARAMETERS)),
        };
        if taken {
            return Err(format!("parameter `{key}` is given twice"));
        }
    }
    Ok(Address::S3 {
        bucket: bucket.to_owned(),
        prefix,
        // A name with dots matches no wildcard certificate.
        path_style: path_style.unwrap_or(endpoint.is_some() || bucket.contains('.')),
        endpoint,
        region: region.unwrap_or_else(|| DEFAULT_REGION.to_owned()),
    })
}

/// Older buckets and other vendors allow upper case and underscores; nobody allows what could leave the path.
fn check_bucket(bucket: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if bucket.contains('@') {
        return Err("credentials do not belong into a URL".to_owned());
    }
    if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(good) || bucket.contains("..") {
        return Err(format!("`{bucket}` is no name of a bucket"));
    }
    Ok(())
}

fn check_prefix(prefix: &str) -> Result<(), String> {
    let bad = |segment: &str| segment.is_empty() || segment == "." || segment == "..";
    if !prefix.is_empty() && (prefix.split('/').any(bad) || prefix.chars().any(char::is_control)) {
        return Err(format!(
            "prefix `{}` has an empty, `.` or `..` segment or a control character",
            prefix.escape_debug()
        ));
    }
    if prefix.len() > 512 {
        return Err("the prefix is longer than 512 bytes".to_owned());
    }
    Ok(())
}

fn check_endpoint(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("endpoint `{}` is no URL: {error}", without_password(text)))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("endpoint `{}` is neither `http://` nor `https://`", without_password(text)));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials do not belong into a URL".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("endpoint `{text}` has more than scheme, host and port"));
    }
    let local = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_link_local(),
        Some(Host::Ipv6(ip)) => ip.is_unicast_link_local() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_link_local()),
        _ => false,
    };
    if local {
        return Err(format!("endpoint `{text}` is a link-local address, where a machine's metadata is served"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn check_region(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=64).contains(&text.len()) && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    Err(format!("region `{text}` is not 1 to 64 letters, digits, `-` and `_`"))
}

fn check_bool(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("path_style is `true` or `false`, not `{text}`"))
}

fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    let nearest = known.iter().max_by(|a, b| {
        let closeness = |word| strsim::jaro_winkler(word, given);
        closeness(a).total_cmp(&closeness(b))
    });
    match nearest {
        Some(near) if strsim::jaro_winkler(near, given) > 0.7 => {
            format!("unknown {what} `{given}`; did you mean `{near}`?")
        }
        _ => format!("unknown {what} `{given}`; known are `{}`", known.join("`, `")),
    }
}

/// The URL as it may be shown.
fn without_password(url: &str) -> String {
    match (url.find("//"), url.rfind('@')) {
        (Some(start), Some(end)) if start < end => format!("{}//***{}", &url[..start], &url[end..]),
        _ => url.to_owned(),
    }
}

/// Opens a silo's client. Touches nothing: `claim` and `probe` do.
pub fn connect(address: &Address, credentials: &Credentials) -> Result<Arc<dyn Silo>, BadAddress> {
    match address {
        #[cfg(any(test, feature = "memory"))]
        Address::Memory(name) => Ok(Memory::named(name)),
        Address::Posix(path) => Ok(Arc::new(Posix::new(path))),
        Address::S3 { bucket, .. } => match s3::open(address, credentials) {
            Ok(silo) => Ok(Arc::new(silo)),
            Err(reason) => Err(BadAddress { url: format!("s3://{bucket}"), reason }),
        },
    }
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
        ] {
            assert_eq!(parse(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn addresses_that_are_refused() {
        for (url, expected) in [
            ("hot", "a silo's URL begins with one of `file:`, `s3:`; a folder is `file:hot`"),
            ("files:///x", "unknown scheme `files`; did you mean `file`?"),
            ("gopher://x", "unknown scheme `gopher`; known are `file`, `s3`"),
            ("file://srv/hot", "`file://` is followed by a path, `/srv/hot` perhaps, not by a host"),
            ("file:../x", "the path contains `..`"),
            ("file:a/%2e%2e/x", "the path contains `..`"),
            ("file:", "the path is empty or contains NUL"),
            ("file:a%00", "the path is empty or contains NUL"),
            ("file:a?b=1", "a `file:` URL takes no parameters, but has `?b=1`; in a name write `%3F` or `%23`"),
            ("memory:", "unknown scheme `memory`; known are `file`, `s3`"),
            ("s3:bucket", "an S3 silo is `s3://bucket`"),
            ("s3://ab", "`ab` is no name of a bucket"),
            ("s3://..%2f/", "`..%2f` is no name of a bucket"),
            ("s3://abc/a//b", "prefix `a//b` has an empty, `.` or `..` segment or a control character"),
            ("s3://abc/a/%2e%2e", "prefix `a/..` has an empty, `.` or `..` segment or a control character"),
            ("s3://abc?endpont=http://x", "unknown parameter `endpont`; did you mean `endpoint`?"),
            ("s3://abc?pathstyle=true", "unknown parameter `pathstyle`; did you mean `path_style`?"),
            ("s3://abc?secret_key=x", "unknown parameter `secret_key`; known are `endpoint`, `region`, `path_style`"),
            ("s3://abc?region=a&region=b", "parameter `region` is given twice"),
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
    fn a_secret_in_a_url_is_refused_and_not_repeated() {
        for url in ["s3://KEY:SECRET@bucket", "s3://bucket?endpoint=http://KEY:SECRET@host", "s3x://a:SECRET@b"] {
            let error = parse(url).unwrap_err();
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
        let keys = Credentials::Keys { access_key_id: "KEY".to_owned(), secret_access_key: "SECRET".to_owned() };
        assert_eq!(format!("{keys:?}"), "Keys(KEY, ...)");
    }
}
