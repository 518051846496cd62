//! The distinct texts of a column, bounded.

use std::collections::HashMap;

use crate::error::{Error, Result, SqlState};

/// The code of NULL.
pub const MISSING: u32 = u32::MAX;

/// Distinct texts that a column may have.
pub const TEXTS_MAX: usize = 1 << 20;

/// Texts with their codes, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    codes: HashMap<String, u32>,
    counts: Vec<u64>,
    bytes: usize,
}

impl Dictionary {
    /// The text's code.
    ///
    /// # Errors
    /// 54000 when the column has too many.
    pub(super) fn code(&mut self, text: &str, column: &str) -> Result<u32> {
        if let Some(code) = self.codes.get(text) {
            if let Some(count) = self.counts.get_mut(*code as usize) {
                *count += 1;
            }
            return Ok(*code);
        }
        if self.counts.len() >= TEXTS_MAX {
            let message = format!("column \"{column}\" has more than {TEXTS_MAX} distinct texts");
            return Err(Error::new(SqlState::ProgramLimitExceeded, message)
                .with_hint("Leave it out by the option exclude, or have the query make fewer of them."));
        }
        let code = self.counts.len() as u32;
        self.codes.insert(text.to_owned(), code);
        self.counts.push(1);
        // The map's entry, the text's own bytes and its allocation.
        self.bytes += text.len() + 72;
        Ok(code)
    }

    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The texts in an order that does not depend on that of arrival, and the place there of each code.
    pub(super) fn settled(self, by_frequency: bool) -> (Vec<String>, Vec<u32>) {
        let counts = self.counts;
        let mut texts: Vec<(String, u32)> = self.codes.into_iter().collect();
        let count = |code: u32| counts.get(code as usize).copied().unwrap_or(0);
        texts.sort_unstable_by(|(a, a_code), (b, b_code)| {
            let frequent = if by_frequency { count(*b_code).cmp(&count(*a_code)) } else { std::cmp::Ordering::Equal };
            frequent.then_with(|| a.cmp(b))
        });
        let mut places = vec![0; texts.len()];
        for (place, (_, code)) in texts.iter().enumerate() {
            if let Some(slot) = places.get_mut(*code as usize) {
                *slot = place as u32;
            }
        }
        (texts.into_iter().map(|(text, _)| text).collect(), places)
    }
}
