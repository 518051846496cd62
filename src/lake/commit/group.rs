//! Appends that come while another commit of the table is under way become one commit: a put costs the same for one file and
//! for many, and the log stays short.

use std::collections::HashMap;
use std::sync::Arc;

use deltalake::kernel::{Action, Add};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Committed, Failure, Target, actions, check, commit_on};
use crate::error::{Error, Result};
use crate::lake::stores::Resolved;
use crate::lake::table::Table;
use crate::lake::write::Operation;
use crate::lake::{Freshness, Lake};

/// Statements whose files go into one commit at most.
const GROUP_MAX: usize = 256;

/// The appends that wait, by table.
#[derive(Debug, Default)]
pub(in crate::lake) struct Groups(Mutex<HashMap<String, Vec<Member>>>);

/// What one statement appends.
#[derive(Debug)]
struct Member {
    /// The version that its rows were checked for.
    planned: Arc<Table>,
    adds: Vec<Add>,
    operation: Operation,
    answer: oneshot::Sender<Result<Committed, Failure>>,
}

pub(in crate::lake) type Waiting = oneshot::Receiver<Result<Committed, Failure>>;

impl Groups {
    /// Puts an append in the line. Who has joined must call [`commit`] when it holds the table's queue.
    pub(in crate::lake) fn join(
        &self,
        location: &Resolved,
        planned: &Arc<Table>,
        adds: &[Add],
        operation: &Operation,
    ) -> Waiting {
        let (answer, waiting) = oneshot::channel();
        let member = Member { planned: Arc::clone(planned), adds: adds.to_vec(), operation: operation.clone(), answer };
        self.0.lock().entry(location.location.to_string()).or_default().push(member);
        waiting
    }

    /// Takes those out of the line whose statements were ended.
    pub(in crate::lake) fn leave(&self, location: &Resolved) {
        let mut groups = self.0.lock();
        if let Some(waiting) = groups.get_mut(location.location.as_str()) {
            waiting.retain(|member| !member.operation.decision.is_abandoned());
        }
        groups.retain(|_, waiting| !waiting.is_empty());
    }

    /// The appends that have waited longest; `None` when none has.
    fn take(&self, location: &Resolved) -> Option<Vec<Member>> {
        let mut groups = self.0.lock();
        let waiting = groups.get_mut(location.location.as_str())?;
        let rest = waiting.split_off(waiting.len().min(GROUP_MAX));
        let taken = std::mem::replace(waiting, rest);
        if waiting.is_empty() {
            groups.remove(location.location.as_str());
        }
        Some(taken)
    }
}

/// Commits what waits unless somebody else has committed this one already. The caller holds the table's queue.
pub(in crate::lake) async fn commit(
    lake: &Lake,
    location: &Resolved,
    mut waiting: Waiting,
) -> Result<Committed, Failure> {
    loop {
        if let Ok(answer) = waiting.try_recv() {
            return answer;
        }
        let Some(members) = lake.groups.take(location) else {
            return Err(Error::internal("an append was lost in the queue").into());
        };
        let members = entered(members);
        if !members.is_empty() {
            commit_members(lake, location, members).await;
        }
    }
}

/// Those whose statements were not ended while they waited.
fn entered(members: Vec<Member>) -> Vec<Member> {
    let enter = |member: Member| match member.operation.decision.enter() {
        Ok(()) => Some(member),
        Err(error) => {
            let _ = member.answer.send(Err(error.into()));
            None
        }
    };
    members.into_iter().filter_map(enter).collect()
}

async fn commit_members(lake: &Lake, location: &Resolved, mut members: Vec<Member>) {
    let answer = match base(lake, location, &members).await {
        Ok(base) => {
            let operation = operation(&members);
            let planned = |base: Option<&Table>| {
                refuse(&mut members, base);
                let Some(first) = members.first() else { return Err(Error::internal("an empty group of appends")) };
                let (_, described) = actions(location, &Target::Append(Arc::clone(&first.planned)), base, &[])?;
                let adds = members.iter().flat_map(|member| member.adds.iter().cloned().map(Action::Add));
                Ok((adds.collect(), described))
            };
            commit_on(lake, location, Some(base), &operation, None, planned).await
        }
        Err(error) => Err(error.into()),
    };
    for member in members {
        // Whoever waits gave up only with the process.
        let _ = member.answer.send(answer.clone());
    }
}

/// A version at least as new as all that were planned for.
async fn base(lake: &Lake, location: &Resolved, members: &[Member]) -> Result<Arc<Table>> {
    let newest = members.iter().map(|member| member.planned.version()).max().unwrap_or_default();
    lake.cache.table(location, Freshness::AtLeast(newest)).await
}

/// Sends those away whose rows do not fit the table any more.
fn refuse(members: &mut Vec<Member>, base: Option<&Table>) {
    let mut staying = Vec::with_capacity(members.len());
    for member in members.drain(..) {
        let stands = member.operation.standing.as_ref().map_or(Ok(()), |standing| standing.check());
        match stands.and_then(|()| check(&Target::Append(Arc::clone(&member.planned)), base)) {
            Ok(()) => staying.push(member),
            Err(error) => {
                let _ = member.answer.send(Err(error.into()));
            }
        }
    }
    *members = staying;
}

/// One statement's operation, or that of many.
fn operation(members: &[Member]) -> Operation {
    match members {
        [one] => one.operation.clone(),
        many => {
            let mut operation = Operation::new("INSERT");
            operation.parameters.push(("statements".to_owned(), many.len().to_string()));
            for (name, value) in many.iter().flat_map(|member| &member.operation.metrics) {
                operation.add_metric(name, *value);
            }
            operation
        }
    }
}
