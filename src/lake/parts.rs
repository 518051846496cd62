//! What aggregates give for each data file, kept beside the table: a file never changes, so that VALIDATE reads it once.
//!
//! One object in the table's folder, replaced by one put. It is a cache: whatever is wrong with it, it is as if there were none,
//! and of two servers that write it at once one is heard.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::datatypes::{Field, Int64Type, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::common::stats::Precision;
use datafusion::logical_expr::Expr;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::data_file::DataFile;
use super::scan::LakeScan;
use super::table::Table;
use crate::encode::types::PgType;
use crate::error::{Error, Result};

/// What the object begins with; another form gets another word.
const MAGIC: &[u8] = b"lakegate parts 1\n";
/// Its bytes at most.
const BYTES_MAX: usize = 64 << 20;
const HASH_BYTES: usize = 32;

/// An aggregate's values for files of a table, by the files' numbers.
#[derive(Debug, Clone)]
pub struct FileValues {
    pub ty: PgType,
    pub values: ArrayRef,
    /// For which files it has a value: it may be NULL.
    pub known: BooleanArray,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    table: String,
    files: Vec<String>,
    /// Names, and types as OID and typmod, of what is kept.
    parts: Vec<(String, u32, i32)>,
}

impl Table {
    /// Whether the files can be asked one by one: the plain scan reads them.
    pub fn has_plain_files(&self) -> bool {
        !self.special && i32::try_from(self.files.len()).is_ok()
    }

    /// The rows of some files.
    pub fn provider_of(self: &Arc<Self>, files: Vec<usize>) -> Arc<dyn TableProvider> {
        Arc::new(LakeScan::new(Arc::clone(self)).only(files))
    }

    /// The same with two more columns, as [`tagged_provider`](Self::tagged_provider) has them: the first is the file's number.
    pub fn tagged_provider_of(self: &Arc<Self>, files: Vec<usize>) -> Arc<dyn TableProvider> {
        Arc::new(LakeScan::tagged(Arc::clone(self)).only(files))
    }

    /// What is kept, for the files of this version.
    pub async fn kept_parts(&self) -> HashMap<String, FileValues> {
        match self.read_parts().await {
            Ok(parts) => parts,
            Err(error) => {
                tracing::debug!(table = self.location(), %error, "what rules found in files is not known any more");
                HashMap::new()
            }
        }
    }

