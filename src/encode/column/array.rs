//! Arrays of any number of dimensions.

use arrow::buffer::OffsetBuffer;

use super::Column;
use super::value::Values;
use crate::encode::text::push_array_item;
use crate::error::{Error, Result, SqlState};

/// The lists of one column.
#[derive(Debug)]
pub(super) struct ArrayValues {
    pub offsets: OffsetBuffer<i32>,
    pub items: Column,
    pub element_oid: u32,
    /// The items are lists too: one more dimension.
    pub nested: bool,
    /// `int2vector` or `oidvector`: no braces, and the first subscript is 0.
    pub vector: bool,
}

impl ArrayValues {
    fn range(&self, row: usize) -> std::ops::Range<usize> {
        let bound = |at: usize| self.offsets.get(at).map_or(0, |offset| *offset as usize);
        bound(row)..bound(row + 1)
    }

    /// `{1,NULL,"a b"}`, or `1 2` of a vector.
    pub(super) fn push_text(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if !self.vector {
            out.push(b'{');
        }
        for (at, item) in self.range(row).enumerate() {
            if at > 0 {
                out.push(if self.vector { b' ' } else { b',' });
            }
            let start = out.len();
            if !self.items.write_text(item, out)? {
                out.extend_from_slice(b"NULL");
            } else if !self.nested && !self.vector {
                push_array_item(out, start);
            }
        }
        if !self.vector {
            out.push(b'}');
        }
        Ok(())
    }

    /// Dimensions, whether there are NULLs, the element's OID, lengths and lower bounds, elements.
    pub(super) fn push_binary(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let mut lengths = Vec::new();
        self.shape(row, 0, &mut lengths)?;
        if lengths.contains(&0) && !self.vector {
            lengths.clear();
        }
        let start = out.len();
        out.extend_from_slice(&(lengths.len() as u32).to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.element_oid.to_be_bytes());
        let lower: u32 = if self.vector { 0 } else { 1 };
        for length in &lengths {
            out.extend_from_slice(&(*length as u32).to_be_bytes());
            out.extend_from_slice(&lower.to_be_bytes());
        }
        if lengths.is_empty() {
            return Ok(());
        }
        let has_nulls = self.push_elements(row, out)?;
        if let Some(flag) = out.get_mut(start + 7) {
            *flag = u8::from(has_nulls);
        }
        Ok(())
    }

    /// The lengths of all dimensions; every sub-array of a level must agree.
    fn shape(&self, row: usize, depth: usize, lengths: &mut Vec<usize>) -> Result<()> {
        let range = self.range(row);
        match lengths.get(depth) {
            Some(length) if *length != range.len() => return Err(ragged()),
            Some(_) => {}
            None => lengths.push(range.len()),
        }
        if let (true, Values::Array(inner)) = (self.nested, &self.items.values) {
            for item in range {
                if self.items.is_null(item) {
                    return Err(ragged());
                }
                inner.shape(item, depth + 1, lengths)?;
            }
        }
        Ok(())
    }

    /// Tells whether one of them was NULL.
    fn push_elements(&self, row: usize, out: &mut Vec<u8>) -> Result<bool> {
        let mut has_nulls = false;
        for item in self.range(row) {
            match (&self.items.values, self.nested) {
                (Values::Array(inner), true) => has_nulls |= inner.push_elements(item, out)?,
                _ => {
                    has_nulls |= self.items.is_null(item);
                    self.items.write_binary_field(item, out)?;
                }
            }
        }
        Ok(has_nulls)
    }
}

#[cold]
fn ragged() -> Error {
    Error::new(
        SqlState::ArraySubscriptError,
        "multidimensional arrays must have array expressions with matching dimensions",
    )
}
