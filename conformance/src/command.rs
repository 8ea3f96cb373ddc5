//! The gateway's own command line, as a script would call it.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::Outcome;

/// A gateway's command line.
#[derive(Debug, Clone)]
pub struct Holdall {
    /// The program.
    pub binary: PathBuf,
    /// The admin API's URL.
    pub admin: String,
    /// The admin key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
}

/// What a command answered.
#[derive(Debug)]
pub struct Said {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Holdall {
    /// The command, ready to run.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .env("HOLDALL_ADMIN", &self.admin)
            .env("HOLDALL_ACCESS_KEY_ID", &self.access_key_id)
            .env("HOLDALL_SECRET_ACCESS_KEY", &self.secret_access_key)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs it; any exit code is an answer.
    pub async fn run(&self, args: &[&str]) -> Outcome<Said> {
        let output =
            self.command(args).output().await.map_err(|error| format!("{}: {error}", self.binary.display()))?;
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it with `--json`; only exit code 0 is an answer. Several lines become an array.
    pub async fn json(&self, args: &[&str]) -> Outcome<Value> {
        let mut all = args.to_vec();
        all.push("--json");
        let said = self.run(&all).await?;
        if said.code != 0 {
            return Err(
                format!("`holdall {}` exits with {}: {}{}", all.join(" "), said.code, said.out, said.err).into()
            );
        }
        let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&said.out).into_iter().collect();
        let mut values = values.map_err(|error| format!("`holdall {}` prints no JSON: {error}", all.join(" ")))?;
        Ok(if values.len() == 1 { values.remove(0) } else { Value::Array(values) })
    }
}
