//! A portal: a statement with its parameters, ready to run, running, suspended or done. SQL's cursors are portals too.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use futures::StreamExt;

use super::guard::Guard;
use super::prepared::Prepared;
use super::scroll::Scroll;
use crate::encode::TextStyle;
use crate::encode::types::{Format, OutputColumn};
use crate::error::{Error, Result, SqlState};
use crate::execute::output::{BatchStream, CopyIn, CopyOut, Output, RowsTag};
use crate::observe::Metrics;
use datafusion::scalar::ScalarValue;

/// One portal of a conversation.
pub struct Portal {
    pub(super) prepared: Arc<Prepared>,
    pub(super) parameters: Vec<ScalarValue>,
    /// Result formats as Bind gave them: none, one for all, or one for each column.
    pub(super) formats: Vec<Format>,
    pub(super) style: Arc<TextStyle>,
    pub(super) state: State,
    /// Where rows are counted, once it runs.
    pub(super) metrics: Option<Arc<Metrics>>,
    /// Of the running statement.
    pub(super) guard: Option<Guard>,
    /// Made by DECLARE.
    pub(super) cursor: Option<Cursor>,
}

/// A cursor of SQL: its rows are shared with the FETCH that reads them.
pub(super) struct Cursor {
    pub(super) hold: bool,
    /// Binary for DECLARE … BINARY, whatever the protocol of the FETCH.
    pub(super) format: Format,
    /// The same for each column.
    pub(super) formats: Vec<Format>,
    pub(super) columns: Arc<[OutputColumn]>,
    pub(super) rows: Arc<tokio::sync::Mutex<Rows>>,
    /// Its transaction committed: from now on it ends with the session.
    pub(super) outlives: bool,
    /// Rows given in this Execute: an SQL cursor is a portal, and Execute reads on where FETCH stopped.
    pub(super) given: u64,
}

/// Columns and their formats.
pub(super) type Described = (Arc<[OutputColumn]>, Vec<Format>);

pub(super) enum State {
    /// Bound, not started.
    Ready,
    Rows(Rows),
    /// The command tag, to be sent once.
    Done(String),
    Empty,
    CopyIn(CopyIn),
    CopyOut(CopyOut),
    /// The answer was given.
    Spent,
}

/// Rows on their way to the client.
pub(super) struct Rows {
    pub(super) columns: Arc<[OutputColumn]>,
    pub(super) formats: Vec<Format>,
    stream: Option<BatchStream>,
    /// Rows of the last batch that the row limit held back.
    rest: Option<RecordBatch>,
    tag: RowsTag,
    guard: Guard,
    /// Rows given in this Execute, for the command tag.
    given: u64,
    /// Rows given since the start: a cursor's position.
    pub(super) position: u64,
    /// The row it stands on: the one given last, none behind the end.
    pub(super) current: Option<RecordBatch>,
    /// Of a SCROLL cursor.
    pub(super) scroll: Option<Box<Scroll>>,
    /// It ended by an error: what is left of its rows is lost.
    pub(super) broken: bool,
}

/// What the portal has for the client now.
pub enum Answer<'a> {
    /// Rows are read by [`Portal::next`] until it gives `None`; then [`Portal::tag`].
    Rows {
        columns: &'a Arc<[OutputColumn]>,
        formats: &'a [Format],
        style: &'a Arc<TextStyle>,
    },
    /// The command tag.
    Done(String),
    Empty,
    /// Taken once.
    CopyIn(CopyIn),
    CopyOut(CopyOut),
}

impl State {
    /// The state that follows from a statement's output.
    pub(super) fn from_output(output: Output, formats: &[Format], guard: Guard) -> Result<Self> {
        Ok(match output {
            Output::Rows { columns, stream, tag } => {
                let formats = spread_formats(formats, columns.len())?;
                Self::Rows(Rows {
                    columns,
                    formats,
                    stream: Some(stream),
                    rest: None,
                    tag,
                    guard,
                    given: 0,
                    position: 0,
                    current: None,
                    scroll: None,
                    broken: false,
                })
            }
            Output::Done(tag) => Self::Done(tag),
            Output::Empty => Self::Empty,
            Output::CopyIn(copy) => Self::CopyIn(copy),
            Output::CopyOut(copy) => Self::CopyOut(copy),
        })
    }
}

/// One format for each column from Bind's list: none is text, one is for all.
pub(super) fn spread_formats(formats: &[Format], columns: usize) -> Result<Vec<Format>> {
    match formats {
        [] => Ok(vec![Format::Text; columns]),
        [one] => Ok(vec![*one; columns]),
        all if all.len() == columns => Ok(all.to_vec()),
        all => Err(Error::new(
            SqlState::ProtocolViolation,
            format!("bind message has {} result formats but query has {columns} columns", all.len()),
        )),
    }
}

impl Portal {
    pub(super) fn new(
        prepared: Arc<Prepared>,
        parameters: Vec<ScalarValue>,
        formats: Vec<Format>,
        style: Arc<TextStyle>,
    ) -> Self {
        Self { prepared, parameters, formats, style, state: State::Ready, metrics: None, guard: None, cursor: None }
    }

