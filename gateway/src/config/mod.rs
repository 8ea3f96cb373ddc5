//! What the process is told: flags before environment before the TOML file.
//!
//! The file also declares state (silos, write policies). That has one truth, the index: the file only asks for it, at
//! the start or by `holdall apply`, and leaving something out removes nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use holdall_namespace::backup::BackupOptions;
use holdall_namespace::inventory::Declared;
use holdall_namespace::job::Pace;
use holdall_namespace::limits;
use holdall_namespace::objective::AlignOptions;
use holdall_namespace::price::Money;
use holdall_namespace::scrub::ScrubOptions;

mod check;
mod file;
mod parse;
mod price;

pub use file::{File, LogFormat, Malformed, ObjectiveFile, Percent, Size, Span, TlsFiles};
pub use parse::{ConfigError, parse, read, read_declared};
pub(crate) use price::PriceFile;

/// Every field of the file, documented, with its default: what `holdall config --sample` prints.
pub const SAMPLE: &str = include_str!("sample.toml");

/// The data folder, unless told otherwise.
pub const DEFAULT_DATA: &str = "./holdall-data";
/// The region, unless told otherwise.
pub const DEFAULT_REGION: &str = "us-east-1";
/// How long a stopping gateway waits for requests in flight: less than the 90 s after which systemd kills.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(30);
/// Room kept free on a silo, percent.
pub const DEFAULT_RESERVE_PERCENT: u8 = 5;
/// Where the admin API is looked for, unless told otherwise.
pub const DEFAULT_ADMIN: &str = "http://127.0.0.1:9001";

/// Process settings as flags or environment variables; each wins over the file's field of the same name.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Read settings and declared state from this TOML file (`holdall config --sample` prints one).
    #[arg(long, value_name = "FILE", env = "HOLDALL_CONFIG")]
    pub config: Option<PathBuf>,
    /// Speak S3 here [default: 127.0.0.1:9000].
    #[arg(long, value_name = "ADDR", env = "HOLDALL_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Admin API, health and metrics here [default: 127.0.0.1:9001].
    #[arg(long, value_name = "ADDR", env = "HOLDALL_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,
    /// The index's file [default: index.redb in the data folder].
    #[arg(long, value_name = "FILE", env = "HOLDALL_INDEX")]
    pub index: Option<PathBuf>,
    /// The file with the 32 bytes that seal secrets at rest [default: seal.key in the data folder].
    #[arg(long, value_name = "FILE", env = "HOLDALL_SEAL_KEY")]
    pub seal_key: Option<PathBuf>,
    /// A domain below which a host names a bucket (`bucket.DOMAIN`); repeat it or separate by commas.
    #[arg(long = "domain", value_name = "DOMAIN", env = "HOLDALL_DOMAINS", value_delimiter = ',')]
    pub domains: Vec<String>,
    /// Certificate chain, PEM; S3 is then spoken over TLS.
    #[arg(long, value_name = "FILE", env = "HOLDALL_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(long, value_name = "FILE", env = "HOLDALL_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Write an access log in S3's server-access-log format; SIGHUP reopens it.
    #[arg(long, value_name = "FILE", env = "HOLDALL_ACCESS_LOG")]
    pub access_log: Option<PathBuf>,
    /// How the log on stderr looks [default: text].
    #[arg(long, value_name = "FORMAT", env = "HOLDALL_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug or trace, or a list such as info,holdall=debug [default: info].
    #[arg(long, value_name = "LEVEL", env = "HOLDALL_LOG_LEVEL")]
    pub log_level: Option<String>,
    /// How long a stopping gateway waits for requests in flight [default: 30s].
    #[arg(long, value_name = "TIME", env = "HOLDALL_DRAIN_LIMIT")]
    pub drain_limit: Option<Span>,
    /// How long retired replicas stay beside the rule that nobody reads them [default: 10m].
    #[arg(long, value_name = "TIME", env = "HOLDALL_SWEEP_GRACE")]
    pub sweep_grace: Option<Span>,
    /// Bytes of objects up to this size share files and requests; 0 for none, at most 256KiB [default: 64KiB].
    #[arg(long, value_name = "SIZE", env = "HOLDALL_PACK_UP_TO")]
    pub pack_up_to: Option<Size>,
    /// Bytes a second at which what lies in place is read for its checksums; 0 for not at all [default: 32MiB].
    #[arg(long, value_name = "SIZE", env = "HOLDALL_HASH_RATE")]
    pub hash_rate: Option<Size>,
    /// How often a snapshot of the index is written into silos; 0s for no backups at all [default: 24h].
    #[arg(long, value_name = "TIME", env = "HOLDALL_BACKUP_EVERY")]
    pub backup_every: Option<Span>,
    /// How far back the index can be restored [default: 7d].
    #[arg(long, value_name = "TIME", env = "HOLDALL_BACKUP_KEEP")]
    pub backup_keep: Option<Span>,
    /// How often all objects are compared with objectives, beside when something changes; 0s for by order alone [default: 1h].
    #[arg(long, value_name = "TIME", env = "HOLDALL_ALIGN_EVERY")]
    pub align_every: Option<Span>,
    /// Bytes a second that objectives move by themselves; 0 is unlimited [default: 0].
    #[arg(long, value_name = "SIZE", env = "HOLDALL_ALIGN_RATE")]
    pub align_rate: Option<Size>,
    /// What moves by themselves may cost a month, in the currency of silos' prices [default: unlimited].
    #[arg(long, value_name = "MONEY", env = "HOLDALL_ALIGN_BUDGET")]
    pub align_budget: Option<Money>,
    /// How often the inventory is written, a table of all objects in a bucket of its own; 0s for by order alone [default: 1h].
    #[arg(long, value_name = "TIME", env = "HOLDALL_INVENTORY_EVERY")]
    pub inventory_every: Option<Span>,
    /// How often all that a silo holds is read and checked, where reading it costs nothing; 0s for by order alone [default: 30d].
    #[arg(long, value_name = "TIME", env = "HOLDALL_SCRUB_EVERY")]
    pub scrub_every: Option<Span>,
    /// Bytes a second that are read for that; 0 is unlimited [default: 10MiB].
    #[arg(long, value_name = "SIZE", env = "HOLDALL_SCRUB_RATE")]
    pub scrub_rate: Option<Size>,
    /// What that may cost a month where reading costs something, in the currency of silos' prices [default: such silos are left out].
    #[arg(long, value_name = "MONEY", env = "HOLDALL_SCRUB_BUDGET")]
    pub scrub_budget: Option<Money>,
    /// For tests: share the index's file with other processes that open it this way.
    #[cfg(feature = "faults")]
    #[arg(long, hide = true, env = "HOLDALL_SHARED_INDEX")]
    pub shared_index: bool,
}