    async fn read_parts(&self) -> Result<HashMap<String, FileValues>> {
        let path = self.parts_path();
        let store = &self.location.store;
        let got = match store.get(&path).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(HashMap::new()),
            Err(error) => return Err(error.into()),
        };
        if got.meta.size > BYTES_MAX as u64 {
            return Err(Error::internal("too large"));
        }
        let (header, batch) = decoded(&got.bytes().await?)?;
        if header.table != self.parts_table()? {
            return Ok(HashMap::new());
        }
        let kept = header.files.iter().enumerate();
        let kept: HashMap<&str, u32> =
            kept.filter_map(|(row, file)| Some((file.as_str(), u32::try_from(row).ok()?))).collect();
        let rows: UInt32Array = self.files.iter().map(|file| kept.get(key(file).as_str()).copied()).collect();
        let columns = batch.columns().chunks_exact(2);
        let parts = header.parts.into_iter().zip(columns).map(|((name, oid, typmod), columns)| {
            let [values, known] = columns else { return Err(Error::internal("columns are missing")) };
            let known = take(known.as_ref(), &rows, None)?;
            let known = known.as_boolean_opt().ok_or_else(|| Error::internal("no booleans"))?;
            let known = known.iter().map(|known| Some(known.unwrap_or(false))).collect();
            Ok((name, FileValues { ty: PgType { oid, typmod }, values: take(values.as_ref(), &rows, None)?, known }))
        });
        parts.collect()
    }

    /// Keeps values for the files of this version in the place of what was kept.
    pub async fn keep_parts(&self, parts: Vec<(String, FileValues)>) {
        if let Err(error) = self.write_parts(parts).await {
            tracing::debug!(table = self.location(), %error, "what rules found in files is not kept");
        }
    }

    async fn write_parts(&self, parts: Vec<(String, FileValues)>) -> Result<()> {
        let bytes: usize = parts.iter().map(|(_, part)| part.values.get_array_memory_size()).sum();
        if bytes > 2 * BYTES_MAX {
            return Err(Error::internal(format!("{bytes} bytes are too many")));
        }
        let header = Header {
            table: self.parts_table()?,
            files: self.files.iter().map(|file| key(file)).collect(),
            parts: parts.iter().map(|(name, part)| (name.clone(), part.ty.oid, part.ty.typmod)).collect(),
        };
        let mut fields = Vec::with_capacity(parts.len() * 2);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(parts.len() * 2);
        for (name, part) in parts {
            fields.push(Field::new(&name, part.values.data_type().clone(), true));
            fields.push(Field::new(format!("{name} known"), part.known.data_type().clone(), true));
            columns.push(part.values);
            columns.push(Arc::new(part.known));
        }
        let bytes = encoded(&header, &RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)?;
        if bytes.len() > BYTES_MAX {
            return Err(Error::internal(format!("{} bytes are too many", bytes.len())));
        }
        self.location.store.put(&self.parts_path(), PutPayload::from_bytes(bytes.into())).await?;
        Ok(())
    }

    /// Keeps, beside what is kept, that every row of some files counts for these parts; files are named without their folders.
    ///
    /// Parts that were kept for files of other versions only go, and all of them where they are too many.
    pub async fn keep_counted(&self, files: &[String], parts: &[String], values_max: usize) {
        if !self.has_plain_files() {
            return;
        }
        let mut kept = self.kept_parts().await;
        if kept.keys().chain(parts).collect::<HashSet<_>>().len().saturating_mul(self.files.len()) > values_max {
            kept.clear();
        }
        if parts.len().saturating_mul(self.files.len()) > values_max {
            return;
        }
        let names: HashSet<&str> = files.iter().map(String::as_str).collect();
        let rows = self.files.iter().map(|file| {
            let rows = file.rows().filter(|_| names.contains(file_name(&file.name)))?;
            i64::try_from(rows).ok()
        });
        let rows: Vec<Option<i64>> = rows.collect();
        for part in parts {
            let before = kept.remove(part).filter(|before| before.ty == PgType::INT8);
            let before =
                before.and_then(|before| Some((before.values.as_primitive_opt::<Int64Type>()?.clone(), before.known)));
            let values = rows.iter().enumerate().map(|(file, rows)| {
                let kept =
                    || before.as_ref().filter(|(_, known)| known.value(file)).map(|(values, _)| values.value(file));
                rows.or_else(kept)
            });
            let values: Int64Array = values.collect();
            let known = BooleanArray::new(
                values.nulls().map_or_else(|| BooleanBuffer::new_set(values.len()), |nulls| nulls.inner().clone()),
                None,
            );
            kept.insert(part.clone(), FileValues { ty: PgType::INT8, values: Arc::new(values), known });
        }
        self.keep_parts(kept.into_iter().collect()).await;
    }

    fn parts_path(&self) -> Path {
        self.location.path.clone().join("_lakegate").join("parts")
    }

    /// Delta's id of the table: another one at the same place has another id.
    fn parts_table(&self) -> Result<String> {
        Ok(format!("{} {}", self.snapshot()?.metadata().id(), self.location()))
    }

    /// The number of rows of each file, where the log has it.
    pub fn rows_of_files(&self) -> Vec<Option<u64>> {
        self.files.iter().map(|file| file.rows()).collect()
    }

    /// How many values of the column are not NULL, for each file, where the log says it.
    pub fn known_of_files(&self, column: &str) -> Vec<Option<u64>> {
        self.of_files(column, |file, index| {
            let nulls = match file.statistics.column_statistics.get(index)?.null_count {
                Precision::Exact(nulls) => u64::try_from(nulls).ok()?,
                Precision::Inexact(_) | Precision::Absent => return None,
            };
            file.rows()?.checked_sub(nulls)
        })
    }

    /// The least or greatest value of the column in each file, where the log has it and not only a bound.
    pub fn extremes_of_files(&self, column: &str, greatest: bool) -> Vec<Option<ScalarValue>> {
        self.of_files(column, |file, index| {
            let column = file.statistics.column_statistics.get(index)?;
            let value = if greatest { &column.max_value } else { &column.min_value };
            match (value, column.null_count) {
                (Precision::Exact(value), _) if !value.is_null() => Some(value.clone()),
                (_, Precision::Exact(nulls)) if file.rows()? == u64::try_from(nulls).ok()? => Some(ScalarValue::Null),
                _ => None,
            }
        })
    }

    /// For each file whether all of its rows meet the condition, or none does, where the log says so.
    ///
    /// # Errors
    /// The engine's.
    pub fn decided_of_files(self: &Arc<Self>, state: &dyn Session, condition: &Expr) -> Result<Vec<Option<bool>>> {
        Ok(LakeScan::new(Arc::clone(self)).decided(state, condition)?)
    }

    fn of_files<T>(&self, column: &str, of: impl Fn(&DataFile, usize) -> Option<T>) -> Vec<Option<T>> {
        let partition = self.partition_fields.iter().position(|field| field.name() == column);
        let index = match partition {
            Some(index) => Some(self.file_schema.fields().len() + index),
            None => self.file_schema.index_of(column).ok(),
        };
        let of_file = |file: &Arc<DataFile>| match (index, &file.vector) {
            (Some(index), None) => of(file, index),
            _ => None,
        };
        self.files.iter().map(of_file).collect()
    }
}

