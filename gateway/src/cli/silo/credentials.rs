//! Where a silo's credentials are, as it is typed. No secret is.

use clap::Args;
use holdall_namespace::inventory::CredentialsFrom;

/// Variables and files that the gateway reads.
#[derive(Debug, Args)]
pub(super) struct CredentialArgs {
    /// The gateway's environment variable with the access key id.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "access_key_id_file")]
    access_key_id_env: Option<String>,
    /// The gateway's environment variable with the secret.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "secret_access_key_file")]
    secret_access_key_env: Option<String>,
    /// A file the gateway reads, with the access key id.
    #[arg(long, value_name = "FILE")]
    access_key_id_file: Option<String>,
    /// A file the gateway reads, with the secret.
    #[arg(long, value_name = "FILE")]
    secret_access_key_file: Option<String>,
    /// Azure: the gateway's environment variable with the storage account's key.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "account_key_file")]
    account_key_env: Option<String>,
    /// Azure: a file the gateway reads, with the storage account's key.
    #[arg(long, value_name = "FILE")]
    account_key_file: Option<String>,
    /// Azure: the gateway's environment variable with a shared access signature.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "sas_token_file")]
    sas_token_env: Option<String>,
    /// Azure: a file the gateway reads, with a shared access signature.
    #[arg(long, value_name = "FILE")]
    sas_token_file: Option<String>,
    /// Google: a file the gateway reads, with the key of a service account.
    #[arg(long, value_name = "FILE")]
    service_account_file: Option<String>,
    /// Web servers, WebDAV: the gateway's environment variable with the user's name.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "user_file")]
    user_env: Option<String>,
    /// Web servers, WebDAV: a file the gateway reads, with the user's name.
    #[arg(long, value_name = "FILE")]
    user_file: Option<String>,
    /// Web servers, WebDAV: the gateway's environment variable with the user's password.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "password_file")]
    password_env: Option<String>,
    /// Web servers, WebDAV: a file the gateway reads, with the user's password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<String>,
    /// SFTP: a file that the gateway's `ssh` reads, with a private key; without it `ssh` finds its user's.
    #[arg(long, value_name = "FILE")]
    ssh_key_file: Option<String>,
    /// Web servers, WebDAV: the gateway's environment variable with a token, instead of a user.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "token_file")]
    token_env: Option<String>,
    /// Web servers, WebDAV: a file the gateway reads, with a token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
}

impl From<CredentialArgs> for CredentialsFrom {
    fn from(typed: CredentialArgs) -> Self {
        Self {
            access_key_id_env: typed.access_key_id_env,
            secret_access_key_env: typed.secret_access_key_env,
            access_key_id_file: typed.access_key_id_file,
            secret_access_key_file: typed.secret_access_key_file,
            account_key_env: typed.account_key_env,
            account_key_file: typed.account_key_file,
            sas_token_env: typed.sas_token_env,
            sas_token_file: typed.sas_token_file,
            service_account_file: typed.service_account_file,
            user_env: typed.user_env,
            user_file: typed.user_file,
            password_env: typed.password_env,
            password_file: typed.password_file,
            ssh_key_file: typed.ssh_key_file,
            token_env: typed.token_env,
            token_file: typed.token_file,
        }
    }
}
