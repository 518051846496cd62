//! One column's values of a batch, in row order, and the faults that are met in them.

use super::super::column::Source;
use super::super::field::FieldReader;
use super::super::index::Index;
use super::super::options::OnError;
use super::super::spelling::Spelling;
use super::REJECTS_LISTED_MAX;
use crate::encode::types::PgType;
use crate::error::{Error, Result};

/// A value that was refused: by its type, or, which ON_ERROR cannot ignore, because its escapes spell no text.
pub(super) struct ValueFault {
    pub(super) row: usize,
    pub(super) column: usize,
    pub(super) text: Option<String>,
    pub(super) error: Error,
    pub(super) is_text: bool,
}

/// Refused values of one batch.
pub(super) struct Faults {
    pub(super) policy: OnError,
    /// Under `Stop`: that of the earliest row, and there of the leftmost column.
    pub(super) first: Option<ValueFault>,
    /// Under `Ignore`: which rows have one; empty when none has.
    pub(super) bad: Vec<bool>,
    pub(super) found: Vec<ValueFault>,
}

pub(super) struct ColumnSource<'a, 'f> {
    pub(super) bytes: &'a [u8],
    pub(super) index: &'a Index,
    pub(super) columns: usize,
    pub(super) column: usize,
    pub(super) rows: usize,
    pub(super) reader: FieldReader<'a>,
    /// How the values are spelled, if not as PostgreSQL does.
    pub(super) respelled: Option<(&'a Spelling, PgType)>,
    pub(super) faults: &'f mut Faults,
}

impl Source for ColumnSource<'_, '_> {
    fn visit(&mut self, mut push: impl FnMut(Option<&[u8]>) -> Result<()>) {
        let (mut scratch, mut respelled) = (Vec::new(), Vec::new());
        let spans = self.index.spans.iter().skip(self.column).step_by(self.columns.max(1));
        for (row, span) in spans.take(self.rows).enumerate() {
            let (is_text, pushed) = match self.reader.value(self.bytes, *span, &mut scratch) {
                Ok(value) => match (self.respelled, value) {
                    (Some((spelling, ty)), Some(text)) => {
                        let done = spelling.respell(ty, text, &mut respelled);
                        (true, done.and_then(|()| push(Some(&respelled))))
                    }
                    (_, value) => (true, push(value)),
                },
                Err(error) => (false, Err(error)),
            };
            if let Err(error) = pushed {
                let value = self.reader.value(self.bytes, *span, &mut scratch).ok().flatten();
                let text = value.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                if !self.faults.take(ValueFault { row, column: self.column, text, error, is_text }) {
                    return;
                }
                // NULL is always taken; the row is filtered out later.
                let _null_is_taken = push(None);
            }
        }
    }
}

impl Faults {
    /// Notes a refused value. Whether the column is to be read on.
    fn take(&mut self, fault: ValueFault) -> bool {
        match self.policy {
            _ if !fault.is_text => self.stop_at(fault),
            OnError::Stop => self.stop_at(fault),
            OnError::Ignore => self.skip(fault),
        }
    }

    fn stop_at(&mut self, fault: ValueFault) -> bool {
        let earlier = |first: &ValueFault| (first.row, first.column) <= (fault.row, fault.column);
        if !self.first.as_ref().is_some_and(earlier) {
            self.first = Some(fault);
        }
        false
    }

    fn skip(&mut self, fault: ValueFault) -> bool {
        if self.bad.len() <= fault.row {
            self.bad.resize(fault.row + 1, false);
        }
        let known = self.bad.get_mut(fault.row).is_some_and(|bad| std::mem::replace(bad, true));
        if !known && self.found.len() < REJECTS_LISTED_MAX {
            self.found.push(fault);
        }
        true
    }
}