/// A file's name without its folders.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// What tells a file, with its deleted rows and the values of its partition, from all others of the table.
fn key(file: &DataFile) -> String {
    let (name, vector) = file.identity();
    let deleted = file.vector.as_ref().map(|vector| vector.cardinality);
    format!("{name} {vector:?} {deleted:?} {} {} {:?}", file.bytes, file.modified_ms, file.partition)
}

/// `MAGIC`, a hash of the rest, the length of the header, the header, the values as a stream of Arrow's.
fn encoded(header: &Header, batch: &RecordBatch) -> Result<Vec<u8>> {
    let header = serde_json::to_vec(header).map_err(|error| Error::internal(error.to_string()))?;
    let length = u64::try_from(header.len()).unwrap_or(u64::MAX);
    let mut body = length.to_le_bytes().to_vec();
    body.extend(header);
    let mut writer = StreamWriter::try_new(&mut body, &batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    let mut bytes = MAGIC.to_vec();
    bytes.extend(Sha256::digest(&body));
    bytes.extend(body);
    Ok(bytes)
}

fn decoded(bytes: &Bytes) -> Result<(Header, RecordBatch)> {
    let damaged = || Error::internal("damaged");
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let (hash, body) = rest.split_at_checked(HASH_BYTES).ok_or_else(damaged)?;
    if Sha256::digest(body).as_slice() != hash {
        return Err(damaged());
    }
    let (length, body) = body.split_first_chunk::<8>().ok_or_else(damaged)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
    let (header, body) = body.split_at_checked(length).ok_or_else(damaged)?;
    let header: Header = serde_json::from_slice(header).map_err(|_| damaged())?;
    let batch = StreamReader::try_new(body, None)?.next().ok_or_else(damaged)??;
    let is_whole = batch.num_rows() == header.files.len() && batch.num_columns() == header.parts.len() * 2;
    if is_whole { Ok((header, batch)) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_not_believed() {
        let header =
            Header { table: "t".into(), files: vec!["a".into(), "b".into()], parts: vec![("n".into(), 20, -1)] };
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(BooleanArray::from(vec![true, false]))];
        let fields =
            columns.iter().enumerate().map(|(at, column)| Field::new(at.to_string(), column.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let bytes = encoded(&header, &RecordBatch::try_new(schema, columns).unwrap()).unwrap();
        let (read, batch) = decoded(&bytes.clone().into()).unwrap();
        assert_eq!((read.files, batch.num_rows()), (header.files, 2));
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(decoded(&other.into()).is_err(), "{at}");
            assert!(decoded(&bytes[..at].to_vec().into()).is_err(), "{at}");
        }
    }
}
