//! The configuration file as it is written: every field there is, in TOML's shape. `sample.toml` says what each is for.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use holdall_namespace::inventory::{Access, CredentialsFrom, Declared, DeclaredSilo, Rates, WritePolicy, WriteTarget};
use holdall_namespace::name::BucketName;
use holdall_namespace::objective::{Ack, Auto, Days, Fill, Hours, Objective, Scope, Selector, Share};
use holdall_namespace::price::Money;
use jiff::{SpanRelativeTo, Timestamp};
use serde::{Deserialize, Deserializer, de};

use super::price::PriceFile;
use crate::s3::header::STORAGE_CLASSES;

/// The whole file: process settings, then declared state.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct File {
    /// Where S3 is spoken.
    pub listen: Option<SocketAddr>,
    /// Where the admin API, health and metrics are.
    pub admin_listen: Option<SocketAddr>,
    /// The data folder.
    pub data: Option<PathBuf>,
    /// The index's file; `index.redb` in the data folder.
    pub index: Option<PathBuf>,
    /// The file with the key that seals secrets at rest; `seal.key` in the data folder.
    pub seal_key: Option<PathBuf>,
    /// The region that signatures must name.
    pub region: Option<String>,
    /// Domains below which a host names a bucket.
    pub domains: Option<Vec<String>>,
    /// How long a stopping gateway waits for requests in flight.
    pub drain_limit: Option<Span>,
    /// How long retired replicas stay beside the rule about readers.
    pub sweep_grace: Option<Span>,
    /// Up to which size objects' bytes share packs.
    pub pack_up_to: Option<Size>,
    /// Bytes a second at which checksums are made of what lies in place.
    pub hash_rate: Option<Size>,
    /// Where S3's server access log is written; none is written without it.
    pub access_log: Option<PathBuf>,
    /// Certificate and key; plain HTTP without them.
    pub tls: Option<TlsFiles>,
    /// Backups of the index.
    pub backup: BackupFile,
    /// How objects are kept where objectives want them.
    pub align: AlignFile,
    /// How the inventory is written.
    pub inventory: InventoryFile,
    /// How silos are scrubbed.
    #[serde(default)]
    pub scrub: ScrubFile,
    /// The process's own log, on stderr.
    pub log: LogFile,
    /// Silos by name.
    pub silo: BTreeMap<String, SiloFile>,
    /// The default write policy.
    pub write: Option<WriteFile>,
    /// What is declared of single buckets.
    pub bucket: BTreeMap<BucketName, BucketFile>,
    /// Objectives by name.
    pub objective: BTreeMap<String, ObjectiveFile>,
    /// Where objects of a storage class are wanted, by the class.
    pub storage_class: BTreeMap<StorageClass, StorageClassFile>,
}

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TlsFiles {
    /// The certificate and what leads to its root, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// `[backup]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct BackupFile {
    /// How often a snapshot is taken; `0s` switches backups off.
    pub every: Option<Span>,
    /// How far back it can be restored.
    pub keep: Option<Span>,
}

/// `[align]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AlignFile {
    /// How often all objects are compared with objectives; `0s` for by order alone.
    pub every: Option<Span>,
    /// Bytes a second that move by themselves.
    pub rate: Option<Size>,
    /// What that may cost a month.
    pub budget: Option<Money>,
}

/// `[inventory]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct InventoryFile {
    /// How often the inventory is written; `0s` for by order alone.
    pub every: Option<Span>,
}

/// `[scrub]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ScrubFile {
    /// How often all that a silo holds is read; `0s` for by order alone.
    pub every: Option<Span>,
    /// Bytes a second that are read.
    pub rate: Option<Size>,
    /// What that may cost a month.
    pub budget: Option<Money>,
}

/// `[log]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LogFile {
    /// See [`LogFormat`].
    pub format: Option<LogFormat>,
    /// A level, or a list of them by module: `info,holdall=debug`.
    pub level: Option<String>,
}

/// How a line of the process's log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[silo.NAME]`
#[derive(Debug, Clone, Deserialize)]
pub struct SiloFile {
    /// Where it is.
    pub url: String,
    /// `credentials = { … }`: where secrets are found, never the secrets.
    #[serde(default)]
    pub credentials: CredentialsFrom,
    /// Room kept free.
    #[serde(default)]
    pub reserve: Percent,
    /// Whose it is.
    #[serde(default)]
    pub access: Access,
    /// What objectives know it by beside its name.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The queue that tells of changes in a bucket of others.
    pub notifications: Option<String>,
    /// What it asks.
    pub price: Option<PriceFile>,
    /// How often all that it holds is read and checked; `0s` for by order alone.
    pub scrub: Option<Span>,
    /// How fast what runs in the background may use it.
    #[serde(default)]
    pub rates: RatesFile,
}

/// `[silo.NAME.rates]`: bytes a second.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct RatesFile {
    /// That are read.
    pub read: Option<Size>,
    /// That are written.
    pub write: Option<Size>,
}