/// What a process runs with, every layer settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where S3 is spoken; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the admin API, health and metrics are.
    pub admin_listen: SocketAddr,
    /// The data folder.
    pub data: PathBuf,
    /// The index's file.
    pub index: PathBuf,
    /// The file with the sealing key.
    pub seal_key: PathBuf,
    /// The region that signatures must name.
    pub region: String,
    /// Domains below which a host names a bucket, in lower case.
    pub domains: Vec<String>,
    /// Certificate and key.
    pub tls: Option<TlsFiles>,
    /// Where the access log is written.
    pub access_log: Option<PathBuf>,
    /// How the log looks.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_level: String,
    /// How long a stop waits for requests in flight.
    pub drain_limit: Duration,
    /// How long retired replicas stay.
    pub sweep_grace: Duration,
    /// Up to how many bytes extents share packs.
    pub pack_up_to: u64,
    /// Bytes a second at which checksums are made of what lies in place; 0 is not at all.
    pub hash_rate: u64,
    /// How often a snapshot of the index is taken; without backups where this is zero.
    pub backup_every: Duration,
    /// How far back it must be possible to restore.
    pub backup_keep: Duration,
    /// How often all objects are compared with objectives; by order alone where this is zero.
    pub align_every: Duration,
    /// Bytes a second that objectives move by themselves; 0 is unlimited.
    pub align_rate: u64,
    /// What that may cost a month; unlimited where nothing is said.
    pub align_budget: Option<Money>,
    /// How often the inventory is written; by order alone where this is zero.
    pub inventory_every: Duration,
    /// How often all that a silo holds is read and checked; by order alone where this is zero.
    pub scrub_every: Duration,
    /// Bytes a second that are read for that; 0 is unlimited.
    pub scrub_rate: u64,
    /// What that may cost a month; silos that cost something to be read are left out where nothing is said.
    pub scrub_budget: Option<Money>,
}

