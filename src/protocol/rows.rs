//! A portal's answer on its way to the client. Rows are encoded into the output buffer and leave while more are made.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::channel::{OUTPUT_BYTES, Transport};
use super::link::{Fault, Link, Turn};
use super::{backend, copy};
use crate::encode::TextStyle;
use crate::encode::rows::RowEncoder;
use crate::encode::types::{Format, OutputColumn};
use crate::error::{Error, Result};
use crate::query::{Answer, CopyIn, CopyOut, Portal};

/// How a portal's run ended.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// The command tag.
    Done(String),
    Empty,
    /// The row limit was reached.
    Suspended,
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub rows_max: Option<usize>,
    pub message_bytes_max: usize,
}

/// Whether rows are preceded by their RowDescription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Describe {
    First,
    Never,
}

/// What a portal has for the client, apart from the portal.
enum Answered {
    Rows(RowsAnswer),
    Ended(Outcome),
    CopyIn(CopyIn),
    CopyOut(CopyOut),
}

struct RowsAnswer {
    columns: Arc<[OutputColumn]>,
    formats: Vec<Format>,
    style: Arc<TextStyle>,
}

/// Sends what the portal has; its end is told by the caller, after the commit.
pub async fn answer<S: Transport>(
    link: &mut Link<S>,
    portal: &mut Portal,
    limits: Limits,
    describe: Describe,
) -> Result<Outcome, Fault> {
    match answered(portal)? {
        Answered::Ended(outcome) => Ok(outcome),
        Answered::Rows(rows) => {
            if describe == Describe::First {
                backend::row_description(&mut link.channel.output, &rows.columns, &rows.formats);
            }
            send_rows(link, portal, &rows, limits.rows_max).await
        }
        Answered::CopyIn(copy_in) => {
            let interruption = portal.interruption();
            let received = copy::receive(link, copy_in, interruption, limits.message_bytes_max);
            Ok(Outcome::Done(Box::pin(received).await?))
        }
        Answered::CopyOut(copy_out) => Ok(Outcome::Done(copy::send(link, copy_out, portal.interruption()).await?)),
    }
}

fn answered(portal: &mut Portal) -> Result<Answered> {
    Ok(match portal.answer()? {
        Answer::Rows { columns, formats, style } => {
            Answered::Rows(RowsAnswer { columns: columns.clone(), formats: formats.to_vec(), style: style.clone() })
        }
        Answer::Done(tag) => Answered::Ended(Outcome::Done(tag)),
        Answer::Empty => Answered::Ended(Outcome::Empty),
        Answer::CopyIn(copy_in) => Answered::CopyIn(copy_in),
        Answer::CopyOut(copy_out) => Answered::CopyOut(copy_out),
    })
}

async fn send_rows<S: Transport>(
    link: &mut Link<S>,
    portal: &mut Portal,
    rows: &RowsAnswer,
    rows_max: Option<usize>,
) -> Result<Outcome, Fault> {
    let mut encoder = None;
    let mut left = rows_max;
    let mut turn = Turn::default();
    while left != Some(0) {
        let Some(batch) = link.during(portal.next(left)).await?? else {
            return Ok(Outcome::Done(portal.tag()));
        };
        send_batch(link, &mut encoder, &batch, rows, &mut turn).await?;
        // A stream that is always ready may give nothing but empty batches.
        link.give_way(&mut turn).await?;
        left = left.map(|left| left.saturating_sub(batch.num_rows()));
    }
    Ok(Outcome::Suspended)
}

async fn send_batch<S: Transport>(
    link: &mut Link<S>,
    encoder: &mut Option<RowEncoder>,
    batch: &RecordBatch,
    rows: &RowsAnswer,
    turn: &mut Turn,
) -> Result<(), Fault> {
    let encoder = match encoder {
        Some(encoder) => encoder,
        // Every batch of a stream has the schema of the first.
        None => encoder.insert(RowEncoder::new(&batch.schema(), &rows.columns, &rows.formats, &rows.style)?),
    };
    let mut from_row = 0;
    while from_row < batch.num_rows() {
        from_row += encode(link, encoder, batch, from_row)?;
        if from_row < batch.num_rows() || link.channel.output.len() >= OUTPUT_BYTES {
            link.pass_on().await?;
        }
        link.give_way(turn).await?;
    }
    Ok(())
}

/// Fills the output buffer; answers how many rows it took. After an error the buffer ends with the last whole row before.
fn encode<S: Transport>(
    link: &mut Link<S>,
    encoder: &mut RowEncoder,
    batch: &RecordBatch,
    from_row: usize,
) -> Result<usize> {
    let output = &mut link.channel.output;
    let start = output.len();
    match encoder.encode(batch, from_row, OUTPUT_BYTES.max(start + 1), output) {
        Ok(0) => Err(Error::internal("the row encoder took no row")),
        Ok(rows) => Ok(rows),
        Err(error) => {
            output.truncate(start);
            Err(error)
        }
    }
}
