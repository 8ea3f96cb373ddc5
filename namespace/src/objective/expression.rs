//! Conditions: CEL over what is known of an object. <https://cel.dev>

use std::sync::{Arc, LazyLock};

use cel::common::ast::IdedExpr;
use cel::objects::Value;
use cel::{Context, ExecutionError, FunctionContext, Program};

use super::grammar;
use super::seen::{Asked, Seen, SiloSeen};
use crate::clock::UnixMs;
use crate::heat::Heat;
use crate::limits::{MAX_CONDITION, PARSER_STACK};
use crate::table::objects::Attributes;

/// What any condition may look at. `age` and `unread` are in seconds, as `days(30)` is; `size` in bytes, as `MiB(1)`.
const VARIABLES: [&str; 10] =
    ["bucket", "key", "size", "age", "unread", "storage_class", "content_type", "tags", "metadata", "labels"];
/// What only a search may look at beside, and why no objective may.
const SEARCHED: [(&str, &str); 3] = [
    ("silos", "what moves for it would change what it says"),
    ("copies", "what is copied for it would change what it says"),
    ("etag", "nobody knows it before an object is written"),
];
/// Those that say where an object's bytes are.
const HELD: [&str; 2] = ["silos", "copies"];
const LABELS: &str = "labels";
/// Those that may stand in a row of their own.
const ATTRIBUTES: [&str; 3] = ["content_type", "tags", "metadata"];
/// Reads in the last so many seconds.
const READS: &str = "reads";
/// An object's heat, as bytes, and the time, under names that no condition can use.
const HEAT: &str = "#heat";
const NOW: &str = "#now";
const SECONDS: [(&str, i64); 4] = [("minutes", 60), ("hours", 3600), ("days", 86_400), ("weeks", 604_800)];
const BYTES: [(&str, i64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// An object as a condition sees it.
#[derive(Debug, Clone, Default)]
pub struct Subject<'a> {
    /// Its bucket.
    pub bucket: &'a str,
    /// Its key.
    pub key: &'a str,
    /// Bytes.
    pub size: u64,
    /// `Last-Modified`.
    pub modified: UnixMs,
    /// Now.
    pub now: UnixMs,
    /// `STANDARD` where none was named.
    pub storage_class: &'a str,
    /// Empty where none was sent.
    pub content_type: &'a str,
    /// How it is read; none where nobody did.
    pub heat: Option<Heat>,
    /// Tags.
    pub tags: &'a [(String, String)],
    /// `x-amz-meta-…`, without the prefix.
    pub metadata: &'a [(String, String)],
    /// What people say of it.
    pub labels: &'a [(String, String)],
    /// Silos, for conditions that ask for them.
    pub seen: Option<&'a Seen>,
    /// ETag; searches alone ask for it and what follows.
    pub etag: &'a str,
    /// Silos that have a verified copy of all of its bytes.
    pub silos: &'a [String],
    /// Verified copies of those of its bytes that have the fewest.
    pub copies: u32,
}

impl<'a> Subject<'a> {
    /// Of so many bytes, written now.
    pub fn written(size: u64, now: UnixMs) -> Self {
        Self { size, modified: now, now, ..Self::default() }
    }

    /// The same of an object with these names and attributes, as far as they are known.
    #[must_use]
    pub fn of(
        self,
        bucket: &'a str,
        key: &'a str,
        storage_class: Option<&'a str>,
        own: Option<&'a Attributes>,
    ) -> Self {
        let content_type = own.and_then(|own| own.headers.system.iter().find(|(name, _)| name == "content-type"));
        Self {
            bucket,
            key,
            storage_class: storage_class.unwrap_or("STANDARD"),
            content_type: content_type.map_or("", |(_, value)| value.as_str()),
            tags: own.map_or(&[], |own| &own.tags),
            metadata: own.map_or(&[], |own| &own.headers.user),
            ..self
        }
    }
}

/// Why something is no condition, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", place(*.at))]
pub struct Wrong {
    /// Line and column from 1, where the mistake has a place.
    pub at: Option<(u32, u32)>,
    /// One sentence fragment.
    pub reason: String,
}

fn place(at: Option<(u32, u32)>) -> String {
    at.map_or_else(String::new, |(line, column)| format!(" (line {line}, column {column})"))
}

/// A condition that was looked at: it names only what there is, and answered yes or no on a sample.
#[derive(Debug, Clone)]
pub struct Condition {
    expression: Arc<IdedExpr>,
    /// What it asks of silos.
    asked: Arc<[Asked]>,
    /// What of it depends on silos alone.
    of_silos: Arc<[IdedExpr]>,
    needs: Needs,
    by: By,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Objective,
    Search,
}

impl By {
    /// What it may look at.
    fn variables(self) -> Vec<&'static str> {
        let searched = SEARCHED.iter().map(|(name, _)| *name).filter(|_| self == Self::Search);
        VARIABLES.into_iter().chain(searched).collect()
    }

    /// Why it may not look at something.
    fn refuse(self, name: &str) -> Option<String> {
        let variables = self.variables();
        if variables.contains(&name) {
            return None;
        }
        let searched = SEARCHED.iter().find(|(searched, _)| *searched == name);
        Some(searched.map_or_else(
            || format!("there is no `{name}`: a condition may look at {}", variables.join(", ")),
            |(_, why)| format!("no objective may look at `{name}`, as `holdall find` does: {why}"),
        ))
    }
}

