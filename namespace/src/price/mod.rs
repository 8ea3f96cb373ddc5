//! What silos ask for holding, reading and writing bytes, and what that makes. Pure.
//!
//! Prices are whole numbers of 10^-9 of the currency, amounts of 10^-18: a byte at a price by the GB is exact, and sums do not
//! depend on the order of what is added. The same plan costs the same, to the last digit.

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_EXTENT, MAX_MINIMUM_DAYS};

mod amount;
mod cost;
mod presets;

pub use amount::{Money, Rate};
pub use cost::{Effort, Leaving, MONTH_DAYS, Once, Reads};
pub use presets::{PRESETS, Preset};

/// In what prices are where nothing is said: that of the presets.
pub const USD: &str = "USD";

/// How many bytes a price is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// 10^9 bytes.
    #[default]
    GB,
    /// 2^30 bytes; some bills call that a GB.
    GiB,
}

/// What a silo asks. What is left out of the five prices is free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceCard {
    /// By how many bytes.
    pub unit: Unit,
    /// Holding a unit for a month of 30 days.
    pub storage: Rate,
    /// Reading a unit, wherever it goes.
    pub retrieval: Rate,
    /// Taking a unit out, to where the gateway is.
    pub egress: Rate,
    /// A thousand requests that read.
    pub reads: Rate,
    /// A thousand requests that write.
    pub writes: Rate,
    /// What goes before it lay so many days pays for the rest of them.
    pub minimum_days: u16,
    /// What is smaller is held at the price of so many bytes.
    pub minimum_size: u64,
}

/// A silo's prices as they are declared: a preset's, changed where more is said, or all of its own. A preset's are those of the
/// version that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Price {
    /// One of [`PRESETS`], by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Three capital letters; the same for all silos. US dollars where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// See [`PriceCard::unit`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// See [`PriceCard::storage`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Rate>,
    /// See [`PriceCard::retrieval`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<Rate>,
    /// See [`PriceCard::egress`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<Rate>,
    /// See [`PriceCard::reads`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<Rate>,
    /// See [`PriceCard::writes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<Rate>,
    /// See [`PriceCard::minimum_days`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_days: Option<u16>,
    /// See [`PriceCard::minimum_size`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_size: Option<u64>,
}

impl PriceCard {
    /// Whether reading costs nothing, requests and the way here as well.
    pub fn is_read_for_nothing(&self) -> bool {
        [self.retrieval, self.egress, self.reads].iter().all(|rate| *rate == Rate::FREE)
    }

    /// Whether nothing of it costs anything, in whatever currency.
    pub fn is_free(&self) -> bool {
        [self.storage, self.retrieval, self.egress, self.reads, self.writes].iter().all(|rate| *rate == Rate::FREE)
    }
}

impl Price {
    /// A preset's, as they are.
    pub fn of(preset: impl Into<String>) -> Self {
        Self { preset: Some(preset.into()), ..Self::default() }
    }

    /// Whether nothing is said: no price is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// In what the prices are.
    pub fn currency(&self) -> &str {
        self.currency.as_deref().unwrap_or(USD)
    }

    /// The prices themselves. Refused, in one sentence fragment, is what contradicts itself, and a preset that this version does
    /// not know.
    pub fn card(&self) -> Result<PriceCard, String> {
        let base = match &self.preset {
            None => PriceCard { unit: self.unit.unwrap_or_default(), ..PriceCard::default() },
            Some(name) => self.preset_card(name)?,
        };
        if self.currency().len() != 3 || !self.currency().bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(format!("`{}` is no currency such as `EUR`", self.currency()));
        }
        let card = PriceCard {
            storage: self.storage.unwrap_or(base.storage),
            retrieval: self.retrieval.unwrap_or(base.retrieval),
            egress: self.egress.unwrap_or(base.egress),
            reads: self.reads.unwrap_or(base.reads),
            writes: self.writes.unwrap_or(base.writes),
            minimum_days: self.minimum_days.unwrap_or(base.minimum_days),
            minimum_size: self.minimum_size.unwrap_or(base.minimum_size),
            ..base
        };
        if card.minimum_days > MAX_MINIMUM_DAYS || card.minimum_size > MAX_EXTENT {
            return Err(format!("`minimum_days` is at most {MAX_MINIMUM_DAYS}, `minimum_size` {MAX_EXTENT} bytes"));
        }
        Ok(card)
    }

    /// What a preset's prices are by is theirs.
    fn preset_card(&self, name: &str) -> Result<PriceCard, String> {
        let known = PRESETS.iter().find(|preset| preset.name == name);
        let preset = known.ok_or_else(|| format!("there is no preset `{name}`; `holdall price list` shows them"))?;
        if self.unit.is_some_and(|unit| unit != preset.card.unit) || (self.currency() != USD && !preset.card.is_free())
        {
            return Err(format!("the prices of preset `{name}` are in {USD} by the {:?}", preset.card.unit));
        }
        Ok(preset.card)
    }
}

impl std::fmt::Display for Price {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rates = [
            ("storage", self.storage),
            ("retrieval", self.retrieval),
            ("egress", self.egress),
            ("reads", self.reads),
            ("writes", self.writes),
        ];
        let rates = rates.into_iter().filter_map(|(name, rate)| Some(format!("{name} {}", rate?)));
        let currency = self.currency.clone().into_iter();
        let unit = self.unit.map(|unit| format!("by the {unit:?}"));
        let days = self.minimum_days.map(|days| format!("{days} days at least"));
        let size = self.minimum_size.map(|size| format!("{size} bytes at least"));
        let said: Vec<String> =
            self.preset.clone().into_iter().chain(currency).chain(unit).chain(rates).chain(days).chain(size).collect();
        f.write_str(&said.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Price {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_preset_is_changed_where_more_is_said() {
        let preset = Price::of("aws-s3-glacier-ir").card().unwrap();
        assert_eq!((preset.storage.to_string().as_str(), preset.minimum_days), ("0.004", 90));
        let own = read(r#"{"preset": "aws-s3-glacier-ir", "egress": 0, "storage": 0.0036}"#);
        let egress = Rate::FREE;
        assert_eq!(own.card(), Ok(PriceCard { egress, storage: Rate::of(0.0036).unwrap(), ..preset }));
        assert_eq!(own.to_string(), "aws-s3-glacier-ir storage 0.0036 egress 0");
        assert_eq!(read(&serde_json::to_string(&own).unwrap()), own);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let refused = |text: &str| read(text).card().unwrap_err();
        assert_eq!(refused(r#"{"preset": "s4"}"#), "there is no preset `s4`; `holdall price list` shows them");
        let by = "the prices of preset `aws-s3-standard` are in USD by the GiB";
        assert_eq!(refused(r#"{"preset": "aws-s3-standard", "unit": "GB"}"#), by);
        assert_eq!(refused(r#"{"preset": "aws-s3-standard", "currency": "EUR"}"#), by);
        assert_eq!(refused(r#"{"currency": "euro"}"#), "`euro` is no currency such as `EUR`");
        assert!(refused(r#"{"minimum_days": 3651}"#).contains("at most 3650"));
        assert!(refused(r#"{"minimum_size": 1073741825}"#).contains("1073741824 bytes"));
        assert!(read(r#"{"preset": "free", "currency": "EUR"}"#).card().unwrap().is_free());
        assert!(serde_json::from_str::<Price>(r#"{"storage": -1}"#).is_err());
        assert!(Price::default().is_empty() && !Price::of("free").is_empty());
    }
}
