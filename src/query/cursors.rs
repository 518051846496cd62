//! DECLARE, FETCH, MOVE and CLOSE: SQL's cursors, which are portals that stream.
//!
//! A cursor holds its running query, not its rows: FETCH pulls as many as it was asked for. So it only goes forward; a cursor
//! WITH HOLD goes on after its transaction, on the table versions that it was opened on.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::conversation::Conversation;
use super::guard::Guard;
use super::portal::{Cursor, Portal, Rows, State};
use super::prepared::Prepared;
use crate::encode::types::{Format, OutputColumn};
use crate::error::{Error, Result, SqlState};
use crate::execute::output::{BatchStream, Output, RowsTag};
use crate::session::CursorRow;
use crate::sql::{Declare, Fetch, FetchDirection, Name, Parsed, Statement};

/// What a FETCH does to a cursor that only goes forward.
enum Step {
    /// That many rows from here; `None` for all.
    Rows(Option<u64>),
    /// Skip so many, then give one.
    One { skip: u64 },
    /// The row the cursor stands on, again.
    Again,
}

impl Conversation {
    pub(super) async fn declare(&mut self, declare: &Declare, parsed: &Parsed, guard: &Guard) -> Result<Output> {
        let name = &declare.name.value;
        if !declare.hold && !self.session.transaction.in_block() && !self.in_message_block() {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(Error::new(SqlState::NoActiveSqlTransaction, message));
        }
        if declare.scroll == Some(true) {
            return Err(Error::unsupported("SCROLL").with_hint("A cursor streams its rows: it goes forward only."));
        }
        if self.portals.contains_key(name) {
            return Err(Error::new(SqlState::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        let inner = Parsed { statement: Statement::Query(declare.query.clone()), ..parsed.clone() };
        let prepared = Arc::new(Prepared::unbound(inner));
        let Output::Rows { columns, stream, .. } = self.open_query(&prepared, guard).await? else {
            return Err(Error::internal("a cursor's query gave no rows"));
        };
        let format = if declare.binary { Format::Binary } else { Format::Text };
        let mut portal = Portal::new(Arc::clone(&prepared), Vec::new(), vec![format], self.style());
        let output = Output::Rows { columns, stream, tag: RowsTag::Counted("FETCH") };
        let State::Rows(rows) = State::from_output(output, &[format], guard.clone())? else {
            return Err(Error::internal("a cursor's query gave no rows"));
        };
        let columns = Arc::clone(&rows.columns);
        let rows = Arc::new(Mutex::new(rows));
        let formats = vec![format; columns.len()];
        portal.cursor = Some(Cursor { hold: declare.hold, format, formats, columns, rows, outlives: false, given: 0 });
        let row = CursorRow { text: parsed.text.clone(), hold: declare.hold, binary: declare.binary, scroll: false };
        self.session.handle().add_cursor(name, row);
        self.portals.insert(name.clone(), portal);
        Ok(Output::Done("DECLARE CURSOR".into()))
    }

    fn cursor(&self, name: &str) -> Result<&Cursor> {
        let missing = || Error::new(SqlState::InvalidCursorName, format!("cursor \"{name}\" does not exist"));
        self.portals.get(name).and_then(|portal| portal.cursor.as_ref()).ok_or_else(missing)
    }

    /// The columns that a FETCH of the cursor or portal gives.
    pub(super) fn portal_columns(&self, name: &str) -> Result<Arc<[OutputColumn]>> {
        match self.portals.get(name).map(Portal::description).transpose()?.flatten() {
            Some((columns, _)) => Ok(columns),
            None => Ok(Arc::clone(&self.cursor(name)?.columns)),
        }
    }

    /// A portal that Bind made is a cursor too: FETCH and MOVE read on where Execute stopped.
    async fn adopt(&mut self, name: &str) -> Result<()> {
        let Some(portal) = self.portals.get(name).filter(|portal| portal.cursor.is_none()) else { return Ok(()) };
        if portal.is_ready()
            && matches!(portal.prepared.parsed.statement, Statement::Query(_))
            && let Some(portal) = self.portals.remove(name)
        {
            Box::pin(self.start(name, portal)).await?;
        }
        let Some(portal) = self.portals.get_mut(name) else { return Ok(()) };
        match std::mem::replace(&mut portal.state, State::Ready) {
            State::Rows(rows) => {
                let (columns, formats) = (Arc::clone(&rows.columns), rows.formats.clone());
                let rows = Arc::new(Mutex::new(rows));
                let format = Format::Text;
                portal.cursor = Some(Cursor { hold: false, format, formats, columns, rows, outlives: false, given: 0 });
            }
            other => portal.state = other,
        }
        Ok(())
    }

    pub(super) fn is_binary_cursor(&self, name: &str) -> bool {
        self.portals
            .get(name)
            .and_then(|portal| portal.cursor.as_ref())
            .is_some_and(|cursor| cursor.format == Format::Binary)
    }

    pub(super) async fn fetch(&mut self, fetch: &Fetch, guard: &Guard) -> Result<Output> {
        self.adopt(&fetch.cursor.value).await?;
        let cursor = self.cursor(&fetch.cursor.value)?;
        let (rows, columns) = (Arc::clone(&cursor.rows), Arc::clone(&cursor.columns));
        let mut locked = rows.lock().await;
        locked.rearm(guard.clone());
        let step = step_of(fetch.direction, &locked)?;
        if fetch.moves {
            let moved = walk(&mut locked, step).await?;
            return Ok(Output::Done(format!("MOVE {moved}")));
        }
        if let Step::One { skip } = step {
            skip_rows(&mut locked, skip).await?;
        }
        drop(locked);
        let stream = match step {
            Step::Rows(limit) => pull(rows, limit),
            Step::One { .. } => pull(rows, Some(1)),
            Step::Again => again(rows),
        };
        Ok(Output::Rows { columns, stream, tag: RowsTag::Counted("FETCH") })
    }

    pub(super) fn close_cursor(&mut self, name: Option<&Name>) -> Result<Output> {
        let Some(name) = name else {
            let cursors: Vec<String> = self
                .portals
                .iter()
                .filter(|(_, portal)| portal.cursor.is_some())
                .map(|(name, _)| name.clone())
                .collect();
            for name in cursors {
                self.close_portal(&name);
            }
            return Ok(Output::Done("CLOSE CURSOR ALL".into()));
        };
        self.cursor(&name.value)?;
        self.close_portal(&name.value);
        Ok(Output::Done("CLOSE CURSOR".into()))
    }
}

/// Where the direction leads from here; 55000 when it leads back.
fn step_of(direction: FetchDirection, rows: &Rows) -> Result<Step> {
    let backward = || {
        Err(Error::new(SqlState::ObjectNotInPrerequisiteState, "cursor can only scan forward")
            .with_hint("A cursor streams its rows: it goes forward only."))
    };
    match direction {
        FetchDirection::Forward(0) | FetchDirection::Relative(0) => Ok(Step::Again),
        FetchDirection::Forward(count) => Ok(Step::Rows(Some(count))),
        FetchDirection::ForwardAll => Ok(Step::Rows(None)),
        FetchDirection::Relative(count) if count > 0 => Ok(Step::One { skip: count.unsigned_abs() - 1 }),
        FetchDirection::Absolute(place) if place > 0 && place.unsigned_abs() > rows.position => {
            Ok(Step::One { skip: place.unsigned_abs() - rows.position - 1 })
        }
        FetchDirection::Absolute(place) if place > 0 && place.unsigned_abs() == rows.position => Ok(Step::Again),
        FetchDirection::Backward(_)
        | FetchDirection::BackwardAll
        | FetchDirection::Absolute(_)
        | FetchDirection::Relative(_) => backward(),
    }
}

/// MOVE: how many rows a FETCH of the same direction would have given.
async fn walk(rows: &mut Rows, step: Step) -> Result<u64> {
    match step {
        Step::Rows(limit) => skip_rows(rows, limit.unwrap_or(u64::MAX)).await,
        Step::One { skip } => {
            skip_rows(rows, skip).await?;
            skip_rows(rows, 1).await
        }
        Step::Again => Ok(u64::from(rows.current.is_some())),
    }
}

async fn skip_rows(rows: &mut Rows, count: u64) -> Result<u64> {
    let mut left = count;
    while left > 0 {
        let Some(batch) = rows.next(Some(usize::try_from(left).unwrap_or(usize::MAX))).await? else { break };
        left -= batch.num_rows() as u64;
    }
    Ok(count - left)
}

/// At most `limit` rows of the cursor, pulled as they are asked for.
fn pull(rows: Arc<Mutex<Rows>>, limit: Option<u64>) -> BatchStream {
    let start = (rows, limit.unwrap_or(u64::MAX));
    Box::pin(futures::stream::try_unfold(start, |(rows, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let batch = rows.lock().await.next(Some(usize::try_from(left).unwrap_or(usize::MAX))).await?;
        Ok(batch.map(|batch| {
            let left = left - batch.num_rows() as u64;
            (batch, (rows, left))
        }))
    }))
}

/// FETCH 0: the row the cursor stands on.
fn again(rows: Arc<Mutex<Rows>>) -> BatchStream {
    Box::pin(futures::stream::try_unfold(Some(rows), |rows| async move {
        let Some(rows) = rows else { return Ok(None) };
        let current = rows.lock().await.current.clone();
        Ok(current.map(|row| (row, None)))
    }))
}
