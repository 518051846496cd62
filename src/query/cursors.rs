//! DECLARE, FETCH, MOVE and CLOSE: SQL's cursors, which are portals that stream.
//!
//! A cursor holds its running query, not its rows: FETCH pulls as many as it was asked for. So it only goes forward, unless
//! it is a SCROLL cursor, which keeps what it has read. A cursor WITH HOLD goes on after its transaction, on the table
//! versions that it was opened on.

use std::sync::Arc;

use chrono::Utc;
use tokio::sync::Mutex;

use super::conversation::Conversation;
use super::guard::Guard;
use super::portal::{Cursor, Portal, Rows, State};
use super::prepared::Prepared;
use super::scroll::Scroll;
use super::spool::Spool;
use crate::builtins::CursorRow;
use crate::encode::types::{Format, OutputColumn};
use crate::error::{Error, Result, SqlState};
use crate::execute::output::{BatchStream, Output, RowsTag};
use crate::sql::{Declare, Fetch, FetchDirection, Name, Parsed, Statement};

/// What a FETCH does to a cursor.
#[derive(Clone, Copy)]
enum Step {
    /// That many rows from here; `None` for all.
    Rows(Option<u64>),
    /// Skip so many, then give one.
    One { skip: u64 },
    /// The row the cursor stands on, again.
    Again,
    /// That many rows back from here; `None` for all. From here on SCROLL cursors only.
    Back(Option<u64>),
    /// Stand on the row of that number; 0 is before the first.
    To(u64),
    /// Stand on the row of that number from the end.
    ToLast(u64),
}

