//! `holdall label`: what people say of objects.

use std::collections::BTreeMap;

use clap::Args;
use holdall_namespace::label::{Labelled, Relabel};

use super::exit::Failure;
use super::lines::Lines;
use super::target::{Target, encode};
use super::{Context, print};
use crate::admin::view::LabelLine;

/// `holdall label`
#[derive(Debug, Args)]
pub struct Label {
    /// `s3://bucket/key`, or with `--recursive` what keys begin with
    #[arg(value_name = "S3://BUCKET/KEY", help = "s3://bucket/key, or with --recursive what keys begin with")]
    object: Target,
    /// Labels to set; none shows those there are.
    #[arg(value_name = "NAME=VALUE", value_parser = label)]
    set: Vec<(String, String)>,
    /// Labels to take away.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    remove: Vec<String>,
    /// All objects whose keys begin so.
    #[arg(long)]
    recursive: bool,
    /// Show what would change, and change nothing.
    #[arg(long, requires = "recursive")]
    dry_run: bool,
}

fn label(text: &str) -> Result<(String, String), String> {
    let label = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = label.ok_or_else(|| format!("`{text}` is no label such as `team=x`"))?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) async fn run(context: &Context, command: Label) -> Result<(), Failure> {
    let Label { object, set, remove, recursive, dry_run } = command;
    let shows = set.is_empty() && remove.is_empty();
    let relabel = Relabel { set: set.into_iter().collect(), remove };
    if recursive {
        if shows {
            return Err(Failure::misuse("nothing to set and nothing to remove; `holdall find` shows many objects"));
        }
        return many(context, &object, &relabel, dry_run).await;
    }
    let (admin, path) = (context.admin()?, format!("/v1/label?{}", object.object()?));
    let labels: BTreeMap<String, String> =
        if shows { admin.get(&path).await? } else { admin.post(&path, &relabel).await? };
    if context.global.json {
        return print::json(&labels);
    }
    labels.into_iter().try_for_each(|(name, value)| print::line(format!("{name}={value}")))
}

async fn many(context: &Context, under: &Target, relabel: &Relabel, dry_run: bool) -> Result<(), Failure> {
    let (bucket, prefix) = (encode(under.bucket.as_str()), encode(&under.rest));
    let path = format!("/v1/label/all?bucket={bucket}&prefix={prefix}&dry_run={dry_run}");
    let mut lines = Lines::of(context.admin()?.post_stream(&path, relabel).await?);
    while let Some(line) = lines.next().await? {
        match line {
            LabelLine::Labelling(_) => {}
            LabelLine::Error(reason) => return Err(Failure::failed(format!("the labelling broke off: {reason}"))),
            LabelLine::Labelled(done) => return conclude(context, &done, dry_run),
        }
    }
    Err(Failure::failed("the labelling broke off: the gateway ended its answer early"))
}

fn conclude(context: &Context, done: &Labelled, dry_run: bool) -> Result<(), Failure> {
    if context.global.json {
        print::json(done)?;
    } else {
        let (would, Labelled { objects, changed, .. }) = (if dry_run { "would change" } else { "changed" }, done);
        print::line(format!("{objects} objects, {changed} of them {would}"))?;
    }
    let Some(example) = &done.example else { return Ok(()) };
    let (refused, example) = (done.refused, print::plain(example));
    Err(Failure::failed(format!("{refused} objects would have too many labels, and stay as they are: {example} first")))
}
