//! Traces: logs and tables, a line at a time. What a file is, its first line says.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;

use super::{Event, What, log};

/// A line that is none of its kind.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It cannot be read.
    #[error("line {line} cannot be read")]
    Read {
        /// The first is 1.
        line: u64,
        /// Why.
        source: std::io::Error,
    },
    /// A first line that no kind begins with.
    #[error("a trace of no known kind: it begins with `{0}`")]
    Unknown(String),
    /// A line that is not as its kind's are.
    #[error("line {line}: {what}")]
    Line {
        /// The first is 1.
        line: u64,
        /// What is missing.
        what: &'static str,
    },
}

/// What a trace does not say itself.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Objects' bytes, by name.
    pub sizes: HashMap<String, u64>,
    /// Objects' names, by what the trace calls them.
    pub names: HashMap<String, String>,
    /// Objects of daily sums are taken apart into so many.
    pub shards: u32,
    /// Seconds that count as a day, where times are in seconds; 86,400 if 0.
    pub day: u32,
}

/// Whoever takes events.
pub type Sink<'a> = dyn FnMut(&Event<'_>) + 'a;

/// Reads a trace, and hands its events over in the order of its days.
pub fn read(input: impl BufRead, known: &Known, sink: &mut Sink<'_>) -> Result<(), TraceError> {
    let mut lines = Lines { input, line: 0, text: String::new() };
    let Some(first) = lines.next()? else { return Ok(()) };
    let first = first.to_owned();
    match first.as_str() {
        "t_unix,object_id,op,bytes" => touches(&mut lines, known, sink),
        "date,object,bytes_read" => daily(&mut lines, known, sink),
        "t_s,input_path,bytes_read,bytes_written_elsewhere" => jobs(&mut lines, known, sink),
        "month,object,impressions,source" => monthly(&mut lines, known, sink),
        _ if first.starts_with("#Version: ") => log::edge(&mut lines, sink),
        _ if first.contains(" REST.") => log::server(&first, &mut lines, sink),
        _ => Err(TraceError::Unknown(first.chars().take(60).collect())),
    }
}

pub(super) struct Lines<R> {
    input: R,
    line: u64,
    text: String,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn next(&mut self) -> Result<Option<&str>, TraceError> {
        self.text.clear();
        self.line += 1;
        let read = self.input.read_line(&mut self.text);
        let read = read.map_err(|source| TraceError::Read { line: self.line, source })?;
        Ok((read > 0).then(|| self.text.trim_end_matches(['\n', '\r'])))
    }

    pub(super) fn wrong(&self, what: &'static str) -> TraceError {
        TraceError::Line { line: self.line, what }
    }
}

/// Fields of a line of CSV; within quotes, commas count as text.
fn fields(line: &str) -> Vec<&str> {
    let mut quoted = false;
    let split = line.split(move |letter| {
        quoted ^= letter == '"';
        letter == ',' && !quoted
    });
    split.map(|field| field.trim_matches('"')).collect()
}

/// Days since 1970 of `2024-02-29`, or of the first of `2024-02`.
pub fn day_of(text: &str) -> Option<i32> {
    let mut parts = text.split('-').map(str::parse::<i32>);
    let (year, month) = (parts.next()?.ok()?, parts.next()?.ok()?);
    let day = parts.next().map_or(Some(1), Result::ok)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1970..10_000).contains(&year) {
        return None;
    }
    // Years begin in March, so that a leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    Some(365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468)
}

/// The day that a time in seconds is on; none in the year 10,000 and later.
fn day_in(time: &str, seconds: i64) -> Option<i32> {
    let day = time.parse::<i64>().ok()?.div_euclid(seconds);
    i32::try_from(day).ok().filter(|day| (0..3_000_000).contains(day))
}

