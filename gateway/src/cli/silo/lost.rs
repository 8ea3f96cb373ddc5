//! `holdall silo lost` and `holdall silo found`.

use clap::Args;
use holdall_namespace::lost::{Going, Loss};
use http::Method;

use super::super::client::Endpoint;
use super::super::exit::Failure;
use super::super::lines::Lines;
use super::super::target::encode;
use super::super::{Context, job, print};
use crate::admin::view::{LossLine, LostView};

/// `holdall silo lost`
#[derive(Debug, Args)]
pub struct Lost {
    /// The silo.
    name: String,
    /// Say what goes with it, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// List what cannot be read any more, object by object.
    #[arg(long)]
    list: bool,
    /// Give it up though it answers.
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(context: &Context, admin: &Endpoint, command: &Lost) -> Result<(), Failure> {
    let loss = look(context, admin, command).await?;
    if command.dry_run {
        return Ok(());
    }
    let path = format!("/v1/silo/{}/lost?force={}", encode(&command.name), command.force);
    let lost: LostView = admin.act(&path).await?;
    if context.global.json {
        return print::ndjson(&lost);
    }
    print::line(format!("silo {} is lost, and not asked any more; {}", command.name, job::sentence(&lost.job)))?;
    if loss.objects + loss.uploads == 0 {
        return Ok(());
    }
    print::line(format!(
        "what is nowhere else answers 405 until it is deleted or put anew: `holdall silo lost {} --dry-run --list` names it",
        command.name
    ))
}

/// What goes with the silo, line by line as it is found.
async fn look(context: &Context, admin: &Endpoint, command: &Lost) -> Result<Loss, Failure> {
    let path = format!("/v1/silo/{}/loss?list={}", encode(&command.name), command.list);
    let mut lines = Lines::of(admin.stream(Method::GET, &path).await?);
    while let Some(line) = lines.next().await? {
        match &line {
            LossLine::Error(reason) => return Err(Failure::failed(format!("the look broke off: {reason}"))),
            _ if context.global.json => print::ndjson(&line),
            LossLine::Going(going) => print::line(name_of(going)),
            LossLine::Loss(loss) => print::line(sentence(&command.name, loss)),
        }?;
        if let LossLine::Loss(loss) = line {
            return Ok(loss);
        }
    }
    Err(Failure::failed("the look broke off: the gateway ended its answer early"))
}

fn name_of(going: &Going) -> String {
    match going {
        Going::Object { bucket, key, .. } => format!("s3://{bucket}/{key}"),
        Going::Upload { bucket, key, .. } => format!("upload of s3://{bucket}/{key}"),
    }
}

fn sentence(silo: &str, loss: &Loss) -> String {
    let Loss { extents, bytes, elsewhere_extents, elsewhere_bytes, objects, object_bytes, uploads } = loss;
    let (bytes, elsewhere) = (print::bytes(*bytes), print::bytes(*elsewhere_bytes));
    let uploads = if *uploads == 0 { String::new() } else { format!(", and parts of {uploads} uploads") };
    format!(
        "silo {silo} has {extents} extents, {bytes}; other silos have {elsewhere_extents} of them, {elsewhere}; nowhere else: {} \
         of {objects} objects{uploads}",
        print::bytes(*object_bytes)
    )
}
