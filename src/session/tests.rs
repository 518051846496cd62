//! The states of a transaction, cancel keys and limits.

use std::sync::Arc;

use super::registry::{Limits, Newcomer};
use super::settings::ServerSettings;
use super::*;
use crate::builtins::SessionView;

fn newcomer(user: &str, superuser: bool) -> Newcomer {
    Newcomer {
        user: user.to_owned(),
        superuser,
        connection_limit: -1,
        database: "lakegate".to_owned(),
        client_address: None,
    }
}

fn registry() -> Arc<Registry> {
    Registry::new(Limits { connections_max: 3, superuser_reserved: 1 })
}

fn connect(registry: &Arc<Registry>, user: &str, superuser: bool) -> Session {
    let registration = registry.register(newcomer(user, superuser)).unwrap();
    Session::new(registration, Settings::new(Arc::new(ServerSettings::new([]).unwrap())), None)
}

fn warnings(session: &Session) -> Vec<(&'static str, String)> {
    session.take_notices().iter().map(|notice| (notice.sqlstate().code(), notice.message().to_owned())).collect()
}

#[test]
fn begin_and_commit_warn_where_postgresql_warns() {
    let mut session = connect(&registry(), "u", false);
    let now = Utc::now();
    session.begin(Modes::default(), now).unwrap();
    session.begin(Modes::default(), now).unwrap();
    assert_eq!(warnings(&session), [("25001", "there is already a transaction in progress".to_owned())]);
    assert_eq!(session.commit(false, now).unwrap().tag(), "COMMIT");
    assert_eq!(session.commit(false, now).unwrap().tag(), "COMMIT");
    assert_eq!(warnings(&session), [("25P01", "there is no transaction in progress".to_owned())]);
    assert_eq!(
        session.commit(true, now).unwrap_err().message(),
        "COMMIT AND CHAIN can only be used in transaction blocks"
    );
}

#[test]
fn a_failed_block_refuses_everything_and_its_commit_is_a_rollback() {
    let mut session = connect(&registry(), "u", false);
    let now = Utc::now();
    session.begin(Modes::default(), now).unwrap();
    session.set("statement_timeout", Some("1s"), false).unwrap();
    session.fail();
    assert_eq!(session.check_not_failed().unwrap_err().sqlstate().code(), "25P02");
    assert_eq!(session.commit(false, now).unwrap().tag(), "ROLLBACK");
    assert_eq!(session.settings().statement_timeout(), None);
    assert!(matches!(session.transaction, Transaction::Idle));
}

#[test]
fn a_failed_statement_outside_a_block_leaves_the_session_idle() {
    let mut session = connect(&registry(), "u", false);
    session.start_statement(Utc::now());
    session.set("statement_timeout", Some("1s"), false).unwrap();
    session.fail();
    assert!(matches!(session.transaction, Transaction::Idle));
    assert_eq!(session.settings().statement_timeout(), None);
    session.start_statement(Utc::now());
    session.set("statement_timeout", Some("1s"), false).unwrap();
    session.end_implicit();
    assert!(session.settings().statement_timeout().is_some());
}

#[test]
fn read_only_transactions_refuse_writes_and_chain_keeps_it() {
    let mut session = connect(&registry(), "u", false);
    let now = Utc::now();
    session.begin(Modes { read_only: Some(true), ..Modes::default() }, now).unwrap();
    let error = session.check_writable("INSERT").unwrap_err();
    assert_eq!(error.message(), "cannot execute INSERT in a read-only transaction");
    session.commit(true, now).unwrap();
    assert!(session.check_writable("INSERT").is_err());
    session.rollback(false, now).unwrap();
    assert!(session.check_writable("INSERT").is_ok());
    let modes = Modes { read_only: Some(true), isolation: Some(Isolation::RepeatableRead), deferrable: None };
    session.start_statement(now);
    session.set_session_characteristics(modes).unwrap();
    session.end_implicit();
    session.start_statement(now);
    assert!(session.check_writable("INSERT").is_err());
    assert_eq!(session.handle().setting("transaction_isolation").unwrap(), "repeatable read");
}

#[test]
fn isolation_is_settled_by_the_first_query() {
    let mut session = connect(&registry(), "u", false);
    session.begin(Modes::default(), Utc::now()).unwrap();
    session.note_query();
    let modes = Modes { isolation: Some(Isolation::RepeatableRead), ..Modes::default() };
    assert_eq!(session.set_transaction(modes).unwrap_err().sqlstate().code(), "25001");
    let serializable = Modes { isolation: Some(Isolation::Serializable), ..Modes::default() };
    session.rollback(false, Utc::now()).unwrap();
    assert_eq!(session.begin(serializable, Utc::now()).unwrap_err().sqlstate().code(), "0A000");
}

