//! Where a bucket of Google's is, and who speaks to it.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::gcp::{GcpCredentialProvider, GoogleCloudStorageBuilder};

use crate::address::Address;
use crate::connect::Credentials;
use crate::web::{Place, is_loopback, patience};

const CLOUD: &str = "https://storage.googleapis.com";

/// The place an address names; the address is a `gs:` one.
pub(crate) fn place(address: &Address) -> Result<Place, String> {
    let Address::Gcs { bucket, prefix, endpoint } = address else {
        return Err("not an address of Google Cloud Storage".to_owned());
    };
    Ok(Place::new(format!("{}/{bucket}", endpoint.as_deref().unwrap_or(CLOUD)), false, prefix))
}

/// Who hands out tokens; nobody where an emulator is spoken to and nothing was declared or found.
pub(crate) fn credentials(credentials: &Credentials, place: &Place) -> Result<Option<GcpCredentialProvider>, String> {
    let builder = match credentials {
        Credentials::ServiceAccountFile(path) => {
            GoogleCloudStorageBuilder::new().with_service_account_path(path.as_str())
        }
        Credentials::Ambient if is_loopback(&place.base) && !anything_is_set() => return Ok(None),
        Credentials::Ambient => GoogleCloudStorageBuilder::from_env(),
        _ => return Err("a silo of Google Cloud Storage takes the file of a service account".to_owned()),
    };
    // Only its credentials are used, so that any name of a bucket will do.
    let store = builder.with_bucket_name("unused").with_retry(patience()).build();
    let store = store.map_err(|error| format!("no credentials: {error}"))?;
    Ok(Some(Arc::clone(store.credentials())))
}

/// Whether there are credentials without asking the machine's metadata service.
fn anything_is_set() -> bool {
    let variables = [
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "SERVICE_ACCOUNT",
    ];
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    variables.into_iter().any(set) || well_known_file().is_some_and(|path| path.exists())
}

/// Where `gcloud auth application-default login` leaves what it got.
fn well_known_file() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".config/gcloud/application_default_credentials.json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::Ask;
    use http::Method;
    use std::path::Path;

    fn at(address: &str) -> Place {
        place(&Address::parse(address, Path::new("/")).unwrap()).unwrap()
    }

    #[test]
    fn urls_of_the_cloud_and_of_an_endpoint() {
        let url = |address: &str, key: &str| at(address).url(&Ask::new(Method::GET, key));
        assert_eq!(url("gs://abc", "a b/ü+"), "https://storage.googleapis.com/abc/a%20b/%C3%BC%2B");
        assert_eq!(url("gs://abc/p", ""), "https://storage.googleapis.com/abc");
        assert_eq!(url("gs://abc?endpoint=http://127.0.0.1:4443", "k"), "http://127.0.0.1:4443/abc/k");
    }

    #[test]
    fn credentials_of_another_kind_and_files_that_are_not_there_are_refused() {
        let told = |given: &Credentials| credentials(given, &at("gs://abc")).map(drop).unwrap_err();
        let key = Credentials::AccountKey("SECRET".to_owned());
        assert_eq!(told(&key), "a silo of Google Cloud Storage takes the file of a service account");
        let nowhere = told(&Credentials::ServiceAccountFile("/nowhere/key.json".to_owned()));
        assert!(nowhere.contains("/nowhere/key.json"), "{nowhere}");
    }
}
