//! What a settled setting may say: a value that would be taken and then never do anything is refused at the start.

use std::time::Duration;

use super::Settings;
use super::parse::ConfigError;
use crate::limits::{
    LONGEST_KEPT, RAREST_COMPARISON, RAREST_SCRUB, RAREST_SNAPSHOT, SOONEST_COMPARISON, SOONEST_INVENTORY,
    SOONEST_SCRUB, SOONEST_SNAPSHOT,
};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Refuses the first setting that makes no sense.
pub(super) fn check(settings: &Settings) -> Result<(), ConfigError> {
    refuse("region", &settings.region, is_region, "1 to 64 of `a-z 0-9 -`")?;
    for domain in &settings.domains {
        refuse("domain", domain, is_host_name, "a host's name such as `s3.example.org`, without a port")?;
    }
    let at_most = "a size up to 256KiB, which is 262144";
    refuse("pack_up_to", &settings.pack_up_to.to_string(), is_packable, at_most)?;
    let at_least = "0, which switches it off, nor a size of 1MiB or more";
    refuse("hash_rate", &settings.hash_rate.to_string(), is_rate, at_least)?;
    check_backup(settings)?;
    let at_least = "0, which is unlimited, nor a size of 1MiB or more";
    refuse("align.rate", &settings.align_rate.to_string(), is_rate, at_least)?;
    let every = settings.align_every;
    if !every.is_zero() && !(SOONEST_COMPARISON..=RAREST_COMPARISON).contains(&every) {
        let wanted = "a time from 1s to 31d, nor 0s, which moves by order alone";
        return Err(ConfigError::Setting { what: "align.every", value: time(every), wanted });
    }
    let every = settings.inventory_every;
    if !every.is_zero() && !(SOONEST_INVENTORY..=RAREST_COMPARISON).contains(&every) {
        let wanted = "a time from 10s to 31d, nor 0s, which writes it by order alone";
        return Err(ConfigError::Setting { what: "inventory.every", value: time(every), wanted });
    }
    refuse("scrub.rate", &settings.scrub_rate.to_string(), is_rate, at_least)?;
    let every = settings.scrub_every;
    if !every.is_zero() && !(SOONEST_SCRUB..=RAREST_SCRUB).contains(&every) {
        let wanted = "a time from 1h to 10 years, which is 3650d, nor 0s, which scrubs by order alone";
        return Err(ConfigError::Setting { what: "scrub.every", value: time(every), wanted });
    }
    let levels = "`error`, `warn`, `info`, `debug` or `trace`, nor a list such as `info,holdall=debug`";
    refuse("log level", &settings.log_level, is_log_filter, levels)
}

fn refuse(what: &'static str, value: &str, good: fn(&str) -> bool, wanted: &'static str) -> Result<(), ConfigError> {
    if good(value) { Ok(()) } else { Err(ConfigError::Setting { what, value: value.to_owned(), wanted }) }
}

/// How long backups are kept says something even where none are made: it must be good once they are.
fn check_backup(settings: &Settings) -> Result<(), ConfigError> {
    let (every, keep) = (settings.backup_every, settings.backup_keep);
    let wrong = |what, value, wanted| Err(ConfigError::Setting { what, value: time(value), wanted });
    if !every.is_zero() && !(SOONEST_SNAPSHOT..=RAREST_SNAPSHOT).contains(&every) {
        return wrong("backup.every", every, "a time from 1s to 31d, nor 0s, which switches backups off");
    }
    if keep < every || keep > LONGEST_KEPT {
        return wrong("backup.keep", keep, "a time from what backup.every says to 10 years, which is 3650d");
    }
    Ok(())
}

fn time(time: Duration) -> String {
    jiff::SignedDuration::try_from(time).map_or_else(|_| format!("{time:?}"), |time| format!("{time:#}"))
}

fn is_packable(text: &str) -> bool {
    text.parse().is_ok_and(|size: u64| size <= holdall_namespace::limits::MAX_PACKED)
}

fn is_rate(text: &str) -> bool {
    text.parse().is_ok_and(|rate: u64| rate == 0 || rate >= holdall_namespace::limits::HASH_RATE_LEAST)
}

fn is_region(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(good)
}

/// Underscores are in no name of the public DNS, and in many of private ones.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(good) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// The filter language takes any other word for a target that is to be logged at its finest, and logs nothing else.
fn is_log_filter(text: &str) -> bool {
    let level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let target = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    text.split(',').map(str::trim).all(|directive| match directive.split_once('=') {
        None => level(directive),
        Some((name, word)) => {
            !name.is_empty() && name.bytes().all(target) && (level(word) || word.eq_ignore_ascii_case("off"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `--log-level warning` was taken for the name of a module, and nothing was logged any more, errors included.
    #[test]
    fn a_misspelt_log_level_is_refused() {
        for good in ["warn", "INFO", "info,holdall=debug", "holdall_namespace::sweep=trace, warn", "warn,hyper=off"] {
            assert!(is_log_filter(good), "{good}");
        }
        for bad in ["", "warning", "loud", "info,", "holdall", "info,holdall=loud", "=info", "info holdall=debug", "3"]
        {
            assert!(!is_log_filter(bad), "{bad}");
        }
    }

    /// Regions with spaces and domains with ports were taken, and no request ever matched them.
    #[test]
    fn regions_and_domains_are_names() {
        for good in ["us-east-1", "garage", "x"] {
            assert!(is_region(good), "{good}");
        }
        for bad in ["", "US-EAST-1", "us east 1", "us_east", "a/b", &"r".repeat(65)] {
            assert!(!is_region(bad), "{bad}");
        }
        for good in ["s3.example.org", "localhost", "my_s3", "10.0.0.1"] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in ["s3.example.org:9000", "s3 example", "http://s3", "a..b", "-a", "a-.b", "*.s3.org", &"a".repeat(64)]
        {
            assert!(!is_host_name(bad), "{bad}");
        }
    }

    /// A snapshot that is due more often than one can be taken, or that is gone before the next one.
    #[test]
    fn backups_are_made_seldom_enough_and_kept_until_the_next_one() {
        let refused = |every: &str, keep: &str| {
            let mut settings = Settings::in_folder(std::path::Path::new("x"));
            let read = |text: &str| text.parse::<crate::config::Span>().unwrap().0;
            (settings.backup_every, settings.backup_keep) = (read(every), read(keep));
            check(&settings).err().map(|error| error.to_string())
        };
        for (every, keep) in [("1s", "1s"), ("31d", "3650d"), ("0s", "1h"), ("0s", "0s"), ("24h", "1w")] {
            assert_eq!(refused(every, keep), None, "{every} {keep}");
        }
        let every = "is not a time from 1s to 31d, nor 0s, which switches backups off";
        let keep = "is not a time from what backup.every says to 10 years, which is 3650d";
        assert_eq!(refused("999ms", "7d"), Some(format!("backup.every `999ms` {every}")));
        assert_eq!(refused("32d", "60d"), Some(format!("backup.every `768h` {every}")));
        assert_eq!(refused("24h", "23h"), Some(format!("backup.keep `23h` {keep}")));
        assert_eq!(refused("0s", "3651d"), Some(format!("backup.keep `87624h` {keep}")));
    }

    #[test]
    fn a_refusal_names_the_setting_and_its_value() {
        let mut settings = Settings::in_folder(std::path::Path::new("x"));
        assert!(check(&settings).is_ok());
        settings.domains = vec!["s3:80".to_owned()];
        let told = check(&settings).unwrap_err().to_string();
        assert_eq!(told, "domain `s3:80` is not a host's name such as `s3.example.org`, without a port");
    }
}
