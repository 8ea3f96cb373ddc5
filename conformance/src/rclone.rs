//! rclone as its users set it up: the remote `s:` is a gateway.

use std::process::ExitStatus;

use tokio::process::Command;

use crate::Outcome;
use crate::gateway::Setup;

/// Runs rclone against a gateway; `RCLONE` names the program. Any exit status is an answer.
pub async fn run(setup: &Setup, args: &[&str]) -> Outcome<ExitStatus> {
    let program = std::env::var_os("RCLONE").unwrap_or_else(|| "rclone".into());
    let status = Command::new(&program)
        .args(args)
        .args(["--config", "/dev/null"])
        .envs([("RCLONE_CONFIG_S_TYPE", "s3"), ("RCLONE_CONFIG_S_PROVIDER", "Other")])
        .env("RCLONE_CONFIG_S_ENDPOINT", format!("http://{}", setup.listen))
        .env("RCLONE_CONFIG_S_ACCESS_KEY_ID", &setup.access_key_id)
        .env("RCLONE_CONFIG_S_SECRET_ACCESS_KEY", &setup.secret_access_key)
        .kill_on_drop(true)
        .status()
        .await;
    status.map_err(|error| format!("{}: {error}", program.display()).into())
}
