//! Objects as a Parquet file. <https://parquet.apache.org/docs/file-format/>

use std::sync::{Arc, LazyLock};

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;

use crate::clock::UnixMs;
use crate::fault::Fault;
use crate::find::Found;
use crate::heat::DAY;
use crate::limits::{CENSUS_GROUP_BYTES, CENSUS_GROUP_ROWS};
use crate::object::Pairs;

/// What a row has. Columns are never renamed; new ones come last.
const SCHEMA: &str = "
message inventory {
    required binary bucket (STRING);
    required binary key (STRING);
    required int64 size;
    required binary etag (STRING);
    required int64 last_modified (TIMESTAMP(MILLIS,true));
    required binary storage_class (STRING);
    optional binary content_type (STRING);
    required group tags (MAP) {
        repeated group key_value { required binary key (STRING); required binary value (STRING); }
    }
    required group labels (MAP) {
        repeated group key_value { required binary key (STRING); required binary value (STRING); }
    }
    required group silos (LIST) { repeated group list { required binary element (STRING); } }
    required int32 copies;
    optional int64 last_read (TIMESTAMP(MILLIS,true));
    required int64 reads_30d;
}";

static TYPE: LazyLock<TypePtr> =
    LazyLock::new(|| Arc::new(parse_message_type(SCHEMA).expect("the schema is one; a test reads it")));

static PROPERTIES: LazyLock<WriterPropertiesPtr> = LazyLock::new(|| {
    let made_by = format!("holdall {}", env!("CARGO_PKG_VERSION"));
    Arc::new(WriterProperties::builder().set_created_by(made_by).set_compression(Compression::SNAPPY).build())
});

type Group<'a> = SerializedRowGroupWriter<'a, Vec<u8>>;

/// A file that is being made, in memory: groups of rows that are written, and one that grows.
pub(super) struct File {
    writer: SerializedFileWriter<Vec<u8>>,
    rows: Vec<Found>,
    /// About so much text is in them.
    text: usize,
    now: UnixMs,
}

impl File {
    /// One without rows; reads are counted up to now.
    pub(super) fn begin(now: UnixMs) -> Result<Self, Fault> {
        let writer = SerializedFileWriter::new(Vec::new(), Arc::clone(&TYPE), Arc::clone(&PROPERTIES));
        Ok(Self { writer: writer.map_err(broken)?, rows: Vec::new(), text: 0, now })
    }

    /// Adds an object.
    pub(super) fn add(&mut self, found: Found) -> Result<(), Fault> {
        self.text += text_of(&found);
        // No column has it, and it may be long.
        self.rows.push(Found { metadata: Vec::new(), ..found });
        if self.rows.len() >= CENSUS_GROUP_ROWS || self.text >= CENSUS_GROUP_BYTES {
            self.end_group()?;
        }
        Ok(())
    }

