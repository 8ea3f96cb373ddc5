//! From text to [`File`], with errors that say where and what was probably meant.

use std::ops::Range;
use std::path::{Path, PathBuf};

use holdall_namespace::inventory::{CredentialsFrom, Declared};
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use toml::de::{DeTable, DeValue};

use super::file::{
    AlignFile, BackupFile, BucketFile, File, InventoryFile, LogFile, ObjectiveFile, RatesFile, ScrubFile, SiloFile,
    StorageClassFile, TargetTable, TlsFiles, WriteFile,
};
use super::price::PriceTable;

/// Why a configuration file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It could not be read.
    #[error("cannot read `{}`: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        reason: String,
    },
    /// It does not say what it should.
    #[error("{}:{line}:{column}: {reason}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// One sentence fragment that names the field.
        reason: String,
    },
    /// A setting, from wherever, cannot be.
    #[error("{what} `{value}` is not {wanted}")]
    Setting {
        /// Which.
        what: &'static str,
        /// As given.
        value: String,
        /// What it should have been.
        wanted: &'static str,
    },
}

/// Reads a configuration file.
pub fn read(path: &Path) -> Result<File, ConfigError> {
    parse(path, &text_of(path)?)
}

/// Reads a file for `holdall apply`: the declared state in it; process settings beside it are the start's business.
pub fn read_declared(path: &Path) -> Result<Declared, ConfigError> {
    Ok(read(path)?.declared())
}

/// Parses the text of a configuration file; `path` is only named.
pub fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    let wrong = |span: Option<Range<usize>>, reason: String| {
        let (line, column) = place(text, span.map_or(0, |span| span.start));
        ConfigError::Wrong { path: path.to_owned(), line, column, reason }
    };
    let syntax = |error: toml::de::Error| wrong(error.span(), first_line(error.message()));
    let input = toml::Deserializer::parse(text).map_err(syntax)?;

    let mut unknown = Vec::new();
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(segments(&path));
    let parsed: Result<File, _> = serde_path_to_error::deserialize(serde_ignored::Deserializer::new(input, &mut note));
    // An unknown field is named first: a missing one is often only misspelled.
    if let Some(path) = unknown.first() {
        let table = DeTable::parse(text).map_err(syntax)?;
        return Err(wrong(key_span(table.get_ref(), path), unknown_field(path)));
    }
    parsed.map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let reason = first_line(inner.message());
        wrong(inner.span(), if path == "." { reason } else { format!("{path}: {reason}") })
    })
}

fn text_of(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), reason: error.to_string() })
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

/// Line and column of a byte, both from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn segments(path: &serde_ignored::Path<'_>) -> Vec<String> {
    use serde_ignored::Path as P;
    match path {
        P::Root => Vec::new(),
        P::Seq { parent, index } => with(parent, index.to_string()),
        P::Map { parent, key } => with(parent, key.clone()),
        P::Some { parent } | P::NewtypeStruct { parent } | P::NewtypeVariant { parent } => segments(parent),
    }
}

fn with(parent: &serde_ignored::Path<'_>, last: String) -> Vec<String> {
    let mut all = segments(parent);
    all.push(last);
    all
}

fn key_span(table: &DeTable<'_>, path: &[String]) -> Option<Range<usize>> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first.as_str())?;
    if rest.is_empty() { Some(key.span()) } else { value_span(value.get_ref(), rest) }
}

fn value_span(value: &DeValue<'_>, path: &[String]) -> Option<Range<usize>> {
    match value {
        DeValue::Table(table) => key_span(table, path),
        DeValue::Array(array) => {
            let (index, rest) = path.split_first()?;
            let item = array.get(index.parse::<usize>().ok()?)?;
            if rest.is_empty() { Some(item.span()) } else { value_span(item.get_ref(), rest) }
        }
        _ => None,
    }
}

fn unknown_field(path: &[String]) -> String {
    let whole = path.join(".");
    let (last, parents) = path.split_last().expect("an unknown field has a name");
    let known = known_fields(parents);
    match nearest(last, &known) {
        Some(near) => format!("unknown field `{whole}`; did you mean `{near}`?"),
        None => format!("unknown field `{whole}`; known here: {}", known.join(", ")),
    }
}