impl Settings {
    /// The defaults, below a data folder.
    pub fn in_folder(data: &Path) -> Self {
        settle(&ServeArgs::default(), Some(data.to_owned()), None, File::default())
    }

    /// How backups of the index are made; none where they are switched off.
    pub fn backup(&self) -> Option<BackupOptions> {
        let options = BackupOptions { every: self.backup_every, keep: self.backup_keep };
        (!options.every.is_zero()).then_some(options)
    }

    /// How objects are kept where objectives want them; none where that is by order alone.
    pub fn align(&self) -> Option<AlignOptions> {
        let pace = Pace { bytes_per_second: Some(self.align_rate).filter(|rate| *rate > 0), concurrency: None };
        let (every, budget) = (self.align_every, self.align_budget);
        (!every.is_zero()).then_some(AlignOptions { every, pace, budget })
    }

    /// How silos are scrubbed; none where that is by order alone.
    pub fn scrub(&self) -> Option<ScrubOptions> {
        let pace = Pace { bytes_per_second: Some(self.scrub_rate).filter(|rate| *rate > 0), concurrency: None };
        let (every, budget) = (self.scrub_every, self.scrub_budget);
        (!every.is_zero()).then_some(ScrubOptions { every, pace, budget })
    }
}

/// Settles the layers; answers the settings and what the file declares.
pub fn load(
    args: &ServeArgs,
    data: Option<PathBuf>,
    region: Option<String>,
) -> Result<(Settings, Option<Declared>), ConfigError> {
    let file = args.config.as_deref().map(read).transpose()?;
    let declared = file.as_ref().map(File::declared).filter(|declared| *declared != Declared::default());
    let settings = settle(args, data, region, file.unwrap_or_default());
    check::check(&settings)?;
    Ok((settings, declared))
}