impl Conversation {
    pub(super) async fn declare(&mut self, declare: &Declare, parsed: &Parsed, guard: &Guard) -> Result<Output> {
        let name = &declare.name.value;
        if !declare.hold && !self.session.transaction.in_block() && !self.in_message_block() {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(Error::new(SqlState::NoActiveSqlTransaction, message));
        }
        self.check_new_portal(name)?;
        let inner = Parsed { statement: Statement::Query(declare.query.clone()), ..parsed.clone() };
        let prepared = Arc::new(Prepared::unbound(inner));
        let Output::Rows { columns, stream, .. } = self.open_query(&prepared, guard).await? else {
            return Err(Error::internal("a cursor's query gave no rows"));
        };
        let format = if declare.binary { Format::Binary } else { Format::Text };
        let mut portal = Portal::new(Arc::clone(&prepared), Vec::new(), vec![format], self.style());
        let output = Output::Rows { columns, stream, tag: RowsTag::Counted("FETCH") };
        let State::Rows(mut rows) = State::from_output(output, &[format], guard.clone())? else {
            return Err(Error::internal("a cursor's query gave no rows"));
        };
        if declare.scroll == Some(true) {
            rows.scroll = Some(Box::new(Scroll::new(Spool::new(Arc::clone(&self.service.ground.engine)))));
        }
        let columns = Arc::clone(&rows.columns);
        let rows = Arc::new(Mutex::new(rows));
        let formats = vec![format; columns.len()];
        portal.cursor = Some(Cursor { hold: declare.hold, format, formats, columns, rows, outlives: false, given: 0 });
        self.session.handle().add_cursor(CursorRow {
            name: name.clone(),
            text: Arc::clone(&parsed.source),
            hold: declare.hold,
            binary: declare.binary,
            scroll: declare.scroll == Some(true),
            created: Utc::now(),
        });
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
        if locked.broken {
            let message = format!("portal \"{}\" cannot be run", fetch.cursor.value);
            return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message));
        }
        locked.rearm(guard.clone());
        let step = step_of(fetch.direction, &locked)?;
        if fetch.moves {
            let moved = walk(&mut locked, step).await?;
            return Ok(Output::Done(format!("MOVE {moved}")));
        }
        match step {
            Step::One { skip } => {
                skip_rows(&mut locked, skip).await?;
            }
            Step::To(row) => locked.go_to(row).await?,
            Step::ToLast(from_end) => locked.go_to_last(from_end).await?,
            Step::Rows(_) | Step::Again | Step::Back(_) => {}
        }
        drop(locked);
        let stream = match step {
            Step::Rows(limit) => pull(rows, limit, Direction::Forward),
            Step::Back(limit) => pull(rows, limit, Direction::Backward),
            Step::One { .. } => pull(rows, Some(1), Direction::Forward),
            Step::Again | Step::To(_) | Step::ToLast(_) => again(rows),
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

/// Where the direction leads from here.
fn step_of(direction: FetchDirection, rows: &Rows) -> Result<Step> {
    if rows.scroll.is_some() { Ok(scrolling(direction, rows.place())) } else { streaming(direction, rows.position) }
}

fn scrolling(direction: FetchDirection, place: u64) -> Step {
    match direction {
        FetchDirection::Forward(0) | FetchDirection::Backward(0) | FetchDirection::Relative(0) => Step::Again,
        FetchDirection::Forward(count) => Step::Rows(Some(count)),
        FetchDirection::ForwardAll => Step::Rows(None),
        FetchDirection::Backward(count) => Step::Back(Some(count)),
        FetchDirection::BackwardAll => Step::Back(None),
        FetchDirection::Relative(count) => Step::To(place.saturating_add_signed(count)),
        FetchDirection::Absolute(row) if row < 0 => Step::ToLast(row.unsigned_abs()),
        FetchDirection::Absolute(row) => Step::To(row.unsigned_abs()),
    }
}

/// 55000 when it leads back.
fn streaming(direction: FetchDirection, position: u64) -> Result<Step> {
    match direction {
        FetchDirection::Forward(0) | FetchDirection::Relative(0) => Ok(Step::Again),
        FetchDirection::Forward(count) => Ok(Step::Rows(Some(count))),
        FetchDirection::ForwardAll => Ok(Step::Rows(None)),
        FetchDirection::Relative(count) if count > 0 => Ok(Step::One { skip: count.unsigned_abs() - 1 }),
        FetchDirection::Absolute(place) if place > 0 && place.unsigned_abs() > position => {
            Ok(Step::One { skip: place.unsigned_abs() - position - 1 })
        }
        FetchDirection::Absolute(place) if place > 0 && place.unsigned_abs() == position => Ok(Step::Again),
        FetchDirection::Backward(_)
        | FetchDirection::BackwardAll
        | FetchDirection::Absolute(_)
        | FetchDirection::Relative(_) => {
            Err(Error::new(SqlState::ObjectNotInPrerequisiteState, "cursor can only scan forward")
                .with_hint("Declare it with SCROLL option to enable backward scan."))
        }
    }
}

/// MOVE: how many rows a FETCH of the same direction would have given.
async fn walk(rows: &mut Rows, step: Step) -> Result<u64> {
    match step {
        Step::Rows(limit) => return skip_rows(rows, limit.unwrap_or(u64::MAX)).await,
        Step::One { skip } => {
            skip_rows(rows, skip).await?;
            return skip_rows(rows, 1).await;
        }
        Step::Back(limit) => return skip_back(rows, limit.unwrap_or(u64::MAX)).await,
        Step::To(row) => rows.go_to(row).await?,
        Step::ToLast(from_end) => rows.go_to_last(from_end).await?,
        Step::Again => {}
    }
    Ok(u64::from(rows.current.is_some()))
}

async fn skip_rows(rows: &mut Rows, count: u64) -> Result<u64> {
    let mut left = count;
    while left > 0 {
        let Some(batch) = rows.next(Some(bounded(left))).await? else { break };
        left -= batch.num_rows() as u64;
    }
    Ok(count - left)
}

async fn skip_back(rows: &mut Rows, count: u64) -> Result<u64> {
    let mut left = count;
    while left > 0 {
        let Some(batch) = rows.backward(bounded(left)).await? else { break };
        left -= batch.num_rows() as u64;
    }
    Ok(count - left)
}

fn bounded(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

#[derive(Clone, Copy)]
enum Direction {
    Forward,
    Backward,
}

/// At most `limit` rows of the cursor, pulled as they are asked for.
fn pull(rows: Arc<Mutex<Rows>>, limit: Option<u64>, direction: Direction) -> BatchStream {
    let start = (rows, limit.unwrap_or(u64::MAX));
    Box::pin(futures::stream::try_unfold(start, move |(rows, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut locked = rows.lock().await;
        let batch = match direction {
            Direction::Forward => locked.next(Some(bounded(left))).await?,
            Direction::Backward => locked.backward(bounded(left)).await?,
        };
        drop(locked);
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
