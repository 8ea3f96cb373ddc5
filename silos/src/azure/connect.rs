//! Where a container is, and who speaks to it.

use std::sync::Arc;

use object_store::azure::{AzureAccessKey, AzureCredential, AzureCredentialProvider, MicrosoftAzureBuilder, split_sas};
use object_store::client::StaticCredentialProvider;

use crate::address::Address;
use crate::connect::Credentials;
use crate::web::{Place, patience};

/// The place an address names, and its account; the address is an Azure one.
pub(crate) fn place(address: &Address) -> Result<(Place, String), String> {
    let Address::Azure { container, prefix, account, endpoint } = address else {
        return Err("not an Azure address".to_owned());
    };
    let base = match endpoint {
        Some(endpoint) => format!("{endpoint}/{container}"),
        None => format!("https://{account}.blob.core.windows.net/{container}"),
    };
    Ok((Place::new(base, false, prefix), account.clone()))
}

/// Who signs. Errors repeat nothing of a secret.
pub(crate) fn credentials(credentials: &Credentials, account: &str) -> Result<AzureCredentialProvider, String> {
    let found = match credentials {
        Credentials::AccountKey(key) => AzureAccessKey::try_new(key.trim())
            .map(AzureCredential::AccessKey)
            .map_err(|_| "the account key is not in base64".to_owned())?,
        Credentials::SasToken(token) => {
            let pairs = split_sas(token.trim()).map_err(|_| "the SAS token is no list of `name=value`".to_owned())?;
            if !pairs.iter().any(|(name, _)| name == "sig") {
                return Err("the SAS token has no `sig`".to_owned());
            }
            AzureCredential::SASToken(pairs)
        }
        Credentials::Ambient => return ambient(account),
        _ => return Err("an Azure silo takes an account key or a SAS token".to_owned()),
    };
    Ok(Arc::new(StaticCredentialProvider::new(found)))
}

/// Variables (`AZURE_STORAGE_ACCOUNT_KEY`, `AZURE_STORAGE_SAS_TOKEN`, a client's secret or federated token), then the
/// machine's managed identity.
fn ambient(account: &str) -> Result<AzureCredentialProvider, String> {
    // Only its credentials are used, so that any name of a container will do.
    let store = MicrosoftAzureBuilder::from_env().with_account(account).with_container_name("unused");
    let store = store.with_retry(patience()).build();
    store.map(|store| Arc::clone(store.credentials())).map_err(|error| format!("no credentials: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::Ask;
    use http::Method;
    use std::path::Path;

    fn url(address: &str, key: &str) -> String {
        place(&Address::parse(address, Path::new("/")).unwrap()).unwrap().0.url(&Ask::new(Method::GET, key))
    }

    #[test]
    fn urls_of_the_cloud_and_of_an_endpoint() {
        assert_eq!(url("azure://abc?account=acct", "a b/ü+"), "https://acct.blob.core.windows.net/abc/a%20b/%C3%BC%2B");
        assert_eq!(url("azure://abc/p?account=acct", ""), "https://acct.blob.core.windows.net/abc");
        assert_eq!(
            url("azure://abc?account=acct&endpoint=http://127.0.0.1:1/acct", "k"),
            "http://127.0.0.1:1/acct/abc/k"
        );
    }

    #[test]
    fn credentials_of_another_kind_are_refused_and_no_secret_is_repeated() {
        let told = |given: &Credentials| credentials(given, "acct").map(drop).unwrap_err();
        let keys = Credentials::Keys { access_key_id: "KEY".to_owned(), secret_access_key: "SECRET".to_owned() };
        assert_eq!(told(&keys), "an Azure silo takes an account key or a SAS token");
        assert_eq!(told(&Credentials::AccountKey("SECRET!".to_owned())), "the account key is not in base64");
        assert_eq!(told(&Credentials::SasToken("SECRET".to_owned())), "the SAS token is no list of `name=value`");
        assert_eq!(told(&Credentials::SasToken("sv=SECRET".to_owned())), "the SAS token has no `sig`");
    }
}
