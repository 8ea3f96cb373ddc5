//! `holdall find`: objects by what is known of them.

use clap::Args;
use holdall_namespace::objective::Scope;
use http::Method;

use super::exit::Failure;
use super::lines::Lines;
use super::target::encode;
use super::{Context, print};
use crate::admin::view::{FindLine, FoundSum, FoundView};

/// `holdall find`
#[derive(Debug, Args)]
pub struct Find {
    /// Which part of the namespace: `s3://bucket/prefix`, the prefix literal, or `s3://` for all there is.
    #[arg(value_name = "S3://BUCKET/PREFIX", default_value = "s3://")]
    on: Scope,
    /// Which objects of that, in CEL: `copies < 2 && size > MiB(1)`.
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// No more than so many.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print how many there are and their bytes, and none of them.
    #[arg(long)]
    count: bool,
}

impl Find {
    fn path(&self) -> String {
        let on = encode(&self.on.to_string());
        let condition = self.condition.as_ref().map(|text| format!("&where={}", encode(text))).unwrap_or_default();
        let limit = self.limit.map(|limit| format!("&limit={limit}")).unwrap_or_default();
        format!("/v1/find?on={on}&count={}{condition}{limit}", self.count)
    }
}

pub(super) async fn find(context: &Context, command: &Find) -> Result<(), Failure> {
    let mut lines = Lines::of(context.admin()?.stream(Method::GET, &command.path()).await?);
    while let Some(line) = lines.next().await? {
        match line {
            FindLine::Error(reason) => return Err(Failure::failed(format!("the search broke off: {reason}"))),
            FindLine::Object(found) if !context.global.json => print::line(row(&found))?,
            FindLine::Found(sum) => return conclude(context, command, sum),
            found @ FindLine::Object(_) => print::ndjson(&found)?,
        }
    }
    Err(Failure::failed("the search broke off: the gateway ended its answer early"))
}

/// Of a width that needs no other row: rows are printed as they come.
fn row(found: &FoundView) -> String {
    let (size, modified) = (print::bytes(found.size), print::time(found.modified));
    let silos = if found.silos.is_empty() { "-".to_owned() } else { found.silos.join(",") };
    format!("{size:>10}  {modified}  {silos:<15}  s3://{}/{}", found.bucket, print::plain(&found.key))
}

fn conclude(context: &Context, command: &Find, sum: FoundSum) -> Result<(), Failure> {
    if let (Some(example), false) = (&sum.example, context.global.json) {
        let objects = of_objects(sum.unclear);
        eprintln!("{objects} could not be asked, which counts as no; the first: {}", print::plain(example));
    }
    match (context.global.json, command.count) {
        (true, _) => print::ndjson(&FindLine::Found(sum)),
        (false, true) => print::line(format!("{}, {}", of_objects(sum.objects), print::bytes(sum.bytes))),
        (false, false) => Ok(()),
    }
}

fn of_objects(count: u64) -> String {
    if count == 1 { "1 object".to_owned() } else { format!("{count} objects") }
}