/// `[write]`
#[derive(Debug, Clone, Deserialize)]
pub struct WriteFile {
    /// Silos in order; the first that takes the write has it.
    pub to: Vec<TargetFile>,
}

/// `[bucket.NAME]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct BucketFile {
    /// This bucket's own write policy.
    pub write: Option<WriteFile>,
}

/// One of S3's storage classes: `GLACIER_IR`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct StorageClass(String);

/// `[storage_class.NAME]`
#[derive(Debug, Clone, Deserialize)]
pub struct StorageClassFile {
    /// Silos that will do, the first that can: by name or by label.
    pub place: Vec<Selector>,
}

/// `[objective.NAME]`, and the flags of `holdall objective set`.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default)]
pub struct ObjectiveFile {
    /// What it is about: `s3://bucket/prefix`, the prefix literal, or `s3://` for all there is.
    #[arg(long, value_name = "S3://BUCKET/PREFIX", default_value = "s3://")]
    pub on: Scope,
    /// Which objects of that, in CEL: `age > days(30) && size > MiB(1)`.
    #[arg(long, value_name = "CONDITION")]
    pub when: Option<String>,
    /// Silos that will do, by name or by label: `cold`, `site=frankfurt`.
    #[arg(long, value_name = "SILO", value_delimiter = ',')]
    pub place: Vec<Selector>,
    /// On so many silos at once.
    #[arg(long, value_name = "NUMBER")]
    pub copies: Option<u32>,
    /// Those silos differ in this label: `site`.
    #[arg(long, value_name = "LABEL", requires = "copies")]
    pub apart: Option<String>,
    /// When a write is answered: `one` or `all`.
    #[arg(skip)]
    pub ack: Ack,
    /// One copy on any of these silos, beside where else they are wanted.
    #[arg(long, value_name = "SILO", value_delimiter = ',')]
    pub keep: Vec<Selector>,
    /// Silos that will not.
    #[arg(long, value_name = "SILO", value_delimiter = ',')]
    pub never: Vec<Selector>,
    /// Move what moves by itself for its sake in these hours of the day (UTC): 22:00-06:00.
    #[arg(long, value_name = "HOURS")]
    pub hours: Option<Hours>,
    /// It counts from then on: 2027-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub not_before: Option<Timestamp>,
    /// It counts until then.
    #[arg(long, value_name = "TIME")]
    pub not_after: Option<Timestamp>,
    /// Of the silos of `--place`, or of all that have prices, let Holdall choose the one that is expected to cost least; `off`: everything
    /// stays where it is.
    #[arg(long, value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub auto: Option<Auto>,
    /// What came by that stays so many days at least: 7d.
    #[arg(long, value_name = "DAYS", requires = "auto")]
    pub stay: Option<Days>,
    /// At most so much of what it is about moves by that in a day: 10%.
    #[arg(long, value_name = "SHARE", requires = "auto")]
    pub daily: Option<Share>,
    /// Move the coldest off a silo of `--place` onto the next ones once it is fuller than the second level, until it is at the
    /// first: 70%..85%, 700GiB..850GiB.
    #[arg(long, value_name = "LOW..HIGH", requires = "place")]
    pub fill: Option<Fill>,
    /// One more copy of what is read, on any of these silos, until it has to make room.
    #[arg(long, value_name = "SILO", value_delimiter = ',')]
    pub copy_on_read: Vec<Selector>,
    /// Bytes that such copies may take: 10GiB.
    #[arg(long, value_name = "SIZE", requires = "copy_on_read")]
    pub max: Option<Size>,
    /// It counts before all others, however long their `--on`.
    #[arg(long)]
    pub first: bool,
    /// It counts for nothing but plans; where nothing is said it stays as it was.
    #[arg(skip)]
    pub paused: Option<bool>,
}

/// One entry of a write policy: a silo's name, or a table with size bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFile {
    /// The silo's name.
    pub silo: String,
    /// Only bodies of at least this many bytes.
    pub min_size: Size,
    /// Only bodies of at most this many bytes.
    pub max_size: Option<Size>,
}

/// The table form of [`TargetFile`].
#[derive(Debug, Deserialize)]
pub(crate) struct TargetTable {
    silo: String,
    #[serde(default)]
    min_size: Size,
    max_size: Option<Size>,
}

/// A duration: `"10m"`, `"1h 30m"`, `"7d"`; a day has 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A size in bytes: `"64MiB"`, `"1.5 GB"`, or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Size(pub u64);

/// A share of a silo: `"5%"`, `0%` to `90%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(pub u8);

/// A value's text says something else than it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct Malformed {
    /// As written.
    pub text: String,
    /// What it should have been, with an example.
    pub wanted: &'static str,
}

impl FromStr for Span {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let bad = || Malformed { text: text.to_owned(), wanted: "a duration such as `10m` or `1h 30m`" };
        let span: jiff::Span = text.trim().parse().map_err(|_| bad())?;
        let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| bad())?;
        Duration::try_from(span).map(Self).map_err(|_| bad())
    }
}