#[test]
fn a_cancel_key_must_match_and_hits_only_the_running_statement() {
    let registry = registry();
    let session = connect(&registry, "u", false);
    let now = Utc::now();
    let token = session.entry().start_statement("SELECT 1", now, now);
    registry.cancel(session.pid(), &[0; 32]);
    registry.cancel(session.pid(), &[]);
    registry.cancel(session.pid() + 1, session.secret());
    assert!(!token.is_cancelled());
    registry.cancel(session.pid(), &session.secret()[..4]);
    assert!(token.is_cancelled());
    session.entry().end_statement(&session.transaction, now);
    registry.cancel(session.pid(), session.secret());
    assert!(!session.entry().start_statement("SELECT 2", now, now).is_cancelled());
}

#[test]
fn limits_refuse_with_53300_and_a_dropped_session_makes_room() {
    let registry = registry();
    let first = connect(&registry, "u", false);
    let _second = connect(&registry, "u", false);
    let reserved = registry.register(newcomer("u", false)).unwrap_err();
    assert_eq!((reserved.sqlstate().code(), reserved.level()), ("53300", Severity::Fatal));
    let _third = connect(&registry, "root", true);
    let full = registry.register(newcomer("root", true)).unwrap_err();
    assert_eq!(full.message(), "sorry, too many clients already");
    drop(first);
    assert!(registry.register(newcomer("root", true)).is_ok());
}

#[test]
fn only_a_superuser_may_stop_the_statements_of_others() {
    let registry = registry();
    let user = connect(&registry, "u", false);
    let root = connect(&registry, "root", true);
    assert_eq!(user.handle().cancel_backend(root.pid()).unwrap_err().sqlstate().code(), "42501");
    assert!(!root.handle().cancel_backend(99).unwrap());
    assert!(root.handle().terminate_backend(user.pid()).unwrap());
    assert!(user.entry().termination().is_cancelled());
}

#[test]
fn other_users_texts_are_hidden() {
    let registry = registry();
    let user = connect(&registry, "u", false);
    let root = connect(&registry, "root", true);
    root.entry().start_statement("SELECT secret", Utc::now(), Utc::now());
    let seen = user.handle().activity();
    assert_eq!(seen.iter().find(|row| row.pid == root.pid()).unwrap().query, "<insufficient privilege>");
    let all = root.handle().activity();
    assert_eq!(all.iter().find(|row| row.pid == root.pid()).unwrap().query, "SELECT secret");
}

#[test]
fn a_role_that_was_taken_ends_as_a_setting_does() {
    let mut session = connect(&registry(), "admin", true);
    let now = Utc::now();
    let who = |session: &Session| {
        assert_eq!(session.setting("is_superuser").unwrap() == "on", session.superuser);
        (session.user.clone(), session.superuser)
    };
    session.set_role(None, false);
    session.begin(Modes::default(), now).unwrap();
    session.set_role(Some(("alice", false)), false);
    assert_eq!(who(&session), ("alice".to_owned(), false));
    session.rollback(false, now).unwrap();
    assert_eq!(who(&session), ("admin".to_owned(), true));

    session.begin(Modes::default(), now).unwrap();
    session.set_role(Some(("alice", false)), true);
    session.commit(false, now).unwrap();
    assert_eq!(who(&session), ("admin".to_owned(), true));

    session.begin(Modes::default(), now).unwrap();
    session.set_role(Some(("alice", false)), false);
    session.commit(false, now).unwrap();
    session.begin(Modes::default(), now).unwrap();
    session.set_role(None, false);
    session.fail();
    assert_eq!(who(&session), ("alice".to_owned(), false));
}

#[test]
fn a_role_is_not_taken_by_writing_its_name_down() {
    let mut session = connect(&registry(), "admin", true);
    for name in ["role", "session_authorization"] {
        assert_eq!(session.set(name, Some("alice"), false).unwrap_err().sqlstate().code(), "0A000", "{name}");
        let set = session.handle().set_setting(name, "alice", false);
        assert_eq!(set.unwrap_err().sqlstate().code(), "0A000", "{name}");
        let asked = session.settings().initialize(name, "alice", true, false);
        assert_eq!(asked.unwrap_err().sqlstate().code(), "0A000", "{name}");
    }
}

#[test]
fn time_of_a_transaction_runs_from_its_start_or_from_when_it_was_limited() {
    let mut session = connect(&registry(), "u", false);
    session.set("transaction_timeout", Some("1min"), false).unwrap();
    assert!(session.transaction.deadline().is_none());
    session.begin(Modes::default(), Utc::now()).unwrap();
    session.limit_transaction();
    let first = session.transaction.deadline().unwrap();
    session.set("transaction_timeout", Some("1s"), false).unwrap();
    session.limit_transaction();
    assert_eq!(session.transaction.deadline(), Some(first));
    session.set("transaction_timeout", Some("0"), false).unwrap();
    session.limit_transaction();
    assert!(session.transaction.deadline().is_none());
    session.set("transaction_timeout", Some("1s"), false).unwrap();
    session.limit_transaction();
    assert!(session.transaction.deadline().is_some_and(|deadline| deadline < first));
    session.fail();
    assert!(session.transaction.deadline().is_none());
}
