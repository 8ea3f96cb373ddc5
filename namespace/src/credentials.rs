//! Where a silo's secrets are found: variables and files, never the secrets.

use holdall_silos::Credentials;
use serde::{Deserialize, Serialize};

/// How a silo's credentials are found; never the secrets themselves. Nothing named: the cloud's own ways.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CredentialsFrom {
    /// Environment variable that holds the access key id.
    pub access_key_id_env: Option<String>,
    /// Environment variable that holds the secret.
    pub secret_access_key_env: Option<String>,
    /// File that holds the access key id, alone on its first line.
    pub access_key_id_file: Option<String>,
    /// File that holds the secret, alone on its first line.
    pub secret_access_key_file: Option<String>,
    /// Environment variable that holds the key of an Azure storage account.
    pub account_key_env: Option<String>,
    /// File that holds it, alone on its first line.
    pub account_key_file: Option<String>,
    /// Environment variable that holds a shared access signature of Azure's.
    pub sas_token_env: Option<String>,
    /// File that holds it, alone on its first line.
    pub sas_token_file: Option<String>,
    /// File with the key of a service account of Google's, as it was downloaded.
    pub service_account_file: Option<String>,
    /// Environment variable that holds the name of a user.
    pub user_env: Option<String>,
    /// File that holds it, alone on its first line.
    pub user_file: Option<String>,
    /// Environment variable that holds the user's password.
    pub password_env: Option<String>,
    /// File that holds it, alone on its first line.
    pub password_file: Option<String>,
    /// File with a private key, as `ssh` takes it.
    pub ssh_key_file: Option<String>,
    /// Environment variable that holds a token.
    pub token_env: Option<String>,
    /// File that holds it, alone on its first line.
    pub token_file: Option<String>,
}

impl CredentialsFrom {
    /// The variables and files, each with what it is for: `account_key_env NAME`.
    pub(crate) fn named(&self) -> Vec<String> {
        let fields = serde_json::to_value(self).unwrap_or_default();
        let named = |(field, place): (&String, &serde_json::Value)| Some(format!("{field} {}", place.as_str()?));
        fields.as_object().into_iter().flatten().filter_map(named).collect()
    }

    /// Reads what is named. The reason of a failure is one sentence fragment.
    pub(crate) fn find(&self) -> Result<Credentials, String> {
        let id = one(self.access_key_id_env.as_deref(), self.access_key_id_file.as_deref(), "access key id")?;
        let secret =
            one(self.secret_access_key_env.as_deref(), self.secret_access_key_file.as_deref(), "secret access key")?;
        let keys = match (id, secret) {
            (Some(access_key_id), Some(secret_access_key)) => {
                Some(Credentials::Keys { access_key_id, secret_access_key })
            }
            (None, None) => None,
            _ => return Err("an access key id needs a secret access key, and the other way round".to_owned()),
        };
        let account_key = one(self.account_key_env.as_deref(), self.account_key_file.as_deref(), "account key")?;
        let sas_token = one(self.sas_token_env.as_deref(), self.sas_token_file.as_deref(), "SAS token")?;
        let service_account = self.service_account_file.clone();
        let token = one(self.token_env.as_deref(), self.token_file.as_deref(), "token")?;
        let mut found = [
            keys,
            account_key.map(Credentials::AccountKey),
            sas_token.map(Credentials::SasToken),
            service_account.map(Credentials::ServiceAccountFile),
            self.login()?,
            token.map(Credentials::Token),
            self.ssh_key_file.clone().map(Credentials::KeyFile),
        ]
        .into_iter()
        .flatten();
        match (found.next(), found.next()) {
            (None, _) => Ok(Credentials::Ambient),
            (Some(found), None) => Ok(found),
            (Some(_), Some(_)) => Err("the credentials are of more than one kind".to_owned()),
        }
    }
}

impl CredentialsFrom {
    fn login(&self) -> Result<Option<Credentials>, String> {
        let user = one(self.user_env.as_deref(), self.user_file.as_deref(), "user")?;
        let password = one(self.password_env.as_deref(), self.password_file.as_deref(), "password")?;
        match (user, password) {
            (Some(user), Some(password)) => Ok(Some(Credentials::Login { user, password })),
            (None, None) => Ok(None),
            _ => Err("a user needs a password, and the other way round".to_owned()),
        }
    }
}

fn one(env: Option<&str>, file: Option<&str>, what: &str) -> Result<Option<String>, String> {
    match (env, file) {
        (Some(name), None) => {
            std::env::var(name).map(Some).map_err(|_| format!("the environment variable `{name}` is not set"))
        }
        (None, Some(path)) => std::fs::read_to_string(path)
            .map(|text| Some(text.lines().next().unwrap_or_default().trim().to_owned()))
            .map_err(|error| format!("`{path}`: {error}")),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(format!("the {what} has both a variable and a file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_of_one_kind_and_from_one_place() {
        let told = |from: CredentialsFrom| from.find().map(|found| format!("{found:?}"));
        assert_eq!(told(CredentialsFrom::default()), Ok("Ambient".to_owned()));
        let service =
            CredentialsFrom { service_account_file: Some("/k.json".to_owned()), ..CredentialsFrom::default() };
        assert_eq!(told(service.clone()), Ok("ServiceAccountFile(/k.json)".to_owned()));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key").to_str().unwrap().to_owned();
        std::fs::write(&file, " SECRET \nmore").unwrap();
        let key = CredentialsFrom { account_key_file: Some(file.clone()), ..CredentialsFrom::default() };
        assert_eq!(told(key.clone()), Ok("AccountKey(...)".to_owned()));
        let refused = |reason: &str| Err(reason.to_owned());
        let both = CredentialsFrom { account_key_env: Some("X".to_owned()), ..key.clone() };
        assert_eq!(told(both), refused("the account key has both a variable and a file"));
        let mixed = CredentialsFrom { service_account_file: Some("/k.json".to_owned()), ..key };
        assert_eq!(told(mixed), refused("the credentials are of more than one kind"));
        let half = CredentialsFrom { access_key_id_file: Some(file.clone()), ..CredentialsFrom::default() };
        assert_eq!(told(half), refused("an access key id needs a secret access key, and the other way round"));
        let login = CredentialsFrom { user_file: Some(file.clone()), ..CredentialsFrom::default() };
        assert_eq!(told(login.clone()), refused("a user needs a password, and the other way round"));
        let login = CredentialsFrom { password_file: Some(file.clone()), ..login };
        assert_eq!(told(login), Ok("Login(SECRET, ...)".to_owned()));
        let token = CredentialsFrom { token_file: Some(file), ..CredentialsFrom::default() };
        assert_eq!(told(token), Ok("Token(...)".to_owned()));
        let unset =
            CredentialsFrom { sas_token_env: Some("HOLDALL_TEST_UNSET".to_owned()), ..CredentialsFrom::default() };
        assert_eq!(told(unset), refused("the environment variable `HOLDALL_TEST_UNSET` is not set"));
    }
}