    /// What is to be sent. A portal that already ended answers `Done` with the tag of no rows.
    pub fn answer(&mut self) -> Result<Answer<'_>> {
        if let Some(cursor) = &mut self.cursor {
            cursor.given = 0;
            return Ok(Answer::Rows { columns: &cursor.columns, formats: &cursor.formats, style: &self.style });
        }
        match std::mem::replace(&mut self.state, State::Spent) {
            State::Rows(rows) => {
                self.state = State::Rows(rows);
                match &mut self.state {
                    State::Rows(rows) => {
                        rows.given = 0;
                        Ok(Answer::Rows { columns: &rows.columns, formats: &rows.formats, style: &self.style })
                    }
                    State::Ready
                    | State::Done(_)
                    | State::Empty
                    | State::CopyIn(_)
                    | State::CopyOut(_)
                    | State::Spent => Err(Error::internal("a portal changed its state")),
                }
            }
            State::Done(tag) => Ok(Answer::Done(tag)),
            State::Empty => {
                self.state = State::Empty;
                Ok(Answer::Empty)
            }
            State::CopyIn(copy) => Ok(Answer::CopyIn(copy)),
            State::CopyOut(copy) => Ok(Answer::CopyOut(copy)),
            State::Ready => Err(Error::internal("a portal was read before it was started")),
            State::Spent => Err(Error::new(
                SqlState::ObjectNotInPrerequisiteState,
                "portal cannot be run: its statement has already completed",
            )),
        }
    }

    /// The next rows, at most `rows_max` of them; `None` at the end. What a batch holds beyond that stays for the next call.
    /// Cancel and timeout end it with their error.
    pub async fn next(&mut self, rows_max: Option<usize>) -> Result<Option<RecordBatch>> {
        if let Some(cursor) = &mut self.cursor {
            let batch = cursor.rows.lock().await.next(rows_max).await?;
            cursor.given += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
            return Ok(batch);
        }
        match &mut self.state {
            State::Rows(rows) => {
                let batch = rows.next(rows_max).await?;
                if let (Some(batch), Some(metrics)) = (&batch, &self.metrics) {
                    metrics.rows_sent(batch.num_rows() as u64);
                }
                Ok(batch)
            }
            State::Ready | State::Done(_) | State::Empty | State::CopyIn(_) | State::CopyOut(_) | State::Spent => {
                Ok(None)
            }
        }
    }

    /// Resolves with its error when the statement is to stop: cancel or a timeout. For what [`Portal::next`] does not guard:
    /// a COPY that waits for the client.
    pub fn interruption(&self) -> impl Future<Output = Error> + Send + 'static {
        let guard = self.guard.clone();
        async move {
            match guard {
                Some(guard) => guard.ended().await,
                None => std::future::pending().await,
            }
        }
    }

    /// The command tag for the rows given in this Execute.
    pub fn tag(&self) -> String {
        if let Some(cursor) = &self.cursor {
            return format!("SELECT {}", cursor.given);
        }
        match &self.state {
            State::Rows(rows) => rows.tag.tag(rows.given),
            State::Ready | State::Done(_) | State::Empty | State::CopyIn(_) | State::CopyOut(_) | State::Spent => {
                String::new()
            }
        }
    }

    /// Columns and formats of the rows, `None` for a statement without rows.
    pub(super) fn description(&self) -> Result<Option<Described>> {
        if let Some(cursor) = &self.cursor {
            return Ok(Some((Arc::clone(&cursor.columns), cursor.formats.clone())));
        }
        match (&self.state, &self.prepared.columns) {
            (State::Rows(rows), _) => Ok(Some((Arc::clone(&rows.columns), rows.formats.clone()))),
            (_, Some(columns)) => Ok(Some((Arc::clone(columns), spread_formats(&self.formats, columns.len())?))),
            (_, None) => Ok(None),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready) && self.cursor.is_none()
    }

    /// Whether it stays when its transaction ends.
    pub(super) fn survives(&self, committed: bool) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| cursor.hold && (committed || cursor.outlives))
    }

    /// The transaction that opened it committed.
    pub(super) fn outlive_transaction(&mut self) {
        if let Some(cursor) = &mut self.cursor {
            cursor.outlives = true;
        }
    }
}

impl Rows {
    pub(super) async fn next(&mut self, rows_max: Option<usize>) -> Result<Option<RecordBatch>> {
        if self.scroll.is_some() {
            let batch = self.forward(rows_max.unwrap_or(usize::MAX)).await?;
            self.given += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
            return Ok(batch);
        }
        loop {
            let batch = match self.rest.take() {
                Some(batch) => batch,
                None => match self.pull().await? {
                    Some(batch) => batch,
                    None => {
                        self.current = None;
                        return Ok(None);
                    }
                },
            };
            if batch.num_rows() == 0 {
                continue;
            }
            let wanted = rows_max.unwrap_or(usize::MAX).min(batch.num_rows());
            if wanted < batch.num_rows() {
                self.rest = Some(batch.slice(wanted, batch.num_rows() - wanted));
            }
            self.given += wanted as u64;
            self.position += wanted as u64;
            self.current = Some(batch.slice(wanted.saturating_sub(1), 1));
            return Ok(Some(batch.slice(0, wanted)));
        }
    }

    /// Reads a batch from the stream; the stream is dropped at its end and after an error, so that its work stops.
    pub(super) async fn pull(&mut self) -> Result<Option<RecordBatch>> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let next = self.guard.run(async { stream.next().await.transpose() }).await;
        match &next {
            Ok(Some(_)) => {}
            Ok(None) => self.stream = None,
            Err(_) => self.break_off(),
        }
        next
    }

    pub(super) fn break_off(&mut self) {
        self.stream = None;
        self.broken = true;
    }

    /// Gives later reads a new token and deadline: each Execute or FETCH of a suspended portal is a statement of its own.
    pub(super) fn rearm(&mut self, guard: Guard) {
        self.guard = guard;
    }
}
