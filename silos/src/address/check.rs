//! What the parts of a silo's URL may be.

use url::{Host, Url};

/// Older buckets and other vendors allow upper case and underscores; nobody allows what could leave the path.
pub(super) fn check_bucket(bucket: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(good) || bucket.contains("..") {
        return Err(format!("`{bucket}` is no name of a bucket"));
    }
    Ok(bucket.to_owned())
}

/// <https://learn.microsoft.com/en-us/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>
pub(super) fn check_container(container: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !(3..=63).contains(&container.len()) || !container.chars().all(good) {
        return Err(format!("`{container}` is no name of a container"));
    }
    Ok(container.to_owned())
}

pub(super) fn check_account(account: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(3..=24).contains(&account.len()) || !account.chars().all(good) {
        return Err(format!("account `{account}` is not 3 to 24 small letters and digits"));
    }
    Ok(account.to_owned())
}

pub(super) fn check_prefix(prefix: &str) -> Result<(), String> {
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

/// Scheme, host and port; where there is an `account`, it may be the path.
pub(crate) fn check_endpoint(text: &str, account: Option<&str>) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("endpoint `{}` is no URL: {error}", without_password(text)))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("endpoint `{}` is neither `http://` nor `https://`", without_password(text)));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials do not belong into a URL".to_owned());
    }
    let path = url.path().trim_matches('/');
    if !(path.is_empty() || Some(path) == account) || url.query().is_some() || url.fragment().is_some() {
        let most = if account.is_some() { "scheme, host, port and the account" } else { "scheme, host and port" };
        return Err(format!("endpoint `{text}` has more than {most}"));
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

pub(super) fn check_list(text: &str) -> Result<String, String> {
    if text.is_empty() || check_prefix(text).is_err() {
        return Err(format!("list `{}` is no path below the URL's", text.escape_debug()));
    }
    Ok(text.to_owned())
}

/// No secret, and nothing that `ssh` would take for an option.
pub(super) fn check_user(user: &str) -> Result<String, String> {
    if user.contains(':') {
        return Err("credentials do not belong into a URL".to_owned());
    }
    let good = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if user.is_empty() || user.len() > 64 || user.starts_with('-') || !user.chars().all(good) {
        return Err(format!("`{}` is no name of a user", user.escape_debug()));
    }
    Ok(user.to_owned())
}

/// A host as `ssh` takes it, and its port where there is one. A link-local address is a machine's metadata service's.
pub(super) fn check_host(place: &str) -> Result<(String, Option<u16>), String> {
    let bad = || format!("`{}` is no name of a host", place.escape_debug());
    let url = Url::parse(&format!("ssh://{place}")).map_err(|_| bad())?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let ip: Option<std::net::IpAddr> = host.parse().ok();
    let local = ip.is_some_and(|ip| match ip {
        std::net::IpAddr::V4(ip) => ip.is_link_local(),
        std::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
    });
    if host.is_empty() || host.starts_with('-') || !host.chars().all(good) || local || url.port() == Some(0) {
        return Err(bad());
    }
    Ok((host, url.port()))
}

pub(super) fn check_file(text: &str) -> Result<String, String> {
    let good = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '%' | '~' | '"' | '\\' | '$');
    if !text.starts_with('/') || !text.chars().all(good) {
        return Err(format!("known_hosts `{}` is no absolute path of a file", text.escape_debug()));
    }
    Ok(text.to_owned())
}

pub(super) fn check_region(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=64).contains(&text.len()) && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    Err(format!("region `{text}` is not 1 to 64 letters, digits, `-` and `_`"))
}

pub(super) fn check_bool(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("path_style is `true` or `false`, not `{text}`"))
}

pub(super) fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    let nearest = known.iter().max_by(|a, b| {
        let closeness = |word| strsim::jaro_winkler(word, given);
        closeness(a).total_cmp(&closeness(b))
    });
    match nearest {
        None => format!("unknown {what} `{given}`; this kind takes none"),
        Some(near) if strsim::jaro_winkler(near, given) > 0.7 => {
            format!("unknown {what} `{given}`; did you mean `{near}`?")
        }
        _ => format!("unknown {what} `{given}`; known are `{}`", known.join("`, `")),
    }
}

/// The URL as it may be shown: a password left out, and what follows the signature of a token of Azure's.
pub(super) fn without_password(url: &str) -> String {
    let shown = match (url.find("//"), url.rfind('@')) {
        (Some(start), Some(end)) if start < end => format!("{}//***{}", &url[..start], &url[end..]),
        _ => url.to_owned(),
    };
    match shown.split_once("sig=") {
        Some((before, _)) => format!("{before}sig=***"),
        None => shown,
    }
}