/// The fields there are in the table at `path`.
fn known_fields(path: &[String]) -> Vec<&'static str> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        [] => fields_of::<File>(),
        ["tls"] => fields_of::<TlsFiles>(),
        ["backup"] => fields_of::<BackupFile>(),
        ["align"] => fields_of::<AlignFile>(),
        ["inventory"] => fields_of::<InventoryFile>(),
        ["scrub"] => fields_of::<ScrubFile>(),
        ["log"] => fields_of::<LogFile>(),
        ["silo", _] => fields_of::<SiloFile>(),
        ["silo", _, "credentials"] => fields_of::<CredentialsFrom>(),
        ["silo", _, "price"] => fields_of::<PriceTable>(),
        ["silo", _, "rates"] => fields_of::<RatesFile>(),
        ["storage_class", _] => fields_of::<StorageClassFile>(),
        ["write"] | ["bucket", _, "write"] => fields_of::<WriteFile>(),
        ["write", "to", _] | ["bucket", _, "write", "to", _] => fields_of::<TargetTable>(),
        ["bucket", _] => fields_of::<BucketFile>(),
        ["objective", _] => fields_of::<ObjectiveFile>(),
        _ => Vec::new(),
    }
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let alike = |name: &&&str| {
        strsim::jaro_winkler(word, name) > 0.75 || strsim::osa_distance(word, name) <= word.len().div_ceil(3)
    };
    let by_likeness = |a: &&&str, b: &&&str| strsim::jaro_winkler(word, a).total_cmp(&strsim::jaro_winkler(word, b));
    known.iter().filter(alike).max_by(by_likeness).copied()
}