/// Puts, rewrites and deletes; whoever rewrites has read.
fn touches(lines: &mut Lines<impl BufRead>, known: &Known, sink: &mut Sink<'_>) -> Result<(), TraceError> {
    let seconds = i64::from(if known.day == 0 { 86_400 } else { known.day });
    while let Some(line) = lines.next()? {
        let parsed = (|| {
            let [time, object, op, bytes] = fields(line)[..] else { return None };
            Some((day_in(time, seconds)?, object.to_owned(), op.to_owned(), bytes.parse().ok()?))
        })();
        let (day, object, op, size) = parsed.ok_or_else(|| lines.wrong("a time, an object, an operation, bytes"))?;
        let key = known.names.get(&object).unwrap_or(&object);
        let mut tell = |what| sink(&Event { day, bucket: "", key, what });
        match op.as_str() {
            "put" => tell(What::Put(size)),
            "delete" => tell(What::Delete),
            "rewrite" => {
                tell(What::Read { count: 1, bytes: None, size: None });
                tell(What::Put(size));
            }
            "read" => tell(What::Read { count: 1, bytes: Some(size), size: None }),
            _ => return Err(lines.wrong("the operation is put, read, rewrite or delete")),
        }
    }
    Ok(())
}

/// Bytes read a day, which count as one request. An object of unknown size has as many as were read of it on its busiest day.
fn daily(lines: &mut Lines<impl BufRead>, known: &Known, sink: &mut Sink<'_>) -> Result<(), TraceError> {
    let mut sizes: HashMap<String, u64> = HashMap::new();
    let mut days: BTreeMap<i32, Vec<(String, u64)>> = BTreeMap::new();
    while let Some(line) = lines.next()? {
        let parsed = (|| {
            let [date, object, bytes] = fields(line)[..] else { return None };
            Some((day_of(date)?, object.to_owned(), bytes.parse::<u64>().ok()?))
        })();
        let (day, object, bytes) = parsed.ok_or_else(|| lines.wrong("a date, an object, bytes"))?;
        let size = sizes.entry(object.clone()).or_default();
        *size = bytes.max(*size);
        days.entry(day).or_default().push((object, bytes));
    }
    sizes.extend(known.sizes.iter().filter(|(_, size)| **size > 0).map(|(name, size)| (name.clone(), *size)));
    for (day, reads) in days {
        for (object, bytes) in reads.into_iter().filter(|(_, bytes)| *bytes > 0) {
            let size = sizes.get(&object).copied().unwrap_or(1).max(1);
            shards(known.shards, day, &object, size, bytes, sink);
        }
    }
    Ok(())
}

/// What was read of an object on a day, as reads of its parts: as many of them whole as it makes, from one on that a hash chooses.
fn shards(count: u32, day: i32, object: &str, size: u64, bytes: u64, sink: &mut Sink<'_>) {
    if count <= 1 {
        let what = What::Read { count: 1, bytes: Some(bytes), size: Some(size) };
        return sink(&Event { day, bucket: "", key: object, what });
    }
    let part = (size / u64::from(count)).max(1);
    let begin = crate::learn::Groups::key(object, &day.to_string()) % u64::from(count);
    for at in 0..u64::from(count) {
        let whole = bytes / part / u64::from(count) * part;
        let rest = bytes - (bytes / part / u64::from(count) * part * u64::from(count));
        let own = whole + rest.saturating_sub(at * part).min(part);
        if own > 0 {
            let key = format!("{object}/{:02}", (begin + at) % u64::from(count));
            let what = What::Read { count: 1, bytes: Some(own), size: Some(part) };
            sink(&Event { day, bucket: "", key: &key, what });
        }
    }
}

/// Jobs, each of which reads a path whole.
fn jobs(lines: &mut Lines<impl BufRead>, known: &Known, sink: &mut Sink<'_>) -> Result<(), TraceError> {
    let seconds = i64::from(if known.day == 0 { 86_400 } else { known.day });
    while let Some(line) = lines.next()? {
        let parsed = (|| {
            let [time, object, bytes, _] = fields(line)[..] else { return None };
            Some((day_in(time, seconds)?, object.to_owned(), bytes.parse().ok()?))
        })();
        let (day, object, bytes) = parsed.ok_or_else(|| lines.wrong("seconds, a path, bytes, bytes"))?;
        let what = What::Read { count: 1, bytes: Some(bytes), size: None };
        sink(&Event { day, bucket: "", key: &object, what });
    }
    Ok(())
}

