//! How a SCROLL cursor moves: its rows are kept in a [`Spool`] as they are read, so that it can go back to them.

use arrow::array::UInt64Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;

use super::portal::Rows;
use super::spool::Spool;
use crate::error::{Error, Result};

/// The place of a SCROLL cursor, and what it has read.
pub(super) struct Scroll {
    spool: Spool,
    /// Behind the last row.
    ended: bool,
}

impl Scroll {
    pub(super) fn new(spool: Spool) -> Self {
        Self { spool, ended: false }
    }
}

impl Rows {
    /// The row that the cursor stands on, counted from 1; 0 before the first one, one more than there are behind the last.
    pub(super) fn place(&self) -> u64 {
        match &self.scroll {
            Some(scroll) if scroll.ended => scroll.spool.rows() + 1,
            Some(_) | None => self.position,
        }
    }

    /// The next rows in one batch, at most so many.
    pub(super) async fn forward(&mut self, rows_max: usize) -> Result<Option<RecordBatch>> {
        if self.is_behind() || !self.read_to(self.position + 1).await? {
            self.stand_behind();
            return Ok(None);
        }
        let (batch, at) = self.find(self.position).await?;
        let count = rows_max.min(batch.num_rows() - at);
        let rows = batch.slice(at, count);
        self.stand_on(self.position + count as u64, &rows);
        Ok(Some(rows))
    }

    /// The rows before, last one first, at most so many.
    pub(super) async fn backward(&mut self, rows_max: usize) -> Result<Option<RecordBatch>> {
        let place = self.place();
        if place <= 1 {
            self.stand_before();
            return Ok(None);
        }
        let (batch, at) = self.find(place - 2).await?;
        let count = rows_max.min(at + 1);
        let order: UInt64Array = (0..count).map(|back| (at - back) as u64).collect();
        let rows = take_record_batch(&batch, &order)?;
        self.stand_on(place - count as u64, &rows);
        Ok(Some(rows))
    }

    /// Goes to that row, counted from 1; behind the last one if there are fewer.
    pub(super) async fn go_to(&mut self, row: u64) -> Result<()> {
        if row == 0 {
            self.stand_before();
        } else if self.read_to(row).await? {
            let (batch, at) = self.find(row - 1).await?;
            self.stand_on(row, &batch.slice(at, 1));
        } else {
            self.stand_behind();
        }
        Ok(())
    }

    /// Goes to that row counted from the end, 1 for the last one; before the first one if there are fewer.
    pub(super) async fn go_to_last(&mut self, from_end: u64) -> Result<()> {
        self.read_to(u64::MAX).await?;
        let rows = self.scroll.as_ref().map_or(0, |scroll| scroll.spool.rows());
        self.go_to((rows + 1).saturating_sub(from_end)).await
    }

    /// Reads on until there are so many rows. Whether there are.
    async fn read_to(&mut self, rows: u64) -> Result<bool> {
        loop {
            if self.scroll.as_ref().is_some_and(|scroll| scroll.spool.rows() >= rows) {
                return Ok(true);
            }
            let Some(batch) = self.pull().await? else { return Ok(false) };
            let Some(scroll) = &mut self.scroll else { return Err(no_scroll()) };
            if batch.num_rows() > 0
                && let Err(error) = scroll.spool.push(batch).await
            {
                self.break_off();
                return Err(error);
            }
        }
    }

    async fn find(&mut self, row: u64) -> Result<(RecordBatch, usize)> {
        let scroll = self.scroll.as_mut().ok_or_else(no_scroll)?;
        scroll.spool.find(row).await?.ok_or_else(|| Error::internal("a cursor lost a row"))
    }

    fn is_behind(&self) -> bool {
        self.scroll.as_ref().is_some_and(|scroll| scroll.ended)
    }

    fn stand_on(&mut self, row: u64, rows: &RecordBatch) {
        self.position = row;
        self.current = Some(rows.slice(rows.num_rows().saturating_sub(1), 1));
        self.mark_ended(false);
    }

    fn stand_before(&mut self) {
        self.position = 0;
        self.current = None;
        self.mark_ended(false);
    }

    fn stand_behind(&mut self) {
        self.current = None;
        self.mark_ended(true);
    }

    fn mark_ended(&mut self, ended: bool) {
        if let Some(scroll) = &mut self.scroll {
            scroll.ended = ended;
        }
    }
}

fn no_scroll() -> Error {
    Error::internal("a cursor that is not SCROLL was scrolled")
}
