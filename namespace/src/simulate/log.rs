//! Logs of servers: S3's server access log, which is ours as well, and `CloudFront`'s.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html>,
//! <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html>

use std::io::BufRead;

use super::trace::{Lines, Sink, TraceError, day_of};
use super::{Event, What};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// S3's. What is no request for an object, or failed, is left out.
pub(super) fn server(first: &str, lines: &mut Lines<impl BufRead>, sink: &mut Sink<'_>) -> Result<(), TraceError> {
    request(first, sink).ok_or_else(|| lines.wrong("no line of an access log"))?;
    while let Some(line) = lines.next()? {
        if request(line, sink).is_none() {
            return Err(lines.wrong("no line of an access log"));
        }
    }
    Ok(())
}

/// Fields are apart by spaces, but for those in quotes or brackets.
fn split(line: &str) -> Vec<&str> {
    let (mut fields, mut rest) = (Vec::new(), line.trim_start());
    while let Some(first) = rest.chars().next() {
        let close = match first {
            '"' => '"',
            '[' => ']',
            _ => ' ',
        };
        let inside = if close == ' ' { rest } else { &rest[1..] };
        let end = inside.find(close).unwrap_or(inside.len());
        fields.push(&inside[..end]);
        rest = inside.get(end + 1..).unwrap_or_default().trim_start();
    }
    fields
}

fn request(line: &str, sink: &mut Sink<'_>) -> Option<()> {
    let fields = split(line);
    let [_, bucket, time, _, _, _, operation, key, _, status, _, sent, size, ..] = fields[..] else { return None };
    let day = clf_day(time)?;
    if !status.starts_with('2') || key == "-" {
        return Some(());
    }
    let number = |text: &str| text.parse::<u64>().ok();
    let what = match operation {
        "REST.GET.OBJECT" => What::Read { count: 1, bytes: Some(number(sent).unwrap_or(0)), size: number(size) },
        "REST.PUT.OBJECT" | "REST.POST.UPLOAD" | "REST.COPY.OBJECT" => What::Put(number(size).unwrap_or(0)),
        "REST.DELETE.OBJECT" => What::Delete,
        _ => return Some(()),
    };
    sink(&Event { day, bucket, key, what });
    Some(())
}

/// `06/Feb/2019:00:00:38 +0000`
fn clf_day(time: &str) -> Option<i32> {
    let (day, rest) = time.split_once('/')?;
    let (month, rest) = rest.split_once('/')?;
    let (year, _) = rest.split_once(':')?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    day_of(&format!("{year}-{month:02}-{day}"))
}

/// `CloudFront`'s, whose second line names the fields. Bytes are those of answers, heads included.
pub(super) fn edge(lines: &mut Lines<impl BufRead>, sink: &mut Sink<'_>) -> Result<(), TraceError> {
    let Some(head) = lines.next()?.and_then(|line| line.strip_prefix("#Fields: ")).map(str::to_owned) else {
        return Err(lines.wrong("`#Fields:` is to follow"));
    };
    let at = |name: &str| head.split(' ').position(|field| field == name);
    let fields = ["date", "sc-bytes", "cs-method", "cs(Host)", "cs-uri-stem", "sc-status"].map(at);
    let [Some(date), Some(bytes), Some(method), Some(host), Some(path), Some(status)] = fields else {
        return Err(lines.wrong("a field is missing that tells date, bytes, method, host, path or status"));
    };
    while let Some(line) = lines.next()? {
        if line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = line.split('\t').collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        let parsed = day_of(field(date)).zip(field(bytes).parse::<u64>().ok());
        let (read, key) =
            (field(method) == "GET" && field(status).starts_with('2'), field(path).trim_start_matches('/'));
        let (bucket, key) = (field(host).to_owned(), key.to_owned());
        let (day, bytes) = parsed.ok_or_else(|| lines.wrong("a date and bytes"))?;
        if read {
            let what = What::Read { count: 1, bytes: Some(bytes), size: None };
            sink(&Event { day, bucket: &bucket, key: &key, what });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::trace::{Known, read};
    use super::*;

    fn events(text: &str) -> Vec<(i32, String, What)> {
        let mut all = Vec::new();
        let mut sink = |event: &Event<'_>| all.push((event.day, format!("{}/{}", event.bucket, event.key), event.what));
        read(text.as_bytes(), &Known::default(), &mut sink).unwrap();
        all
    }

    #[test]
    fn server_logs_tell_reads_writes_and_deletes() {
        let line = |operation: &str, status: &str| {
            format!(
                "79a5 photos [06/Feb/2019:00:00:38 +0000] 192.0.2.3 79a5 3E57 {operation} a/b.jpg \"GET /photos/a/b.jpg?x=1 HTTP/1.1\" \
                 {status} - 113 1000 7 - \"-\" \"S3Console/0.4\" -\n"
            )
        };
        let log = [
            line("REST.PUT.OBJECT", "200"),
            line("REST.GET.OBJECT", "206"),
            line("REST.GET.OBJECT", "404"),
            line("REST.HEAD.OBJECT", "200"),
            line("REST.DELETE.OBJECT", "204"),
        ];
        let day = day_of("2019-02-06").unwrap();
        let read = What::Read { count: 1, bytes: Some(113), size: Some(1000) };
        let expected = [What::Put(1000), read, What::Delete].map(|what| (day, "photos/a/b.jpg".to_owned(), what));
        assert_eq!(events(&log.concat()), expected);
    }

    #[test]
    fn edge_logs_tell_reads() {
        let log = "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status\n\
                   2019-12-04\t21:02:31\tLAX1\t392\t192.0.2.1\tGET\td1.example\t/a/index.html\t200\n\
                   2019-12-04\t21:02:31\tLAX1\t392\t192.0.2.1\tPOST\td1.example\t/a/index.html\t200\n";
        let read = What::Read { count: 1, bytes: Some(392), size: None };
        assert_eq!(events(log), [(day_of("2019-12-04").unwrap(), "d1.example/a/index.html".to_owned(), read)]);
    }
}
