//! How connections behave, whoever is at the other end.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use object_store::{BackoffConfig, RetryConfig};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::limits::{CONNECT_TIMEOUT, CONNECTION_IDLE};
use crate::web::ask::Place;

/// A client that follows nobody's redirects, asks no proxy, and speaks HTTP/1.1.
pub(crate) fn http(place: &Place) -> Result<reqwest::Client, String> {
    have_tls();
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

/// Every client needs it, those that look for credentials too. Somebody may have installed one already; any will do.
pub(crate) fn have_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// How patient a look for credentials is with the services that hand them out.
pub(crate) fn patience() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 2, retry_timeout: Duration::from_secs(10) }
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

/// Whether a URL's host is this machine.
pub(crate) fn is_loopback(url: &str) -> bool {
    match Url::parse(url).as_ref().map(Url::host) {
        Ok(Some(Host::Ipv4(ip))) => ip.is_loopback(),
        Ok(Some(Host::Ipv6(ip))) => ip.is_loopback(),
        Ok(Some(Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn this_machine_is_known_by_its_addresses() {
        for here in ["http://127.0.0.1:1", "http://localhost:4443", "http://[::1]:1", "http://127.8.0.1"] {
            assert!(is_loopback(here), "{here}");
        }
        for there in ["http://10.0.0.1", "https://storage.googleapis.com", "http://localhost.example.org", "x"] {
            assert!(!is_loopback(there), "{there}");
        }
    }
}