fn settle(args: &ServeArgs, data: Option<PathBuf>, region: Option<String>, file: File) -> Settings {
    let data = data.or(file.data).unwrap_or_else(|| DEFAULT_DATA.into());
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let cert_and_key = args.tls_cert.clone().zip(args.tls_key.clone()).map(|(cert, key)| TlsFiles { cert, key });
    let domains = if args.domains.is_empty() { file.domains.unwrap_or_default() } else { args.domains.clone() };
    let time = |flag: Option<Span>, file: Option<Span>, default| flag.or(file).map_or(default, |span| span.0);
    Settings {
        listen: args.listen.or(file.listen).unwrap_or(local(9000)),
        admin_listen: args.admin_listen.or(file.admin_listen).unwrap_or(local(9001)),
        index: args.index.clone().or(file.index).unwrap_or_else(|| data.join("index.redb")),
        seal_key: args.seal_key.clone().or(file.seal_key).unwrap_or_else(|| data.join("seal.key")),
        region: region.or(file.region).unwrap_or_else(|| DEFAULT_REGION.to_owned()),
        domains: domains
            .into_iter()
            .map(|domain| domain.trim().trim_matches('.').to_ascii_lowercase())
            // `HOLDALL_DOMAINS=` is none.
            .filter(|domain| !domain.is_empty())
            .collect(),
        tls: cert_and_key.or(file.tls),
        access_log: args.access_log.clone().or(file.access_log),
        log_format: args.log_format.or(file.log.format).unwrap_or_default(),
        log_level: args.log_level.clone().or(file.log.level).unwrap_or_else(|| "info".to_owned()),
        drain_limit: time(args.drain_limit, file.drain_limit, DEFAULT_DRAIN),
        sweep_grace: time(args.sweep_grace, file.sweep_grace, limits::GRACE),
        pack_up_to: args.pack_up_to.or(file.pack_up_to).map_or(limits::PACK_UP_TO, |size| size.0),
        hash_rate: args.hash_rate.or(file.hash_rate).map_or(limits::HASH_RATE, |size| size.0),
        backup_every: time(args.backup_every, file.backup.every, limits::SNAPSHOT_EVERY),
        backup_keep: time(args.backup_keep, file.backup.keep, limits::BACKUPS_KEPT),
        align_every: time(args.align_every, file.align.every, limits::ALIGN_EVERY),
        align_rate: args.align_rate.or(file.align.rate).map_or(0, |size| size.0),
        align_budget: args.align_budget.or(file.align.budget),
        inventory_every: time(args.inventory_every, file.inventory.every, Duration::from_hours(1)),
        scrub_every: time(args.scrub_every, file.scrub.every, limits::SCRUB_EVERY),
        scrub_rate: args.scrub_rate.or(file.scrub.rate).map_or(limits::SCRUB_RATE, |size| size.0),
        scrub_budget: args.scrub_budget.or(file.scrub.budget),
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sample with every commented-out field switched on.
    fn everything() -> String {
        let on = |line: &str| match line.strip_prefix("#: ") {
            Some(field) => field.to_owned(),
            None => line.to_owned(),
        };
        SAMPLE.lines().map(on).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_sample_is_valid_as_it_is_and_with_everything_switched_on() {
        let plain = parse(Path::new("sample.toml"), SAMPLE).unwrap();
        assert_eq!(settle(&ServeArgs::default(), None, None, plain), Settings::in_folder(Path::new(DEFAULT_DATA)));
        parse(Path::new("sample.toml"), &everything()).unwrap();
    }

    #[test]
    fn the_sample_documents_every_field() {
        let sample = everything();
        for (table, fields) in parse::all_fields() {
            for field in fields {
                let set = [format!("{field} = "), format!("[{field}]"), format!("[{field}."), format!(".{field}]")];
                assert!(set.iter().any(|text| sample.contains(text)), "`{field}` of {table} is missing in the sample");
            }
        }
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let file = parse(Path::new("x"), "listen = \"127.0.0.1:1\"\nregion = \"eu-1\"\ndata = \"/d\"").unwrap();
        let args = ServeArgs { listen: Some("127.0.0.1:2".parse().unwrap()), ..ServeArgs::default() };
        let settings = settle(&args, None, None, file);
        assert_eq!(settings.listen.port(), 2);
        assert_eq!(settings.admin_listen.port(), 9001);
        assert_eq!(settings.region, "eu-1");
        assert_eq!(settings.index, Path::new("/d/index.redb"));
    }

    /// The file's table, each flag over it, and a day in days.
    #[test]
    fn backups_are_set_by_a_table_or_by_flags_and_0s_switches_them_off() {
        let options = |every, keep| Some(BackupOptions { every, keep });
        assert_eq!(Settings::in_folder(Path::new("x")).backup(), options(limits::SNAPSHOT_EVERY, limits::BACKUPS_KEPT));
        let file = || parse(Path::new("x"), "[backup]\nevery = \"6h\"\nkeep = \"30d\"").unwrap();
        let settled = |args: &ServeArgs| settle(args, None, None, file()).backup();
        let (hour, day) = (Duration::from_hours(1), Duration::from_hours(24));
        assert_eq!(settled(&ServeArgs::default()), options(hour * 6, day * 30));
        let every = |text: &str| ServeArgs { backup_every: Some(text.parse().unwrap()), ..ServeArgs::default() };
        assert_eq!(settled(&every("2h")), options(hour * 2, day * 30));
        assert_eq!(settled(&every("0s")), None);
        let keep = ServeArgs { backup_keep: Some("1w".parse().unwrap()), ..ServeArgs::default() };
        assert_eq!(settled(&keep), options(hour * 6, day * 7));
    }

    /// What the docs tell people to copy, block by block.
    #[test]
    fn what_the_docs_show_of_objectives_is_good() {
        let docs = include_str!("../../../docs/objectives.md");
        let blocks: Vec<&str> =
            docs.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block).collect();
        assert!(blocks.len() >= 9, "{}", blocks.len());
        for block in blocks {
            let file = parse(Path::new("x"), block).unwrap_or_else(|error| panic!("{block}: {error}"));
            let objectives = file.declared().objectives;
            assert!(!objectives.is_empty(), "{block}");
            for (name, objective) in objectives {
                objective.check().unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
            }
        }
    }

    #[test]
    fn domains_are_compared_in_lower_case() {
        let args = ServeArgs { domains: vec!["S3.Example.Org.".to_owned()], ..ServeArgs::default() };
        assert_eq!(settle(&args, None, None, File::default()).domains, ["s3.example.org"]);
    }
}
