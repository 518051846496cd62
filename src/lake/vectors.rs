//! Deletion vectors: which rows of a file are gone. Others write them; we read them, and write such files anew without these
//! rows.
//!
//! Format: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vector-format>

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use deltalake::kernel::{DeletionVectorDescriptor, StorageType};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use roaring::RoaringTreemap;
use url::Position;

use super::data_file::DataFile;
use super::stores::Resolved;
use super::stores::bounds::Allowed;
use crate::error::{Error, Result, SqlState};

/// First bytes of a serialized vector.
const MAGIC: u32 = 1_681_511_377;
/// Characters of a file's UUID in the log; what stands before is a folder.
const UUID_CHARACTERS: usize = 20;
const Z85: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// The deleted rows of a file, read once.
pub(super) async fn deleted(location: &Resolved, file: &DataFile) -> Result<Arc<RoaringTreemap>> {
    if let Some(known) = file.deleted.get() {
        return Ok(Arc::clone(known));
    }
    let Some(vector) = &file.vector else { return Ok(Arc::default()) };
    let rows = Arc::new(read(location, vector).await?);
    if rows.len() != u64::try_from(vector.cardinality).unwrap_or(0) {
        return Err(damaged(&format!("it has {} rows where the log tells of {}", rows.len(), vector.cardinality)));
    }
    Ok(Arc::clone(file.deleted.get_or_init(|| rows)))
}

/// Whether its file could be outside of the table's folder.
pub(super) fn may_stray(vector: &DeletionVectorDescriptor) -> bool {
    match vector.storage_type {
        StorageType::Inline => false,
        StorageType::UuidRelativePath => folder_and_uuid(&vector.path_or_inline_dv).is_none(),
        StorageType::AbsolutePath => true,
    }
}

/// Refuses a vector whose file lies outside of the table's folder where the log's writer need not have had rights.
///
/// # Errors
/// 42501, 0A000 for another store, XX001 for what is no name in the folder and should be.
pub(super) fn check_place(location: &Resolved, vector: &DeletionVectorDescriptor, allowed: &mut Allowed) -> Result<()> {
    let text = &vector.path_or_inline_dv;
    match vector.storage_type {
        StorageType::Inline => Ok(()),
        StorageType::UuidRelativePath => relative(location, text).map(|_| ()),
        StorageType::AbsolutePath => location.bounds.check(location, text, allowed),
    }
}

/// The file that holds the vector; `None` for one in the log itself or at an unknown place.
pub(super) fn file(location: &Resolved, vector: &DeletionVectorDescriptor) -> Option<Path> {
    match vector.storage_type {
        StorageType::Inline => None,
        StorageType::UuidRelativePath => relative(location, &vector.path_or_inline_dv).ok(),
        StorageType::AbsolutePath => absolute(location, &vector.path_or_inline_dv).ok(),
    }
}

/// The key under which the kernel looks for the vector's file, and the file's, where they differ: it takes the path of a URL for a key.
pub(super) fn misread(location: &Resolved, vector: &DeletionVectorDescriptor) -> Option<(Path, Path)> {
    let key = file(location, vector)?;
    let url = match vector.storage_type {
        StorageType::AbsolutePath => url::Url::parse(&vector.path_or_inline_dv).ok()?,
        _ => {
            let mut url = location.location.clone();
            let rest: Path = key.prefix_match(&location.path)?.collect();
            url.set_path(&format!("{}/{rest}", url.path().trim_end_matches('/')));
            url
        }
    };
    let opened = Path::from(url.path());
    (opened != key).then_some((opened, key))
}