/// A struct's field names, as its own `Deserialize` announces them: no second list that could fall behind.
pub(crate) fn fields_of<T: DeserializeOwned>() -> Vec<&'static str> {
    struct Ask<'a>(&'a mut Vec<&'static str>);
    impl<'de> Deserializer<'de> for Ask<'_> {
        type Error = de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
            Err(de::Error::custom("only asked"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _name: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            self.0.extend_from_slice(fields);
            self.deserialize_any(visitor)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut fields = Vec::new();
    drop(T::deserialize(Ask(&mut fields)));
    fields
}

/// Every table's fields, for the test that the sample has them all.
#[cfg(test)]
pub(crate) fn all_fields() -> Vec<(&'static str, Vec<&'static str>)> {
    let tables: [(&str, &[&str]); 15] = [
        ("the file", &[]),
        ("tls", &["tls"]),
        ("backup", &["backup"]),
        ("align", &["align"]),
        ("inventory", &["inventory"]),
        ("scrub", &["scrub"]),
        ("log", &["log"]),
        ("silo", &["silo", "x"]),
        ("credentials", &["silo", "x", "credentials"]),
        ("price", &["silo", "x", "price"]),
        ("write", &["write"]),
        ("bucket", &["bucket", "x"]),
        ("objective", &["objective", "x"]),
        ("rates", &["silo", "x", "rates"]),
        ("storage class", &["storage_class", "x"]),
    ];
    let targets = ("write.to", fields_of::<TargetTable>());
    let of = |path: &[&str]| known_fields(&path.iter().map(ToString::to_string).collect::<Vec<_>>());
    tables.into_iter().map(|(name, path)| (name, of(path))).chain([targets]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(Path::new("holdall.toml"), text).expect_err("must be refused").to_string()
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_the_near_miss() {
        let table = [
            ("lisen = \"127.0.0.1:1\"", "holdall.toml:1:1: unknown field `lisen`; did you mean `listen`?"),
            (
                "region = \"x\"\n[silo.hot]\nulr = \"file:hot\"",
                "holdall.toml:3:1: unknown field `silo.hot.ulr`; did you mean `url`?",
            ),
            (
                "[silo.hot]\nurl = \"file:hot\"\ncredentials = { acess_key_id_env = \"X\" }",
                "holdall.toml:3:17: unknown field `silo.hot.credentials.acess_key_id_env`; did you mean `access_key_id_env`?",
            ),
            (
                "[silo.hot]\nurl = \"gs://hot\"\ncredentials = { service_acount_file = \"X\" }",
                "holdall.toml:3:17: unknown field `silo.hot.credentials.service_acount_file`; did you mean `service_account_file`?",
            ),
            (
                "[silo.hot]\nurl = \"file:hot\"\nprice = { preset = \"free\", egres = 1 }",
                "holdall.toml:3:28: unknown field `silo.hot.price.egres`; did you mean `egress`?",
            ),
            (
                "[silo.hot]\nurl = \"file:hot\"\nprice = 3",
                "holdall.toml:3:9: silo.hot.price: invalid type: integer `3`, expected a preset's name, or { preset = \"…\", storage = …, egress = … }",
            ),
            (
                "[silo.hot]\nurl = \"file:hot\"\n[silo.hot.price]\nstorage = -0.01",
                "holdall.toml:4:11: silo.hot.price.storage: invalid value: floating point `-0.01`, expected a price from 0 to 1000",
            ),
            (
                "[write]\nto = [\"hot\", { silo = \"cold\", minsize = \"1MiB\" }]",
                "holdall.toml:2:31: unknown field `write.to.1.minsize`; did you mean `min_size`?",
            ),
            (
                "[bucket.logs.wirte]\nto = []",
                "holdall.toml:1:14: unknown field `bucket.logs.wirte`; did you mean `write`?",
            ),
            ("[tls]\nzzz = 1", "holdall.toml:2:1: unknown field `tls.zzz`; known here: cert, key"),
            ("[backup]\nevry = \"1h\"", "holdall.toml:2:1: unknown field `backup.evry`; did you mean `every`?"),
            (
                "[backup]\nkeep = \"2mo\"",
                "holdall.toml:2:8: backup.keep: `2mo` is not a duration such as `10m` or `1h 30m`",
            ),
            ("[tls]\ncert = \"a\"", "holdall.toml:1:1: tls: missing field `key`"),
            ("listen = \"localhost\"", "holdall.toml:1:10: listen: invalid socket address syntax"),
            (
                "drain_limit = 30",
                "holdall.toml:1:15: drain_limit: invalid type: integer `30`, expected a duration such as \"10m\"",
            ),
            (
                "drain_limit = \"soon\"",
                "holdall.toml:1:15: drain_limit: `soon` is not a duration such as `10m` or `1h 30m`",
            ),
            (
                "[silo.a]\nurl = \"file:a\"\nreserve = \"95%\"",
                "holdall.toml:3:11: silo.a.reserve: `95%` is not a share such as `5%`, up to `90%`",
            ),
            (
                "[write]\nto = [{ silo = \"a\", max_size = \"big\" }]",
                "holdall.toml:2:32: write.to[0].max_size: `big` is not a size such as `64MiB` or `1GB`",
            ),
            ("[bucket.NO]\n", "holdall.toml:1:9: bucket.NO: `NO` is not a valid bucket name"),
            (
                "[log]\nformat = \"xml\"",
                "holdall.toml:2:10: log.format: unknown variant `xml`, expected `text` or `json`",
            ),
            ("listen = ", "holdall.toml:1:10: string values must be quoted, expected literal string"),
        ];
        let seen: Vec<(&str, String)> = table.iter().map(|(text, _)| (*text, refused(text))).collect();
        let wanted: Vec<(&str, String)> = table.iter().map(|(text, error)| (*text, (*error).to_owned())).collect();
        assert_eq!(seen, wanted);
    }

    #[test]
    fn prices_are_a_name_or_a_table() {
        let price = |text: &str| {
            let file = parse(Path::new("x"), &format!("[silo.a]\nurl = \"file:a\"\n{text}")).unwrap();
            file.declared().silos.remove("a").unwrap().price.map(|price| price.to_string())
        };
        assert_eq!(price("price = \"free\"").as_deref(), Some("free"));
        let table = "price = { preset = \"gcs-archive\", storage = 1, egress = 0.08, minimum_size = \"1KiB\", minimum_days = 7 }";
        let told = "gcs-archive storage 1 egress 0.08 7 days at least 1024 bytes at least";
        assert_eq!(price(table).as_deref(), Some(told));
        assert_eq!(
            price("[silo.a.price]\ncurrency = \"EUR\"\nunit = \"GiB\"\nreads = 0.4").as_deref(),
            Some("EUR by the GiB reads 0.4")
        );
        assert_eq!((price("price = {}"), price("")), (None, None));
    }

    #[test]
    fn sizes_durations_and_targets_read_in_every_form() {
        let file = parse(
            Path::new("x"),
            "drain_limit = \"1h 30m\"\n[write]\nto = [\"hot\", { silo = \"cold\", min_size = 65536, max_size = \"64MiB\" }]",
        )
        .unwrap();
        assert_eq!(file.drain_limit.map(|span| span.0.as_secs()), Some(5400));
        let policy = file.declared().write.unwrap();
        assert_eq!((policy.to[0].silo.as_str(), policy.to[0].min_size, policy.to[0].max_size), ("hot", 0, None));
        assert_eq!(
            (policy.to[1].silo.as_str(), policy.to[1].min_size, policy.to[1].max_size),
            ("cold", 65536, Some(64 << 20))
        );
    }
}