impl FromStr for Size {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let parsed: Result<bytesize::ByteSize, _> = text.trim().parse();
        parsed
            .map(|size| Self(size.as_u64()))
            .map_err(|_| Malformed { text: text.to_owned(), wanted: "a size such as `64MiB` or `1GB`" })
    }
}

impl FromStr for Percent {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let number = text.trim().strip_suffix('%').and_then(|digits| digits.trim().parse::<u8>().ok());
        number
            .filter(|percent| *percent <= 90)
            .map(Self)
            .ok_or_else(|| Malformed { text: text.to_owned(), wanted: "a share such as `5%`, up to `90%`" })
    }
}

impl Default for Percent {
    fn default() -> Self {
        Self(super::DEFAULT_RESERVE_PERCENT)
    }
}

/// Reads a value from its text, or from a plain number where that makes sense.
struct Textual<T> {
    wanted: &'static str,
    number: fn(u64) -> Option<T>,
}

impl<T: FromStr<Err = Malformed>> de::Visitor<'_> for Textual<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wanted)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        let value = u64::try_from(number).ok().and_then(self.number);
        value.ok_or_else(|| E::invalid_type(de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.number)(number).ok_or_else(|| E::invalid_type(de::Unexpected::Unsigned(number), &self))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Textual { wanted: "a duration such as \"10m\"", number: |_| None })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Textual { wanted: "a size such as \"64MiB\"", number: |bytes| Some(Self(bytes)) })
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Textual { wanted: "a share such as \"5%\"", number: |_| None })
    }
}

impl<'de> Deserialize<'de> for TargetFile {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> de::Visitor<'de> for Either {
            type Value = TargetFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a silo's name, or { silo = \"NAME\", min_size = \"…\", max_size = \"…\" }")
            }

            fn visit_str<E: de::Error>(self, silo: &str) -> Result<TargetFile, E> {
                Ok(TargetFile { silo: silo.to_owned(), min_size: Size(0), max_size: None })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<TargetFile, A::Error> {
                let table = TargetTable::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(TargetFile { silo: table.silo, min_size: table.min_size, max_size: table.max_size })
            }
        }
        input.deserialize_any(Either)
    }
}

impl TryFrom<String> for StorageClass {
    type Error = String;

    fn try_from(class: String) -> Result<Self, String> {
        let known = STORAGE_CLASSES.contains(&&*class);
        if known { Ok(Self(class)) } else { Err(format!("`{class}` is none of {}", STORAGE_CLASSES.join(", "))) }
    }
}

impl From<TargetFile> for WriteTarget {
    fn from(target: TargetFile) -> Self {
        Self { silo: target.silo, min_size: target.min_size.0, max_size: target.max_size.map(|size| size.0) }
    }
}

impl From<WriteFile> for WritePolicy {
    fn from(file: WriteFile) -> Self {
        Self { to: file.to.into_iter().map(WriteTarget::from).collect() }
    }
}

impl From<SiloFile> for DeclaredSilo {
    fn from(file: SiloFile) -> Self {
        let SiloFile { url, credentials, reserve, access, labels, notifications, price, scrub, rates } = file;
        let rates = Rates::of(rates.read.map(|size| size.0), rates.write.map(|size| size.0));
        let scrub = scrub.map(|every| every.0.as_secs());
        let price = price.and_then(PriceFile::declared);
        Self { url, credentials, reserve_percent: reserve.0, access, labels, notifications, price, scrub, rates }
    }
}

impl From<ObjectiveFile> for Objective {
    fn from(file: ObjectiveFile) -> Self {
        let ObjectiveFile { on, when, place, copies, apart, ack, keep, never, .. } = file;
        let ObjectiveFile { hours, not_before, not_after, fill, copy_on_read, first, paused, .. } = file;
        let (auto, stay, daily) = (file.auto, file.stay, file.daily);
        let max = file.max.map(|max| max.0);
        Self {
            on,
            when,
            place,
            copies,
            apart,
            ack,
            keep,
            never,
            hours,
            not_before,
            not_after,
            auto,
            stay,
            daily,
            fill,
            copy_on_read,
            max,
            first,
            paused,
        }
    }
}

impl File {
    /// The declared state in the file.
    pub fn declared(&self) -> Declared {
        let policies = self.bucket.iter().filter_map(|(name, bucket)| Some((name, bucket.write.clone()?)));
        Declared {
            silos: self.silo.iter().map(|(name, silo)| (name.clone(), silo.clone().into())).collect(),
            write: self.write.clone().map(WritePolicy::from),
            bucket_write: policies.map(|(name, write)| (name.clone(), write.into())).collect(),
            objectives: self.objectives(),
        }
    }

    /// Those that are written out, and one for each storage class: as if they were written so.
    fn objectives(&self) -> BTreeMap<String, Objective> {
        let classes = self.storage_class.iter().map(|(class, file)| {
            let (when, place) = (Some(format!("storage_class == '{}'", class.0)), file.place.clone());
            (format!("storage-class-{}", class.0), Objective { when, place, ..Objective::default() })
        });
        let written = self.objective.iter().map(|(name, wish)| (name.clone(), wish.clone().into()));
        classes.chain(written).collect()
    }
}