/// What a condition looks at beside what a list shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is something else to be read")]
pub struct Needs {
    /// What may stand in a row of its own.
    pub attributes: bool,
    /// How the object is read.
    pub heat: bool,
    /// What people say of it.
    pub labels: bool,
    /// Where its bytes are.
    pub held: bool,
}

impl Needs {
    /// All there is.
    pub const ALL: Self = Self { attributes: true, heat: true, labels: true, held: true };

    /// What both look at.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            attributes: self.attributes || other.attributes,
            heat: self.heat || other.heat,
            labels: self.labels || other.labels,
            held: self.held || other.held,
        }
    }
}

/// The functions that conditions may use, beside CEL's own.
static FUNCTIONS: LazyLock<Context<'static, 'static>> = LazyLock::new(|| {
    let mut context = Context::default();
    for (name, unit) in SECONDS.into_iter().chain(BYTES) {
        let times = move |count: i64| count.checked_mul(unit).ok_or_else(|| too_much(name));
        context.add_function(name, times).expect("CEL has no such function of its own");
    }
    context.add_function(READS, reads).expect("CEL has no such function of its own");
    context
});

fn reads(call: &FunctionContext<'_, '_>, seconds: i64) -> Result<i64, ExecutionError> {
    let (Some(Value::Bytes(heat)), Some(Value::Int(now))) = (value_of(call, HEAT), value_of(call, NOW)) else {
        return Ok(0);
    };
    let heat = heat.as_slice().try_into().map(Heat::from_bytes).map_err(|_| call.error("no heat"))?;
    let reads = heat.reads(seconds.saturating_mul(1000), now);
    Ok(i64::try_from(reads).unwrap_or(i64::MAX))
}

fn value_of(call: &FunctionContext<'_, '_>, name: &str) -> Option<Value> {
    let value = call.ptx.get_variable(name)?;
    value.as_ref().try_into().ok()
}

fn too_much(name: &str) -> ExecutionError {
    ExecutionError::function_error(name, "more than a number holds")
}

