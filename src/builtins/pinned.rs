//! A session some of whose settings stand as they were when something was defined.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::{Activity, Context, CursorRow, PreparedRow, SessionView, SettingRow};
use crate::encode::TextTimeZone;
use crate::error::Result;

#[derive(Debug)]
struct Pinned {
    session: Arc<dyn SessionView>,
    /// By name in lower case.
    settings: BTreeMap<String, String>,
}

impl SessionView for Pinned {
    fn setting(&self, name: &str) -> Result<String> {
        match self.settings.get(&name.to_ascii_lowercase()) {
            Some(value) => Ok(value.clone()),
            None => self.session.setting(name),
        }
    }
    fn set_setting(&self, name: &str, value: &str, local: bool) -> Result<String> {
        self.session.set_setting(name, value, local)
    }
    fn settings(&self) -> Vec<SettingRow> {
        self.session.settings()
    }
    fn activity(&self) -> Vec<Activity> {
        self.session.activity()
    }
    fn cancel_backend(&self, pid: i32) -> Result<bool> {
        self.session.cancel_backend(pid)
    }
    fn terminate_backend(&self, pid: i32) -> Result<bool> {
        self.session.terminate_backend(pid)
    }
    fn prepared_statements(&self) -> Vec<PreparedRow> {
        self.session.prepared_statements()
    }
    fn cursors(&self) -> Vec<CursorRow> {
        self.session.cursors()
    }
}

impl Context {
    /// This context with other settings; `time_zone` is what `TimeZone` among them says.
    pub fn pinned(&self, settings: &BTreeMap<&str, &str>, time_zone: TextTimeZone) -> Self {
        let settings = settings.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())).collect();
        let session = Arc::new(Pinned { session: Arc::clone(&self.session), settings });
        Self { session, time_zone, ..self.clone() }
    }
}