    /// About so many bytes: what is written, and what is in the group that grows.
    pub(super) fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.text
    }

    /// The whole file.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, Fault> {
        self.end_group()?;
        self.writer.into_inner().map_err(broken)
    }

    fn end_group(&mut self) -> Result<(), Fault> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group().map_err(broken)?;
        write(&mut group, &self.rows, self.now).map_err(broken)?;
        group.close().map_err(broken)?;
        self.rows.clear();
        self.text = 0;
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` calls it")]
fn broken(error: ParquetError) -> Fault {
    Fault::Unavailable(format!("the inventory was not written: {error}"))
}

fn text_of(found: &Found) -> usize {
    let pairs = |pairs: &Pairs| pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let name = found.bucket.len() + found.key.len() + found.etag.len();
    let kind = found.storage_class.len() + found.content_type.as_ref().map_or(0, String::len);
    let silos = found.silos.iter().map(String::len).sum::<usize>();
    name + kind + silos + pairs(&found.tags) + pairs(&found.labels) + 64
}

/// All columns, in the order of the schema.
fn write(group: &mut Group<'_>, rows: &[Found], now: UnixMs) -> Result<(), ParquetError> {
    texts(group, rows, |found| &found.bucket)?;
    texts(group, rows, |found| &found.key)?;
    plain::<Int64Type>(group, rows, |found| found.size.try_into().unwrap_or(i64::MAX))?;
    texts(group, rows, |found| &found.etag)?;
    plain::<Int64Type>(group, rows, |found| found.modified)?;
    texts(group, rows, |found| &found.storage_class)?;
    optional::<ByteArrayType>(group, rows, |found| found.content_type.as_deref().map(ByteArray::from))?;
    let maps: [fn(&Found) -> &Pairs; 2] = [|found| &found.tags, |found| &found.labels];
    for pairs in maps {
        lists(group, rows, |found| pairs(found).iter().map(|(name, _)| name.as_str()).collect())?;
        lists(group, rows, |found| pairs(found).iter().map(|(_, value)| value.as_str()).collect())?;
    }
    lists(group, rows, |found| found.silos.iter().map(String::as_str).collect())?;
    plain::<Int32Type>(group, rows, |found| found.copies.try_into().unwrap_or(i32::MAX))?;
    optional::<Int64Type>(group, rows, |found| found.heat.map(|heat| heat.last_read()))?;
    let reads = |found: &Found| found.heat.map_or(0, |heat| heat.reads(30 * DAY, now));
    plain::<Int64Type>(group, rows, |found| reads(found).try_into().unwrap_or(i64::MAX))
}

/// The next column: its values, and of each row or item whether there is one and whether it goes on with the row before.
fn column<T: DataType>(
    group: &mut Group<'_>,
    values: &[T::T],
    there: Option<&[i16]>,
    goes_on: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let column = group.next_column()?;
    let mut column = column.ok_or_else(|| ParquetError::General("the schema has fewer columns".to_owned()))?;
    column.typed::<T>().write_batch(values, there, goes_on)?;
    column.close()
}

fn plain<T: DataType>(group: &mut Group<'_>, rows: &[Found], of: impl Fn(&Found) -> T::T) -> Result<(), ParquetError> {
    column::<T>(group, &rows.iter().map(of).collect::<Vec<_>>(), None, None)
}

fn texts(group: &mut Group<'_>, rows: &[Found], of: impl Fn(&Found) -> &String) -> Result<(), ParquetError> {
    plain::<ByteArrayType>(group, rows, |found| ByteArray::from(of(found).as_str()))
}

fn optional<T: DataType>(
    group: &mut Group<'_>,
    rows: &[Found],
    of: impl Fn(&Found) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let values: Vec<Option<T::T>> = rows.iter().map(of).collect();
    let there: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    column::<T>(group, &values.into_iter().flatten().collect::<Vec<_>>(), Some(&there), None)
}

/// A list in each row; an empty one is told by an item that is not there.
fn lists<'a>(
    group: &mut Group<'_>,
    rows: &'a [Found],
    of: impl Fn(&'a Found) -> Vec<&'a str>,
) -> Result<(), ParquetError> {
    let (mut values, mut there, mut goes_on) = (Vec::new(), Vec::new(), Vec::new());
    for found in rows {
        let items = of(found);
        there.extend(std::iter::repeat_n(i16::from(!items.is_empty()), items.len().max(1)));
        goes_on.extend((0..items.len().max(1)).map(|at| i16::from(at > 0)));
        values.extend(items.into_iter().map(ByteArray::from));
    }
    column::<ByteArrayType>(group, &values, Some(&there), Some(&goes_on))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heat::{Heat, Reads};
    use bytes::Bytes;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, RowAccessor};

    fn found(number: usize) -> Found {
        let pair = |at: usize| (format!("n{at}"), format!("v{at}"));
        Found {
            bucket: "photos".to_owned(),
            key: format!("key/{number}/é"),
            size: number as u64,
            etag: "abc-2".to_owned(),
            modified: 1_700_000_000_123,
            storage_class: "STANDARD".to_owned(),
            content_type: number.is_multiple_of(2).then(|| "text/plain".to_owned()),
            tags: (0..number % 3).map(pair).collect(),
            metadata: Vec::new(),
            labels: (0..number % 4).map(pair).collect(),
            silos: (0..number % 3).map(|at| format!("silo{at}")).collect(),
            copies: 2,
            heat: number.is_multiple_of(5).then(|| Heat::of(Reads::one(1, 1, 1_700_000_000_000))),
        }
    }

    /// Read back by the reader of the same crate; what others read is compared by `conformance/run --only inventory`.
    #[test]
    fn rows_read_back_as_they_were() {
        let mut file = File::begin(1_700_000_100_000).unwrap();
        for number in 0..CENSUS_GROUP_ROWS + 7 {
            file.add(found(number)).unwrap();
        }
        let reader = SerializedFileReader::new(Bytes::from(file.finish().unwrap())).unwrap();
        assert!(reader.num_row_groups() > 1);
        let (mut count, text) = (0, |text: &String| Field::Str(text.clone()));
        for (number, row) in reader.get_row_iter(None).unwrap().enumerate() {
            count += 1;
            let (row, expected) = (row.unwrap(), found(number));
            for (at, of) in
                [(0, &expected.bucket), (1, &expected.key), (3, &expected.etag), (5, &expected.storage_class)]
            {
                assert_eq!(row.get_string(at).unwrap(), of);
            }
            assert_eq!((row.get_long(2).unwrap(), row.get_int(10).unwrap()), (number as i64, 2));
            assert_eq!(row.get_timestamp_millis(4).unwrap(), expected.modified);
            assert_eq!(row.get_string(6).ok(), expected.content_type.as_ref());
            for (at, pairs) in [(7, &expected.tags), (8, &expected.labels)] {
                let pairs: Vec<_> = pairs.iter().map(|(name, value)| (text(name), text(value))).collect();
                assert_eq!(row.get_map(at).unwrap().entries(), pairs);
            }
            assert_eq!(row.get_list(9).unwrap().elements(), expected.silos.iter().map(text).collect::<Vec<_>>());
            assert_eq!(row.get_timestamp_millis(11).ok(), expected.heat.map(|heat| heat.last_read()), "{row}");
            assert_eq!(row.get_long(12).unwrap(), i64::from(number % 5 == 0));
        }
        assert_eq!(count, CENSUS_GROUP_ROWS + 7);
        let empty = SerializedFileReader::new(Bytes::from(File::begin(0).unwrap().finish().unwrap())).unwrap();
        assert_eq!(empty.metadata().file_metadata().num_rows(), 0);
    }
}