impl Condition {
    /// Reads an objective's condition.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        Self::read(text, By::Objective)
    }

    /// Reads the condition of a search, which may also look at where objects are now.
    pub fn of_search(text: &str) -> Result<Self, Wrong> {
        Self::read(text, By::Search)
    }

    /// On a stack of its own: how deep it is nested is known once it is read.
    fn read(text: &str, by: By) -> Result<Self, Wrong> {
        let wrong = |reason: String| Wrong { at: None, reason };
        if text.len() > MAX_CONDITION {
            return Err(wrong(format!("a condition has at most {MAX_CONDITION} bytes")));
        }
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(PARSER_STACK);
            let read = thread.spawn_scoped(scope, || Self::read_here(text, by));
            let read = read.map_err(|error| wrong(error.to_string()))?;
            read.join().unwrap_or_else(|_| Err(wrong("it cannot be read".to_owned())))
        })
    }

    fn read_here(text: &str, by: By) -> Result<Self, Wrong> {
        let program = Program::compile(text).map_err(|errors| {
            let Some(first) = errors.errors.first() else { return Wrong { at: None, reason: errors.to_string() } };
            let number = |at: isize| u32::try_from(at).ok().filter(|at| *at > 0);
            Wrong { at: number(first.pos.0).zip(number(first.pos.1)), reason: first.msg.clone() }
        })?;
        let heat = program.references().has_function(READS);
        let mut expression = program.expression().clone();
        let ours = |name: &str| name == READS || SECONDS.iter().chain(&BYTES).any(|(own, _)| *own == name);
        let mut used = grammar::look(&mut expression, &ours)
            .map_err(|(reason, word)| Wrong { at: word.and_then(|word| position(text, &word)), reason })?;
        if let Some((name, reason)) = used.names.iter().find_map(|name| Some((name, by.refuse(name)?))) {
            return Err(Wrong { at: position(text, name), reason });
        }
        for asked in &mut used.asked {
            asked.at = quoted(text, &asked.silo);
        }
        let any_of = |some: &[&str]| used.names.iter().any(|name| some.contains(&name.as_str()));
        let heat = any_of(&["unread"]) || heat;
        let (labels, held) = (any_of(&[LABELS]), any_of(&HELD));
        let needs = Needs { attributes: any_of(&ATTRIBUTES), heat, labels, held };
        let of_silos = grammar::of_silos(&mut expression, &used.asked, &|function| function == READS).into();
        let condition = Self { expression: Arc::new(expression), asked: used.asked.into(), of_silos, needs, by };
        condition.try_samples()?;
        Ok(condition)
    }

    /// It answers yes or no of a small object and a large one, on silos that are half full.
    fn try_samples(&self) -> Result<(), Wrong> {
        let silos = ["silo".to_owned()];
        let seen = SiloSeen { full: Some(0.5), up: true, ..SiloSeen::default() };
        let seen: Seen = self.asked.iter().map(|asked| (asked.silo.clone(), seen.clone())).collect();
        let small = Subject { bucket: "bucket", key: "key", storage_class: "STANDARD", ..Subject::default() };
        let small = Subject { silos: &silos, copies: 1, seen: Some(&seen), ..small };
        let large = Subject { size: 1 << 50, now: i64::MAX, ..small.clone() };
        for sample in [small, large] {
            self.holds(&sample).map_err(|reason| Wrong { at: None, reason })?;
        }
        Ok(())
    }

    /// Refuses a silo that is asked for and that there is not, with its place.
    pub fn refuse_unknown(&self, known: impl Fn(&str) -> bool) -> Result<(), Wrong> {
        let unknown = self.asked.iter().find(|asked| !known(&asked.silo));
        unknown.map_or(Ok(()), |Asked { silo, at, .. }| {
            Err(Wrong { at: *at, reason: format!("there is no silo `{silo}`") })
        })
    }

    /// Whether it asks for silos.
    pub fn asks_silos(&self) -> bool {
        !self.asked.is_empty()
    }

    /// What it says of silos as they are: as long as that stays, so does what it says of an object, as far as that is a matter of
    /// silos.
    pub(crate) fn told(&self, seen: &Seen) -> Vec<String> {
        let mut scope = FUNCTIONS.new_inner_scope();
        self.bind(&mut scope, Some(seen));
        self.of_silos.iter().map(|part| format!("{:?}", scope.resolve(part))).collect()
    }

    fn bind(&self, scope: &mut Context<'_, '_>, seen: Option<&Seen>) {
        for asked in self.asked.iter() {
            if let Some(value) = asked.of(seen) {
                scope.add_variable_from_value(asked.variable.as_str(), value);
            }
        }
    }

    /// What it looks at beside what a list shows.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// Whether it holds for an object; or why that cannot be said.
    pub fn holds(&self, subject: &Subject<'_>) -> Result<bool, String> {
        let mut scope = FUNCTIONS.new_inner_scope();
        let since = |moment: UnixMs| subject.now.saturating_sub(moment).max(0) / 1000;
        let last_read = subject.heat.map_or(subject.modified, |heat| heat.last_read().max(subject.modified));
        scope.add_variable_from_value("bucket", subject.bucket);
        scope.add_variable_from_value("key", subject.key);
        scope.add_variable_from_value("size", i64::try_from(subject.size).unwrap_or(i64::MAX));
        scope.add_variable_from_value("age", since(subject.modified));
        scope.add_variable_from_value("unread", since(last_read));
        scope.add_variable_from_value("storage_class", subject.storage_class);
        if let Some(heat) = subject.heat {
            scope.add_variable_from_value(HEAT, heat.to_bytes().to_vec());
            scope.add_variable_from_value(NOW, subject.now);
        }
        if self.needs.attributes {
            scope.add_variable_from_value("content_type", subject.content_type);
            scope.add_variable_from_value("tags", map(subject.tags));
            scope.add_variable_from_value("metadata", map(subject.metadata));
        }
        if self.needs.labels {
            scope.add_variable_from_value(LABELS, map(subject.labels));
        }
        if self.by == By::Search {
            scope.add_variable_from_value("etag", subject.etag);
            scope.add_variable_from_value("silos", subject.silos.to_vec());
            scope.add_variable_from_value("copies", i64::from(subject.copies));
        }
        self.bind(&mut scope, subject.seen);
        match scope.resolve(&self.expression) {
            Ok(Value::Bool(holds)) => Ok(holds),
            // What an object lacks is not what is asked for.
            Err(ExecutionError::NoSuchKey(_)) => Ok(false),
            Ok(other) => Err(format!("it says {:?} and not yes or no", other.type_of())),
            Err(error @ ExecutionError::UndeclaredReference(_)) => {
                let lacks = self.asked.iter().find_map(|asked| asked.lacks(subject.seen));
                Err(lacks.unwrap_or_else(|| error.to_string()))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

fn map(pairs: &[(String, String)]) -> std::collections::HashMap<String, String> {
    pairs.iter().cloned().collect()
}

/// Line and column of a name's first use as a word.
fn position(text: &str, name: &str) -> Option<(u32, u32)> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let apart = |at: &usize| !text[..*at].ends_with(word) && !text[at + name.len()..].starts_with(word);
    text.match_indices(name).map(|(at, _)| at).find(apart).and_then(|at| place_of(text, at))
}

/// The same of text in quotes.
fn quoted(text: &str, name: &str) -> Option<(u32, u32)> {
    let at = ['"', '\''].into_iter().find_map(|quote| text.find(&format!("{quote}{name}{quote}")))?;
    place_of(text, at)
}

fn place_of(text: &str, at: usize) -> Option<(u32, u32)> {
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    u32::try_from(line).ok().zip(u32::try_from(column).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn subject() -> Subject<'static> {
        Subject {
            bucket: "logs",
            key: "2024/a.parquet",
            size: 3 << 20,
            modified: 10 * DAY,
            now: 50 * DAY,
            storage_class: "STANDARD",
            ..Subject::default()
        }
    }

    fn holds(text: &str) -> Result<bool, String> {
        Condition::parse(text).map_err(|wrong| wrong.to_string())?.holds(&subject())
    }

    #[test]
    fn conditions_look_at_what_lists_know() {
        for (text, expected) in [
            ("size > MiB(2)", true),
            ("size > GiB(2)", false),
            ("age > days(39) && age < days(41)", true),
            ("age > 30 * 24 * 3600", true),
            ("key.endsWith('.parquet') && bucket == 'logs'", true),
            ("key.matches('^20[0-9]{2}/')", true),
            ("storage_class in ['STANDARD', 'GLACIER']", true),
            ("age > weeks(8) || size < KiB(1)", false),
        ] {
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn conditions_look_at_how_an_object_is_read() {
        let read = Heat::of(crate::heat::Reads::one(1, 1, 45 * DAY));
        let warm = Subject { heat: Some(read.after(crate::heat::Reads::one(1, 1, 46 * DAY))), ..subject() };
        for (text, cold, hot) in [
            ("unread > days(30)", true, false),
            ("unread == age", true, false),
            ("unread > days(3) && unread < days(5)", false, true),
            ("reads(days(7)) >= 2", false, true),
            ("reads(days(3)) == 0", true, true),
            ("reads(weeks(30)) == 0", true, false),
            ("reads(-1) == 0 && reads(-9223372036854775807) == 0", true, true),
            ("reads(9223372036854775807) < 3", true, true),
        ] {
            let condition = Condition::parse(text).unwrap();
            assert!(condition.needs().heat, "{text}");
            assert_eq!((condition.holds(&subject()), condition.holds(&warm)), (Ok(cold), Ok(hot)), "{text}");
        }
        assert!(!Condition::parse("age > days(1)").unwrap().needs().heat);
        assert!(Condition::parse("reads > 3").is_err() && Condition::parse("reads('x') > 3").is_err());
    }

    #[test]
    fn what_an_object_lacks_does_not_hold() {
        let tagged = Subject { tags: &[], ..subject() };
        let condition = Condition::parse("tags['class'] == 'cold' || metadata.owner == 'me'").unwrap();
        assert!(condition.needs().attributes);
        assert_eq!(condition.holds(&tagged), Ok(false));
        let tags = vec![("class".to_owned(), "cold".to_owned())];
        assert_eq!(condition.holds(&Subject { tags: &tags, ..subject() }), Ok(true));
        assert_eq!(Condition::parse("'class' in tags").unwrap().holds(&Subject { tags: &tags, ..subject() }), Ok(true));
    }

    #[test]
    fn conditions_look_at_labels() {
        let labels = [("team".to_owned(), "x".to_owned())];
        let labelled = Subject { labels: &labels, ..subject() };
        for (text, without, with) in [
            ("labels['team'] == 'x'", false, true),
            ("labels.team != 'x'", false, false),
            ("!('team' in labels)", true, false),
        ] {
            let condition = Condition::parse(text).unwrap();
            assert_eq!(condition.needs(), Needs { labels: true, ..Needs::default() }, "{text}");
            assert_eq!((condition.holds(&subject()), condition.holds(&labelled)), (Ok(without), Ok(with)), "{text}");
        }
    }

    fn seen(full: Option<f64>) -> Seen {
        let labels = [("site".to_owned(), "home".to_owned())].into();
        [("nas".to_owned(), SiloSeen { full, up: true, cordoned: false, labels })].into()
    }

    #[test]
    fn conditions_look_at_silos() {
        let full = seen(Some(0.95));
        for (text, expected) in [
            ("silo('nas').full > 0.9", Ok(true)),
            ("silo(\"nas\").full > 0.9 && size < 5", Ok(false)),
            ("silo('nas').up && !silo('nas').cordoned", Ok(true)),
            ("silo('nas').labels.site == 'home' && 'site' in silo('nas').labels", Ok(true)),
            ("silo('nas').labels['rack'] == '3'", Ok(false)),
            ("silo('nas').full > 1", Ok(false)),
            ("silo('gone').full > 0.9", Err("there is no silo `gone`".to_owned())),
            ("silo('gone').up || bucket == 'logs'", Ok(true)),
        ] {
            let condition = Condition::parse(text).unwrap();
            assert!(condition.asks_silos() && condition.needs() == Needs::default(), "{text}");
            assert_eq!(condition.holds(&Subject { seen: Some(&full), ..subject() }), expected, "{text}");
        }
        let cannot = seen(None);
        let told =
            Condition::parse("silo('nas').full < 0.1").unwrap().holds(&Subject { seen: Some(&cannot), ..subject() });
        assert_eq!(told, Err("silo `nas` cannot tell how large it is".to_owned()));
        assert_eq!(Condition::of_search("silo('nas').up && 'nas' in silos").map(|found| found.asks_silos()), Ok(true));
    }

    /// Otherwise all objects would be compared whenever a byte was written.
    #[test]
    fn only_what_a_condition_makes_of_silos_counts_as_a_change() {
        let told = |text: &str, full: f64| Condition::parse(text).unwrap().told(&seen(Some(full)));
        for text in [
            "silo('nas').full > 0.9",
            "age > days(3) && silo('nas').full > 0.9",
            "(silo('nas').full > 0.9 || !silo('nas').up) && reads(days(1)) == 0",
        ] {
            assert_eq!(told(text, 0.1), told(text, 0.8), "{text}");
            assert_ne!(told(text, 0.8), told(text, 0.91), "{text}");
        }
        let ratio = "double(size) > silo('nas').full * 1000.0";
        assert_ne!(told(ratio, 0.1), told(ratio, 0.2));
        assert!(told("size > 3", 0.1).is_empty());
    }

    #[test]
    fn a_silo_is_asked_for_what_there_is() {
        for (text, wrong) in [
            (
                "silo('nas').ful > 0.9",
                "a silo has no `ful`: it is asked for one of full, up, cordoned, labels (line 1, column 13)",
            ),
            (
                "silo(key).full > 0.9",
                "a silo is asked by its name for one of full, up, cordoned, labels: `silo(\"NAME\").full` (line 1, column 1)",
            ),
            ("silo('nas') == silo('nas')", "a silo is asked by its name"),
            ("has(silo('nas').full)", "a silo is asked by its name"),
            ("silo('nas').full", "it says Float and not yes or no"),
            ("silo('nas').up > 0.9", "no matching overload"),
        ] {
            let told = Condition::parse(text).unwrap_err().to_string();
            assert!(told.contains(wrong), "{text}: {told}");
        }
        let condition = Condition::parse("size > 1 &&\n silo('full').up && silo('nsa').full > 0.9").unwrap();
        let unknown = condition.refuse_unknown(|name| name == "full").unwrap_err();
        assert_eq!(unknown.to_string(), "there is no silo `nsa` (line 2, column 26)");
        assert_eq!(condition.refuse_unknown(|_| true), Ok(()));
    }

    /// `&&` needs only one side to say no, and `!` then makes a yes of it.
    #[test]
    fn whoever_means_what_lacks_a_tag_says_so() {
        let holds = |text: &str, size| Condition::parse(text).unwrap().holds(&Subject { size, ..subject() });
        assert_eq!(holds("tags.class != 'public'", 1), Ok(false));
        assert_eq!(holds("!('class' in tags) || tags.class != 'public'", 1), Ok(true));
        assert_eq!(holds("!(tags.class == 'raw' && size > 5)", 3), Ok(true));
        assert_eq!(holds("!(tags.class == 'raw' && size > 5)", 10), Ok(false));
    }

    #[test]
    fn searches_look_at_where_an_object_is_and_objectives_may_not() {
        let silos = ["cold".to_owned(), "hot".to_owned()];
        let held = Subject { silos: &silos, copies: 2, etag: "abc-2", ..subject() };
        for (text, expected) in [
            ("'cold' in silos && !('far' in silos)", true),
            ("silos == ['hot']", false),
            ("copies < 2", false),
            ("etag.endsWith('-2') && size > 1", true),
        ] {
            let condition = Condition::of_search(text).unwrap();
            assert_eq!(condition.holds(&held), Ok(expected), "{text}");
            assert_eq!(condition.needs().held, !text.contains("etag"), "{text}");
            let wrong = Condition::parse(text).unwrap_err();
            assert!(wrong.to_string().starts_with("no objective may look at `"), "{wrong}");
            assert!(wrong.at.is_some(), "{wrong}");
        }
        let unknown = Condition::of_search("silo == 'hot'").unwrap_err().to_string();
        assert!(unknown.contains("metadata, labels, silos, copies, etag (line 1, column 1)"), "{unknown}");
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        for (text, told) in [
            ("size >", "(line 1, column 7)"),
            (
                "size > MiB(2) &&\n  sise < 3",
                "there is no `sise`: a condition may look at bucket, key, size, age, unread, storage_class, content_type, tags, metadata, labels (line 2, column 3)",
            ),
            ("age > days(30) && size > Mib(1)", "there is no function `Mib` (line 1, column 26)"),
            ("age < days(1) || dayz(3) > 1", "there is no function `dayz` (line 1, column 18)"),
            ("[1, 2].all(key, key > 0)", "no loops"),
            ("size + 1", "it says Int and not yes or no"),
            ("size > 'x'", "no matching overload"),
        ] {
            let wrong = Condition::parse(text).unwrap_err().to_string();
            assert!(wrong.contains(told), "{text}: {wrong}");
        }
        let long = format!("key == '{}'", "x".repeat(MAX_CONDITION));
        assert!(Condition::parse(&long).unwrap_err().reason.contains("at most"));
        // Each of them would overflow a request's stack, one of them only for an object that is old.
        let chain = format!("size{} > 0", "-1".repeat(1900));
        let nested = format!("{}true{}", "(".repeat(1900), ")".repeat(1900));
        for deep in [chain.clone(), format!("age < days(1) || {chain}"), nested] {
            assert!(Condition::parse(&deep).is_err(), "{}", &deep[..40]);
        }
        let many: Vec<String> = (0..150).map(|number| format!("key == '{number}'")).collect();
        assert!(Condition::parse(&many.join(" || ")).is_ok());
    }
}
