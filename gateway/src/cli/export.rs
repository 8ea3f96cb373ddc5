//! `holdall export`: a part of a bucket as plain files, in a folder that Holdall is not needed to read.

use std::time::Duration;

use clap::Args;
use holdall_namespace::assimilate::{Assimilate as Order, Survey};
use holdall_namespace::limits::{RESCAN, RESCAN_AT_MOST};

use super::assimilate::watch;
use super::client::Endpoint;
use super::exit::{Failure, Kind};
use super::target::Target;
use super::{Context, print, progress};
use crate::admin::view::RootView;

/// How often it is tried again.
const LOOK: Duration = Duration::from_millis(250);
/// How long what is under way at the end may take.
const PATIENCE: u32 = 240;

/// At the root of file systems of a common kind.
const LOST_AND_FOUND: &str = "lost+found/";

/// `holdall export`
#[derive(Debug, Args)]
pub struct Export {
    /// The bucket, and what its keys start with.
    #[arg(value_name = "S3://BUCKET/PREFIX")]
    from: Target,
    /// A silo created with `--access read-write`, and what names start with there, in place of the prefix: `nas`,
    /// `nas:exports/2024/`. Nothing may be there yet.
    #[arg(value_name = "SILO[:PREFIX]")]
    to: String,
    /// Let the folder and the bucket follow each other from then on, as `holdall assimilate --read-write` does.
    #[arg(long)]
    follow: bool,
    /// Look whether it could be, and write nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(context: &Context, command: Export) -> Result<(), Failure> {
    let admin = context.admin()?;
    let (silo, prefix) = command.to.split_once(':').unwrap_or((&command.to, ""));
    let order = Order {
        silo: silo.to_owned(),
        prefix: prefix.to_owned(),
        bucket: command.from.bucket,
        into: command.from.rest,
        partial_lists: true,
        without: Vec::new(),
        rate: None,
        // What others change there meanwhile is no concern of an export.
        every_seconds: if command.follow { RESCAN.as_secs() } else { RESCAN_AT_MOST },
        watch: command.follow,
        write: true,
    };
    let survey: Survey = admin.post("/v1/assimilate/survey", &order).await?;
    if survey.names > 0 || survey.refused.iter().any(|refused| refused.name != LOST_AND_FOUND) {
        let message = format!(
            "`{}` is not empty: `holdall assimilate {} --into s3://{}/{} --read-write` lets both follow each other",
            command.to, command.to, order.bucket, order.into
        );
        return Err(Failure { kind: Kind::Refused, message });
    }
    if command.dry_run {
        return print::line(format!(
            "would write the objects of s3://{}/{} to `{}`",
            order.bucket, order.into, command.to
        ));
    }
    let mut ctrl_c = progress::CtrlC::watch()?;
    let root: RootView = admin.post("/v1/assimilate", &order).await?;
    let (bar, id) = (progress::names(), root.id);
    let followed = tokio::select! {
        // Every key was looked at, and nothing is on its way.
        root = watch(
            &admin,
            id,
            &bar,
            |root| root.complete && root.audited && root.waiting == 0,
            |root| (root.brought, format!("{} wait", root.waiting)),
        ) => root,
        () = ctrl_c.pressed() => Err(Failure::detached(format!(
            "detached: root {id} goes on in the gateway, and folder and bucket follow each other, until `holdall assimilate \
             forget {id}`"
        ))),
    };
    bar.finish_and_clear();
    let root = followed?;
    if !command.follow {
        forget(&admin, id).await?;
    }
    if context.global.json { print::json(&root) } else { tell(&command.to, &root) }?;
    if root.stuck == 0 { Ok(()) } else { Err(Failure::failed(format!("{} keys are not there as files", root.stuck))) }
}

/// Somebody may just have written a key.
async fn forget(admin: &Endpoint, id: u32) -> Result<(), Failure> {
    let mut tries = 0;
    loop {
        match admin.delete(&format!("/v1/assimilate/{id}")).await {
            Err(failure) if failure.kind == Kind::Refused && tries < PATIENCE => tries += 1,
            outcome => return outcome,
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn tell(to: &str, root: &RootView) -> Result<(), Failure> {
    print::line(format!("{} files were brought to `{to}`, {} keys cannot be files there", root.brought, root.stuck))?;
    root.unbrought.iter().try_for_each(|one| print::line(format!("  {} ({})", one.name, one.reason)))
}