async fn read(location: &Resolved, vector: &DeletionVectorDescriptor) -> Result<RoaringTreemap> {
    let path = match vector.storage_type {
        StorageType::Inline => {
            let bytes = decode_z85(&vector.path_or_inline_dv).ok_or_else(|| damaged("its text is no base 85"))?;
            let size = usize::try_from(vector.size_in_bytes).unwrap_or(0);
            return parse(bytes.get(..size).ok_or_else(|| damaged("it is too short"))?);
        }
        StorageType::UuidRelativePath => relative(location, &vector.path_or_inline_dv)?,
        StorageType::AbsolutePath => absolute(location, &vector.path_or_inline_dv)?,
    };
    let start = u64::try_from(vector.offset.unwrap_or(1)).map_err(|_| damaged("its place is before its file"))?;
    let size = u64::try_from(vector.size_in_bytes).map_err(|_| damaged("its size is negative"))?;
    // The size again, the vector, and its checksum.
    let bytes = location.store.get_range(&path, start..start + 4 + size + 4).await?;
    let (head, rest) = bytes.split_at_checked(4).ok_or_else(|| damaged("it is too short"))?;
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    let (data, sum) = rest.split_at_checked(length).ok_or_else(|| damaged("it is too short"))?;
    if u64::from(number(head).map(u32::from_be_bytes).unwrap_or(0)) != size {
        return Err(damaged("its file has another size"));
    }
    if number(sum).map(u32::from_be_bytes) != Some(crc32fast::hash(data)) {
        return Err(damaged("its checksum is wrong"));
    }
    parse(data)
}

fn number(bytes: &[u8]) -> Option<[u8; 4]> {
    bytes.get(..4)?.try_into().ok()
}

fn parse(bytes: &[u8]) -> Result<RoaringTreemap> {
    if number(bytes).map(u32::from_le_bytes) != Some(MAGIC) {
        return Err(damaged("its format is unknown"));
    }
    RoaringTreemap::deserialize_from(bytes.get(4..).unwrap_or_default()).map_err(|error| damaged(&error.to_string()))
}

fn relative(location: &Resolved, text: &str) -> Result<Path> {
    let unknown = || damaged("its file's name is unknown");
    let (folder, uuid) = folder_and_uuid(text).ok_or_else(unknown)?;
    let bytes: [u8; 16] = decode_z85(uuid).and_then(|bytes| bytes.try_into().ok()).ok_or_else(unknown)?;
    let name = format!("deletion_vector_{}.bin", uuid::Uuid::from_bytes(bytes));
    let folder = (!folder.is_empty()).then(|| object_store::path::PathPart::from(folder));
    Ok(location.path.parts().chain(folder).chain([object_store::path::PathPart::from(name)]).collect())
}

/// The folder of a vector in the table's folder, or nothing, and the UUID of its file. Delta's folders are random letters and
/// digits; delta-rs would follow whatever stands there.
fn folder_and_uuid(text: &str) -> Option<(&str, &str)> {
    let (folder, uuid) = text.split_at_checked(text.len().checked_sub(UUID_CHARACTERS)?)?;
    let is_name = folder.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    is_name.then_some((folder, uuid))
}

/// The path of a URL in the table's own store.
fn absolute(location: &Resolved, url: &str) -> Result<Path> {
    let elsewhere = || Error::unsupported("a deletion vector in another store than its table");
    let url = url::Url::parse(url).map_err(|_| elsewhere())?;
    if url[..Position::BeforePath] != location.location[..Position::BeforePath] {
        return Err(elsewhere());
    }
    Path::from_url_path(url.path()).map_err(|_| elsewhere())
}

fn decode_z85(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(5) {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 5 * 4);
    for group in digits.chunks(5) {
        let mut value: u32 = 0;
        for digit in group {
            let digit = Z85.iter().position(|known| known == digit)?;
            value = value.checked_mul(85)?.checked_add(u32::try_from(digit).ok()?)?;
        }
        bytes.extend(value.to_be_bytes());
    }
    Some(bytes)
}

fn damaged(why: &str) -> Error {
    Error::new(SqlState::DataCorrupted, "a deletion vector of the table is damaged").with_detail(format!("{why}."))
}

/// Whether a row of a file, both by their numbers, is still there.
#[derive(Debug)]
pub(super) struct Alive {
    signature: Signature,
    /// Deleted rows of each file that has some.
    deleted: HashMap<i32, Arc<RoaringTreemap>>,
}

