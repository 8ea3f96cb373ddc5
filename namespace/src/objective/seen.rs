//! What a condition may ask of a silo: `silo("nas").full > 0.9`.

use std::collections::BTreeMap;

use cel::objects::Value;

/// Silos by name, as a condition sees them.
pub type Seen = BTreeMap<String, SiloSeen>;

/// A silo as a condition sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SiloSeen {
    /// From 0 to 1, as `fill` counts it; none where it cannot tell how large it is.
    pub full: Option<f64>,
    /// It answers.
    pub up: bool,
    /// It takes no new bytes by order.
    pub cordoned: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What is asked of a silo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Full,
    Up,
    Cordoned,
    Labels,
}

/// The fields there are, as they are written.
pub(super) const FIELDS: [(&str, Field); 4] =
    [("full", Field::Full), ("up", Field::Up), ("cordoned", Field::Cordoned), ("labels", Field::Labels)];

/// What a condition asks of a silo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub silo: String,
    pub field: Field,
    /// The variable that has the answer, which no condition can name.
    pub variable: String,
    /// Line and column of the silo's name.
    pub at: Option<(u32, u32)>,
}

impl SiloSeen {
    fn value(&self, field: Field) -> Option<Value> {
        match field {
            Field::Full => self.full.map(Value::Float),
            Field::Up => Some(Value::Bool(self.up)),
            Field::Cordoned => Some(Value::Bool(self.cordoned)),
            Field::Labels => {
                Some(self.labels.iter().map(pair).collect::<std::collections::HashMap<String, String>>().into())
            }
        }
    }
}

fn pair((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

impl Asked {
    /// The answer; none where there is none.
    pub(super) fn of(&self, seen: Option<&Seen>) -> Option<Value> {
        seen?.get(&self.silo)?.value(self.field)
    }

    /// Why there is no answer; none where there is one.
    pub(super) fn lacks(&self, seen: Option<&Seen>) -> Option<String> {
        let silo = &self.silo;
        match seen.and_then(|seen| seen.get(silo)) {
            None => Some(format!("there is no silo `{silo}`")),
            Some(known) if known.value(self.field).is_none() => {
                Some(format!("silo `{silo}` cannot tell how large it is"))
            }
            Some(_) => None,
        }
    }
}