/// Views a month, spread over its days. What nobody knows the size of has from 64 KiB to 64 MiB, by a hash of its name.
fn monthly(lines: &mut Lines<impl BufRead>, known: &Known, sink: &mut Sink<'_>) -> Result<(), TraceError> {
    let mut months: BTreeMap<i32, Vec<(String, u32)>> = BTreeMap::new();
    while let Some(line) = lines.next()? {
        let parsed = (|| {
            let [month, object, views, _] = fields(line)[..] else { return None };
            Some((day_of(month)?, object.to_owned(), views.parse::<u32>().ok()?))
        })();
        let (day, object, views) = parsed.ok_or_else(|| lines.wrong("a month, an object, views, a source"))?;
        months.entry(day).or_default().push((object, views));
    }
    for (first, reads) in months {
        let reads: Vec<_> =
            reads.iter().map(|(object, views)| (object, *views, crate::learn::Groups::key("", object))).collect();
        for day in 0..28 {
            for (object, views, hash) in &reads {
                let size = known.sizes.get(*object).copied().unwrap_or(1 << (16 + hash % 11));
                let count = share_of(*views, day, (hash >> 32) as u32 % 28);
                if count > 0 {
                    let what = What::Read { count, bytes: Some(size * u64::from(count)), size: Some(size) };
                    sink(&Event { day: first + day as i32, bucket: "", key: object, what });
                }
            }
        }
    }
    Ok(())
}

/// As many of a month's views as a day has, as evenly as whole numbers can; where to begin is another day for each object.
fn share_of(views: u32, day: u32, shift: u32) -> u32 {
    let until = |day: u64| (u64::from(views) * day + u64::from(shift)) / 28;
    (until(u64::from(day) + 1) - until(u64::from(day))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str, known: &Known) -> Vec<(i32, String, What)> {
        let mut all = Vec::new();
        let mut sink = |event: &Event<'_>| all.push((event.day, event.key.to_owned(), event.what));
        read(text.as_bytes(), known, &mut sink).unwrap();
        all
    }

    #[test]
    fn days_are_counted_from_1970() {
        let days = ["1970-01-01", "1970-03-01", "2000-02-29", "2024-02", "2024-13-01", "x"].map(day_of);
        assert_eq!(days, [Some(0), Some(59), Some(11_016), Some(19_754), None, None]);
    }

    #[test]
    fn who_rewrites_has_read() {
        let text = "t_unix,object_id,op,bytes\n86400,7,put,5\n172800,7,rewrite,6\n259200,7,delete,0\n";
        let known = Known { names: HashMap::from([("7".to_owned(), "a/b".to_owned())]), ..Known::default() };
        let read = What::Read { count: 1, bytes: None, size: None };
        let expected = [(1, What::Put(5)), (2, read), (2, What::Put(6)), (3, What::Delete)];
        assert_eq!(events(text, &known), expected.map(|(day, what)| (day, "a/b".to_owned(), what)));
    }

    #[test]
    fn a_month_has_all_its_views_and_quotes_keep_commas() {
        let all = events("month,object,impressions,source\n2013-06,\"a,b\",61,boss\n", &Known::default());
        let count = |what: &What| if let What::Read { count, .. } = what { *count } else { 0 };
        assert_eq!(all.iter().map(|(_, _, what)| count(what)).sum::<u32>(), 61);
        assert!(all.len() == 28 && all.iter().all(|(_, key, _)| key == "a,b"));
    }

    /// 5 of 8 bytes in four parts: two whole ones and half of a third.
    #[test]
    fn parts_are_read_whole() {
        let known = Known { sizes: HashMap::from([("k".to_owned(), 8)]), shards: 4, ..Known::default() };
        let all = events("date,object,bytes_read\n2021-04-20,k,5\n", &known);
        let bytes = |what: &What| if let What::Read { bytes, .. } = what { bytes.unwrap() } else { 0 };
        assert_eq!(all.iter().map(|(_, _, what)| bytes(what)).collect::<Vec<_>>(), [2, 2, 1]);
    }

    #[test]
    fn what_is_no_trace_is_told() {
        let told = |text: &str| read(text.as_bytes(), &Known::default(), &mut |_| {}).unwrap_err().to_string();
        assert_eq!(told("a,b\n"), "a trace of no known kind: it begins with `a,b`");
        assert_eq!(told("t_unix,object_id,op,bytes\n1,2,put\n"), "line 2: a time, an object, an operation, bytes");
        assert_eq!(
            told("t_unix,object_id,op,bytes\n1,2,eat,3\n"),
            "line 2: the operation is put, read, rewrite or delete"
        );
    }
}