impl Alive {
    pub(super) fn new(deleted: HashMap<i32, Arc<RoaringTreemap>>) -> Self {
        let arguments = vec![DataType::Int32, DataType::Int64];
        Self { signature: Signature::exact(arguments, Volatility::Immutable), deleted }
    }
}

impl PartialEq for Alive {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Alive {}

impl Hash for Alive {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.deleted.len().hash(state);
    }
}

impl ScalarUDFImpl for Alive {
    fn name(&self) -> &str {
        "lakegate:alive"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let shape = || DataFusionError::Internal("a file and a row are expected".to_owned());
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [files, rows] = arrays.as_slice() else { return Err(shape()) };
        let files = files.as_primitive_opt::<Int32Type>().ok_or_else(shape)?;
        let rows = rows.as_primitive_opt::<Int64Type>().ok_or_else(shape)?;
        let mut alive = Vec::with_capacity(files.len());
        // A batch is of few files.
        let mut current: Option<(i32, Option<&Arc<RoaringTreemap>>)> = None;
        for index in 0..files.len() {
            let file = files.value(index);
            let deleted = match current {
                Some((known, deleted)) if known == file => deleted,
                _ => {
                    let deleted = self.deleted.get(&file);
                    current = Some((file, deleted));
                    deleted
                }
            };
            let row = u64::try_from(rows.value(index)).map_err(|_| shape())?;
            alive.push(deleted.is_none_or(|deleted| !deleted.contains(row)));
        }
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(alive))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_85_is_read() {
        // The protocol's own example.
        let bytes = decode_z85("vBn[lx{q8@P<9BNH/isA").unwrap();
        let uuid = uuid::Uuid::from_bytes(bytes.try_into().unwrap());
        assert_eq!(uuid.to_string(), "61d16c75-6994-46b7-a15b-8b538852e50e");
        assert_eq!(decode_z85("abc"), None);
        assert_eq!(decode_z85("\u{e9}bcd"), None);
    }

    #[test]
    fn a_vector_in_the_folder_has_a_plain_name() {
        let uuid = "vBn[lx{q8@P<9BNH/isA";
        assert_eq!(folder_and_uuid(uuid), Some(("", uuid)));
        assert_eq!(folder_and_uuid(&format!("a-B_9{uuid}")), Some(("a-B_9", uuid)));
        for folder in ["../../wh", "..", "a/b", "/wh", "%2e%2e", "memory:", "a\\b", " "] {
            assert_eq!(folder_and_uuid(&format!("{folder}{uuid}")), None, "{folder}");
        }
        assert_eq!(folder_and_uuid("short"), None);
    }

    #[test]
    fn a_vector_of_another_store_is_not_opened() {
        let stores = super::super::Stores::new("memory://lake@acct/w", HashMap::new()).unwrap();
        let table = stores.resolve("memory://lake@acct/w/t").unwrap();
        assert_eq!(absolute(&table, "memory://lake@acct/w/o/a%20b.bin").unwrap(), Path::from("w/o/a b.bin"));
        for url in ["memory://zzz@acct/w/o/a.bin", "memory://acct/w/o/a.bin", "s3://acct/w/o/a.bin", "w/o/a.bin"] {
            assert_eq!(absolute(&table, url).unwrap_err().sqlstate(), SqlState::FeatureNotSupported, "{url}");
        }
    }

    #[test]
    fn vectors_are_parsed() {
        let rows: RoaringTreemap = [3_u64, 4, 7, 11, 18, 29].into_iter().collect();
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        rows.serialize_into(&mut bytes).unwrap();
        assert_eq!(parse(&bytes).unwrap(), rows);
        assert_eq!(parse(b"xxxx").unwrap_err().sqlstate(), SqlState::DataCorrupted);
        assert_eq!(parse(b"").unwrap_err().sqlstate(), SqlState::DataCorrupted);
    }
}
