//! A bucket's client: where it is, who speaks, how its connections behave.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider};
use object_store::client::StaticCredentialProvider;
use object_store::{BackoffConfig, RetryConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::connect::{Address, Credentials};
use crate::limits::{CONNECT_TIMEOUT, CONNECTION_IDLE};

/// What a path of a signed request leaves as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
/// What a query of a signed request leaves as it is.
pub(crate) const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where a bucket is.
pub(crate) struct Place {
    /// Scheme, host, and the bucket where it is part of the path; no slash at its end.
    base: String,
    /// Of all our keys; empty, or with a slash at its end.
    pub(crate) prefix: String,
    pub(crate) region: String,
}

impl Place {
    /// A request's URL.
    pub(crate) fn url(&self, key: &str, query: &[(&str, &str)]) -> String {
        let mut url = format!("{}/{}", self.base, utf8_percent_encode(key, PATH));
        for (number, (name, value)) in query.iter().enumerate() {
            let join = if number == 0 { '?' } else { '&' };
            let value = utf8_percent_encode(value, QUERY);
            // Writing to a string cannot fail.
            let _ = write!(url, "{join}{name}={value}");
        }
        url
    }
}

/// The place an address names; the address is an S3 one.
pub(crate) fn place(address: &Address) -> Result<Place, String> {
    let Address::S3 { bucket, prefix, endpoint, region, path_style } = address else {
        return Err("not an S3 address".to_owned());
    };
    let endpoint = endpoint.clone().unwrap_or_else(|| {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://s3.{region}.{domain}")
    });
    let base = match endpoint.split_once("://") {
        Some(_) if *path_style => format!("{endpoint}/{bucket}"),
        Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
        None => return Err(format!("endpoint `{endpoint}` has no scheme")),
    };
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    Ok(Place { base, prefix, region: region.clone() })
}

/// A client that follows nobody's redirects, asks no proxy, and speaks HTTP/1.1.
pub(crate) fn http(place: &Place) -> Result<reqwest::Client, String> {
    // Somebody may have installed one already; any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .http1_only()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(CONNECTION_IDLE)
        .dns_resolver(NoMetadata)
        .user_agent(concat!("holdall/", env!("CARGO_PKG_VERSION")));
    if place.base.starts_with("http://") {
        // No certificate is ever looked at, so that a machine without any can do without.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| format!("no HTTP client: {error}"))
}

/// Refuses names that lead to a machine's own metadata service, whenever they begin to.
struct NoMetadata;

impl Resolve for NoMetadata {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| !is_link_local(address.ip())).collect();
            if allowed.is_empty() {
                return Err("the endpoint's name has no address that may be used".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_link_local()),
    }
}

/// Who signs.
pub(crate) fn credentials(credentials: &Credentials, region: &str) -> Result<AwsCredentialProvider, String> {
    match credentials {
        Credentials::Keys { access_key_id, secret_access_key } => {
            Ok(keys(access_key_id.clone(), secret_access_key.clone(), None))
        }
        Credentials::Ambient => ambient(region),
    }
}

fn keys(key_id: String, secret_key: String, token: Option<String>) -> AwsCredentialProvider {
    Arc::new(StaticCredentialProvider::new(AwsCredential { key_id, secret_key, token }))
}

/// In the order of AWS's own tools: variables, web identity, the profile's file, container, instance metadata.
fn ambient(region: &str) -> Result<AwsCredentialProvider, String> {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !set("AWS_ACCESS_KEY_ID")
        && !set("AWS_WEB_IDENTITY_TOKEN_FILE")
        && let Some(found) = profile_file().and_then(|path| std::fs::read_to_string(path).ok())
        && let Some(found) = from_profile(&found, &std::env::var("AWS_PROFILE").unwrap_or("default".to_owned()))
    {
        return Ok(found);
    }
    let retry =
        RetryConfig { backoff: BackoffConfig::default(), max_retries: 2, retry_timeout: Duration::from_secs(10) };
    // Only its credentials are used, so that any name of a bucket will do.
    let store = AmazonS3Builder::from_env().with_bucket_name("unused").with_region(region).with_retry(retry).build();
    store.map(|store| Arc::clone(store.credentials())).map_err(|error| format!("no credentials: {error}"))
}

fn profile_file() -> Option<PathBuf> {
    let named = std::env::var_os("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    named.or_else(|| std::env::home_dir().map(|home| home.join(".aws/credentials")))
}

/// Reads the keys of one profile from a credentials file's text.
fn from_profile(text: &str, profile: &str) -> Option<AwsCredentialProvider> {
    let mut section = "";
    let (mut key_id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim();
        } else if section == profile
            && let Some((name, value)) = line.split_once('=')
        {
            let value = Some(value.trim().to_owned());
            match name.trim() {
                "aws_access_key_id" => key_id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(keys(key_id?, secret?, token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn url(address: &str, key: &str, query: &[(&str, &str)]) -> String {
        place(&Address::parse(address, Path::new("/")).unwrap()).unwrap().url(key, query)
    }

    #[test]
    fn urls_in_either_style() {
        assert_eq!(url("s3://abc", "k", &[]), "https://abc.s3.us-east-1.amazonaws.com/k");
        assert_eq!(url("s3://a.bc", "k", &[]), "https://s3.us-east-1.amazonaws.com/a.bc/k");
        assert_eq!(url("s3://abc?region=cn-north-1", "k", &[]), "https://abc.s3.cn-north-1.amazonaws.com.cn/k");
        assert_eq!(url("s3://abc?endpoint=http://h:1", "a b/ü+", &[]), "http://h:1/abc/a%20b/%C3%BC%2B");
        assert_eq!(
            url("s3://abc?endpoint=http://h:1&path_style=false", "", &[("prefix", "a/b c"), ("max-keys", "5")]),
            "http://abc.h:1/?prefix=a%2Fb%20c&max-keys=5"
        );
    }

    #[tokio::test]
    async fn a_profile_is_read_from_its_section() {
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key=S\n\n[ other ]\n# no\n\
                    aws_access_key_id=B\naws_secret_access_key = T=\naws_session_token= U\n[half]\naws_access_key_id=C\n";
        let read = async |profile| match from_profile(text, profile) {
            Some(found) => {
                let found = found.get_credential().await.unwrap();
                format!("{} {} {:?}", found.key_id, found.secret_key, found.token)
            }
            None => "none".to_owned(),
        };
        assert_eq!(read("default").await, "A S None");
        assert_eq!(read("other").await, "B T= Some(\"U\")");
        assert_eq!(read("half").await, "none");
        assert_eq!(read("absent").await, "none");
    }

    /// A name of the administrator's that resolves to the metadata service later on (S60).
    #[test]
    fn link_local_addresses_are_refused_in_every_spelling() {
        for bad in ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254"] {
            assert!(is_link_local(bad.parse().unwrap()), "{bad}");
        }
        for good in ["127.0.0.1", "10.0.0.1", "::1", "fd00::1"] {
            assert!(!is_link_local(good.parse().unwrap()), "{good}");
        }
    }
}
