//! Where a bucket of S3's is, and who speaks to it.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider};
use object_store::client::StaticCredentialProvider;

use crate::address::Address;
use crate::connect::Credentials;
use crate::web::{Place, patience};

/// The place an address names, and the region that signatures are for; the address is an S3 one.
pub(crate) fn place(address: &Address) -> Result<(Place, String), String> {
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
    Ok((Place::new(base, true, prefix), region.clone()))
}

/// Who signs.
pub(crate) fn credentials(credentials: &Credentials, region: &str) -> Result<AwsCredentialProvider, String> {
    match credentials {
        Credentials::Keys { access_key_id, secret_access_key } => {
            Ok(keys(access_key_id.clone(), secret_access_key.clone(), None))
        }
        Credentials::Ambient => ambient(region),
        _ => Err("an S3 silo takes an access key id and a secret access key".to_owned()),
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
    // Only its credentials are used, so that any name of a bucket will do.
    let store = AmazonS3Builder::from_env().with_bucket_name("unused").with_region(region);
    let store = store.with_retry(patience()).build();
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
    use crate::web::Ask;
    use http::Method;
    use std::path::Path;

    fn url(address: &str, key: &str, query: &[(&'static str, &str)]) -> String {
        let ask = query.iter().fold(Ask::new(Method::GET, key), |ask, (name, value)| ask.query(name, *value));
        place(&Address::parse(address, Path::new("/")).unwrap()).unwrap().0.url(&ask)
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
}
