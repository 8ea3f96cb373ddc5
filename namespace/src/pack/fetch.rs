//! Reading many records with few reads.

use std::ops::Range;

use bytes::Bytes;
use holdall_silos::{BlobName, SiloError, collect};

use crate::extent::Location;
use crate::inventory::OpenSilo;
use crate::limits::{SPAN, SPAN_GAP};

/// A record to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub pack: BlobName,
    pub offset: u64,
    pub length: u64,
}

impl Wanted {
    /// None of what is in no pack.
    pub(crate) fn at(location: &Location) -> Option<Self> {
        match *location {
            Location::Pack { pack, offset, length } => Some(Self { pack, offset, length }),
            Location::Blob(_) | Location::InPlace { .. } => None,
        }
    }
}

/// Records that are read at once: which of those wanted, and from where to where.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    pack: BlobName,
    range: Range<u64>,
    records: Vec<usize>,
}

/// Reads records, in the order asked; `back` goes past caches. What lies close together is read together, and each for
/// itself where that fails: a bad spot takes no neighbours with it.
pub(crate) async fn fetch(open: &OpenSilo, wanted: &[Wanted], back: bool) -> Vec<Result<Bytes, SiloError>> {
    let mut fetched = vec![Err(SiloError::Missing); wanted.len()];
    for span in spans(wanted) {
        let read = read_span(open, &span.pack, span.range.clone(), back).await;
        for at in &span.records {
            fetched[*at] = match &read {
                Ok(bytes) => Ok(span.cut(bytes, &wanted[*at], wanted)),
                Err(_) if span.records.len() > 1 => {
                    let Wanted { pack, offset, length } = wanted[*at];
                    read_span(open, &pack, offset..offset + length, back).await
                }
                Err(error) => Err(error.clone()),
            };
        }
    }
    fetched
}

impl Span {
    /// A record of what was read; a copy where the rest of it is mostly not wanted and would be kept in memory with it.
    fn cut(&self, bytes: &Bytes, record: &Wanted, wanted: &[Wanted]) -> Bytes {
        let begin = (record.offset - self.range.start) as usize;
        let cut = bytes.slice(begin..begin + record.length as usize);
        let used: u64 = self.records.iter().map(|at| wanted[*at].length).sum();
        if used * 2 < bytes.len() as u64 { Bytes::copy_from_slice(&cut) } else { cut }
    }
}

/// Reads a part of a pack into memory.
pub(crate) async fn read_span(
    open: &OpenSilo,
    pack: &BlobName,
    range: Range<u64>,
    back: bool,
) -> Result<Bytes, SiloError> {
    let (end, length) = (range.end, range.end - range.start);
    let pieces =
        if back { open.silo.read_back(pack, end, range).await } else { open.silo.read(pack, end, range).await };
    let bytes = open.note(collect(open.note(pieces)?).await)?;
    open.note_read(length);
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(SiloError::mismatch("the pack ends early")) }
}

/// In how many reads [`fetch`] reads records, and bytes of them, what lies between included.
pub(crate) fn reads_of(wanted: &[Wanted]) -> (u64, u64) {
    let spans = spans(wanted);
    (spans.len() as u64, spans.iter().map(|span| span.range.end - span.range.start).sum())
}

fn spans(wanted: &[Wanted]) -> Vec<Span> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_unstable_by_key(|at| wanted[*at]);
    let mut spans: Vec<Span> = Vec::new();
    for at in order {
        let Wanted { pack, offset, length } = wanted[at];
        let end = offset + length;
        if let Some(span) = spans.last_mut()
            && span.pack == pack
            && offset <= span.range.end + SPAN_GAP
            && end - span.range.start <= SPAN
        {
            span.range.end = span.range.end.max(end);
            span.records.push(at);
            continue;
        }
        spans.push(Span { pack, range: offset..end, records: vec![at] });
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_close_together_is_one_read() {
        let of = |pack, offset| Wanted { pack: BlobName::pack(1, pack), offset, length: 100 };
        let far = 200 + SPAN_GAP;
        let got = spans(&[of(2, 0), of(1, 100), of(1, far + 1), of(1, 0)]);
        let span = |pack, range, records| Span { pack: BlobName::pack(1, pack), range, records };
        let want = [span(1, 0..200, vec![3, 1]), span(1, far + 1..far + 101, vec![2]), span(2, 0..100, vec![0])];
        assert_eq!(got, want);
        let wanted = [of(2, 0), of(1, 100), of(1, far + 1), of(1, 0)];
        assert_eq!(reads_of(&wanted), (3, 400));
    }

    #[test]
    fn a_read_is_never_longer_than_a_span() {
        let all: Vec<Wanted> =
            (0..100).map(|at| Wanted { pack: BlobName::pack(1, 1), offset: at << 16, length: 1 << 16 }).collect();
        let spans = spans(&all);
        assert!(spans.iter().all(|span| span.range.end - span.range.start <= SPAN));
        assert_eq!(spans.iter().map(|span| span.records.len()).sum::<usize>(), 100);
    }
}
