//! `[silo.NAME.price]`, or `price = "PRESET"`.

use std::fmt;

use holdall_namespace::price::{Price, Rate, Unit};
use serde::{Deserialize, Deserializer, de};

use super::file::Size;

/// What a silo asks: a preset's name, or a table.
#[derive(Debug, Clone)]
pub struct PriceFile(Price);

/// The table form.
#[derive(Debug, Deserialize)]
pub(crate) struct PriceTable {
    preset: Option<String>,
    currency: Option<String>,
    unit: Option<Unit>,
    storage: Option<Rate>,
    retrieval: Option<Rate>,
    egress: Option<Rate>,
    reads: Option<Rate>,
    writes: Option<Rate>,
    minimum_days: Option<u16>,
    minimum_size: Option<Size>,
}

impl<'de> Deserialize<'de> for PriceFile {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> de::Visitor<'de> for Either {
            type Value = PriceFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a preset's name, or { preset = \"…\", storage = …, egress = … }")
            }

            fn visit_str<E: de::Error>(self, preset: &str) -> Result<PriceFile, E> {
                Ok(PriceFile(Price::of(preset)))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<PriceFile, A::Error> {
                let table = PriceTable::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(PriceFile(table.into()))
            }
        }
        input.deserialize_any(Either)
    }
}

impl From<PriceTable> for Price {
    fn from(table: PriceTable) -> Self {
        let PriceTable {
            preset,
            currency,
            unit,
            storage,
            retrieval,
            egress,
            reads,
            writes,
            minimum_days,
            minimum_size,
        } = table;
        let minimum_size = minimum_size.map(|size| size.0);
        Self { preset, currency, unit, storage, retrieval, egress, reads, writes, minimum_days, minimum_size }
    }
}

impl PriceFile {
    /// What it says; an empty table says nothing.
    pub(crate) fn declared(self) -> Option<Price> {
        Some(self.0).filter(|price| !price.is_empty())
    }
}
