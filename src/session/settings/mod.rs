//! The table of settings and one session's values.
//!
//! A value is looked for in three layers: what the session SET, what the client asked for at startup, and the server's own.
//! SET is undone by ROLLBACK and SET LOCAL by the end of the transaction, as in PostgreSQL. Nothing here does what a setting
//! says: `query`, `execute` and `encode` ask through the typed accessors.

mod accessors;
mod date_style;
mod definition;
mod search_path;
mod stack;
mod table;
#[cfg(test)]
mod tests;
mod time_zone;
mod value;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

pub use accessors::{Logged, isolation_name};
pub use definition::{Definition, Kind, Scope, TextRule, Unit};
pub use stack::Mark;
pub use table::{DEFINITIONS, SERVER_VERSION, SERVER_VERSION_NUM};
pub use time_zone::zone_named;
pub use value::Value;

use crate::builtins::SettingRow;
use crate::encode::TextStyle;
use crate::error::{Error, Result, SqlState};
use stack::Undo;

/// A class of names that nobody may invent settings in.
const RESERVED_CLASS: &str = "lakegate";

/// Settings that belong to the running transaction and end with it, however they were set.
const OF_TRANSACTION: [&str; 3] = ["transaction_isolation", "transaction_read_only", "transaction_deferrable"];

/// Settings that say who the session is.
const OF_ROLE: [&str; 3] = ["is_superuser", "role", "session_authorization"];

static POSITIONS: LazyLock<HashMap<String, usize>> = LazyLock::new(|| {
    DEFINITIONS.iter().enumerate().map(|(at, definition)| (definition.name.to_ascii_lowercase(), at)).collect()
});

/// A setting of the table, or one with a name of the user's (`class.name`, folded to lower case).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Known(usize),
    Custom(String),
}

impl Key {
    fn definition(&self) -> Option<&'static Definition> {
        match self {
            Self::Known(at) => DEFINITIONS.get(*at),
            Self::Custom(_) => None,
        }
    }

    fn is_of_transaction(&self) -> bool {
        self.definition().is_some_and(|definition| OF_TRANSACTION.contains(&definition.name))
    }

    fn is_of_role(&self) -> bool {
        self.definition().is_some_and(|definition| OF_ROLE.contains(&definition.name))
    }

    /// The key of a name that exists or that a session may make; 42704 and 42602 otherwise.
    fn find(name: &str) -> Result<Self> {
        let folded = name.to_ascii_lowercase();
        if let Some(at) = POSITIONS.get(&folded) {
            return Ok(Self::Known(*at));
        }
        match folded.split_once('.') {
            None => Err(unknown(name)),
            Some((RESERVED_CLASS, _)) => {
                Err(invalid_name(name).with_detail(format!("\"{RESERVED_CLASS}\" is a reserved prefix.")))
            }
            Some(_) if folded.split('.').all(is_identifier) => Ok(Self::Custom(folded)),
            Some(_) => Err(invalid_name(name)
                .with_detail("Custom parameter names must be two or more simple identifiers separated by dots.")),
        }
    }
}

fn is_identifier(part: &str) -> bool {
    let mut characters = part.chars();
    characters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && characters.all(|c| c.is_alphanumeric() || c == '_' || c == '$')
}

fn unknown(name: &str) -> Error {
    Error::new(SqlState::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))
}

fn invalid_name(name: &str) -> Error {
    Error::new(SqlState::InvalidName, format!("invalid configuration parameter name \"{name}\""))
}

/// The server's values: defaults of the table, changed by the configuration. Made once and shared by all sessions.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    values: Vec<Value>,
    configured: Vec<bool>,
}

impl ServerSettings {
    /// The table's defaults under the configuration's values. Errors are those of SET.
    pub fn new<'a>(configured: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut settings = Self {
            values: DEFINITIONS.iter().map(Value::default_of).collect(),
            configured: vec![false; DEFINITIONS.len()],
        };
        for (name, text) in configured {
            settings.assign(name, text)?;
        }
        Ok(settings)
    }

    /// 55P02 for a setting that no session may change: the server's own configuration decides it.
    pub fn check_configurable(name: &str) -> Result<()> {
        let refuse = |definition: &Definition| {
            let message = format!("parameter \"{}\" cannot be set in the section [settings]", definition.name);
            Err(Error::new(SqlState::CantChangeRuntimeParam, message)
                .with_hint("It follows from the configuration's other sections, or is fixed."))
        };
        let at = *POSITIONS.get(&name.to_ascii_lowercase()).ok_or_else(|| unknown(name))?;
        match DEFINITIONS.get(at) {
            Some(definition) => match definition.scope {
                Scope::User | Scope::Superuser if !OF_ROLE.contains(&definition.name) => Ok(()),
                Scope::User | Scope::Superuser | Scope::Internal | Scope::Postmaster | Scope::Sighup => {
                    refuse(definition)
                }
            },
            None => Err(unknown(name)),
        }
    }

    /// Gives a setting of any scope the server's value. 42704 for a name that is not in the table.
    pub fn assign(&mut self, name: &str, text: &str) -> Result<()> {
        let at = *POSITIONS.get(&name.to_ascii_lowercase()).ok_or_else(|| unknown(name))?;
        let Some(definition) = DEFINITIONS.get(at) else { return Err(unknown(name)) };
        let parsed = value::parse(definition, text)?;
        if let (Some(value), Some(configured)) = (self.values.get_mut(at), self.configured.get_mut(at)) {
            *value = parsed;
            *configured = true;
        }
        Ok(())
    }
}

/// One session's settings.
#[derive(Debug)]
pub struct Settings {
    server: Arc<ServerSettings>,
    /// What the client asked for when it connected, and what the server knows about the session: RESET goes back to it.
    initial: HashMap<Key, Value>,
    /// What the session SET.
    session: HashMap<Key, Value>,
    undo: Option<Undo>,
    /// What the client was last told, by position in the table.
    reported: HashMap<usize, String>,
    /// Whether a value may differ from what the client was told.
    changed: bool,
    style: Option<TextStyle>,
}

impl Settings {
    pub fn new(server: Arc<ServerSettings>) -> Self {
        Self {
            server,
            initial: HashMap::new(),
            session: HashMap::new(),
            undo: None,
            reported: HashMap::new(),
            changed: true,
            style: None,
        }
    }

    /// A value asked for in the startup message, or (with `trusted`) one that the server itself knows, such as
    /// `session_authorization`. RESET goes back to it.
    pub fn initialize(&mut self, name: &str, text: &str, superuser: bool, trusted: bool) -> Result<()> {
        let key = Key::find(name)?;
        if !trusted {
            check_scope(&key, superuser)?;
            check_role_unset(&key)?;
        }
        let value = parse(&key, text)?;
        self.initial.insert(key, value);
        self.touch();
        Ok(())
    }

    /// The value as SHOW prints it; 42704 for an unknown name.
    pub fn get(&self, name: &str) -> Result<String> {
        let key = Key::find(name).map_err(|_| unknown(name))?;
        let value = self.value(&key).ok_or_else(|| unknown(name))?;
        Ok(value.shown(key.definition()))
    }

    /// The name of SHOW's column: as the table spells it. 42704 for a name that nothing could have.
    pub fn canonical_name(name: &str) -> Result<String> {
        match Key::find(name).map_err(|_| unknown(name))? {
            Key::Known(at) => DEFINITIONS.get(at).map(|found| found.name.to_owned()).ok_or_else(|| unknown(name)),
            Key::Custom(folded) => Ok(folded),
        }
    }

    /// SET, or SET LOCAL (until the end of the transaction). Answers the new value as SHOW prints it. Roles are
    /// [`Settings::set_role`]'s: 0A000.
    pub fn set(&mut self, name: &str, text: &str, local: bool, superuser: bool) -> Result<String> {
        let key = Key::find(name)?;
        check_scope(&key, superuser)?;
        check_role_unset(&key)?;
        let value = parse(&key, text)?;
        let shown = value.shown(key.definition());
        let local = local || key.is_of_transaction();
        self.assign(key, Some(value), local);
        Ok(shown)
    }

    /// SET … = DEFAULT and RESET.
    pub fn reset(&mut self, name: &str, local: bool, superuser: bool) -> Result<()> {
        let key = Key::find(name)?;
        check_scope(&key, superuser)?;
        check_role_unset(&key)?;
        let local = local || key.is_of_transaction();
        self.assign(key, None, local);
        Ok(())
    }

    /// RESET ALL, also a part of DISCARD ALL. What belongs to the transaction or says who one is stays.
    pub fn reset_all(&mut self) {
        let keys: Vec<Key> = self.session.keys().filter(|key| !is_kept_by_reset_all(key)).cloned().collect();
        for key in keys {
            self.assign(key, None, false);
        }
    }

    /// SET ROLE: who the session now is (`none`: who it came as), and whether that is a superuser.
    pub fn set_role(&mut self, role: &str, superuser: bool, local: bool) {
        for (name, value) in [("role", Value::Text(role.to_owned())), ("is_superuser", Value::Bool(superuser))] {
            if let Some(at) = POSITIONS.get(name) {
                self.assign(Key::Known(*at), Some(value), local);
            }
        }
    }

    /// `None` takes the session's value away.
    fn assign(&mut self, key: Key, value: Option<Value>, local: bool) {
        if let Some(undo) = &mut self.undo {
            undo.note(&key, self.session.get(&key), value.as_ref(), local);
        }
        match value {
            Some(value) => self.session.insert(key, value),
            None => self.session.remove(&key),
        };
        self.touch();
    }

    fn touch(&mut self) {
        self.changed = true;
        self.style = None;
    }

    fn value(&self, key: &Key) -> Option<&Value> {
        self.session.get(key).or_else(|| self.reset_value(key))
    }

    fn reset_value(&self, key: &Key) -> Option<&Value> {
        self.initial.get(key).or_else(|| match key {
            Key::Known(at) => self.server.values.get(*at),
            Key::Custom(_) => None,
        })
    }

    /// Reported settings whose values differ from what the client was told last; all of them at the first call.
    pub fn take_reported_changes(&mut self) -> Vec<(&'static str, String)> {
        if !std::mem::take(&mut self.changed) {
            return Vec::new();
        }
        let mut changes = Vec::new();
        for (at, definition) in DEFINITIONS.iter().enumerate().filter(|(_, definition)| definition.reported) {
            let Some(value) = self.value(&Key::Known(at)) else { continue };
            let shown = value.shown(Some(definition));
            if self.reported.get(&at) != Some(&shown) {
                self.reported.insert(at, shown.clone());
                changes.push((definition.name, shown));
            }
        }
        changes
    }

    /// A row per setting, for `pg_settings`: numbers in their own units.
    pub fn rows(&self) -> Vec<SettingRow> {
        DEFINITIONS.iter().enumerate().map(|(at, definition)| self.row(at, definition)).collect()
    }

    fn row(&self, at: usize, definition: &'static Definition) -> SettingRow {
        let key = Key::Known(at);
        let (min_val, max_val, unit) = match definition.kind {
            Kind::Int { min, max, unit, .. } => (Some(min.to_string()), Some(max.to_string()), unit.map(Unit::name)),
            Kind::Bool { .. } | Kind::Enum { .. } | Kind::Text { .. } => (None, None, None),
        };
        let enumvals = match definition.kind {
            Kind::Enum { values, .. } => Some(values.to_vec()),
            Kind::Bool { .. } | Kind::Int { .. } | Kind::Text { .. } => None,
        };
        SettingRow {
            name: definition.name,
            setting: self.value(&key).map(Value::plain).unwrap_or_default(),
            unit,
            category: definition.category,
            short_desc: definition.description,
            context: definition.scope.name(),
            vartype: definition.vartype(),
            source: self.source(at),
            min_val,
            max_val,
            enumvals,
            boot_val: Some(Value::default_of(definition).plain()),
            reset_val: self.reset_value(&key).map(Value::plain),
        }
    }

    fn source(&self, at: usize) -> &'static str {
        let key = Key::Known(at);
        if self.session.contains_key(&key) {
            "session"
        } else if self.initial.contains_key(&key) {
            "client"
        } else if self.server.configured.get(at).copied().unwrap_or(false) {
            "configuration file"
        } else {
            "default"
        }
    }

    /// Name, value as SHOW prints it, description: the rows of SHOW ALL, whose custom settings PostgreSQL lists too.
    pub fn shown(&self) -> Vec<(String, String, &'static str)> {
        DEFINITIONS
            .iter()
            .enumerate()
            .filter_map(|(at, definition)| {
                let shown = self.value(&Key::Known(at))?.shown(Some(definition));
                Some((definition.name.to_owned(), shown, definition.description))
            })
            .collect()
    }
}

fn parse(key: &Key, text: &str) -> Result<Value> {
    match key.definition() {
        Some(definition) => value::parse(definition, text),
        None => Ok(Value::Text(text.to_owned())),
    }
}

fn is_kept_by_reset_all(key: &Key) -> bool {
    key.is_of_transaction() || key.is_of_role()
}

/// A role that is only written down would be nobody's: it takes SET ROLE to become another.
fn check_role_unset(key: &Key) -> Result<()> {
    match key.definition() {
        Some(definition) if OF_ROLE.contains(&definition.name) => {
            Err(Error::unsupported(format!("setting \"{}\" in this way", definition.name)).with_hint("Use SET ROLE."))
        }
        Some(_) | None => Ok(()),
    }
}

/// 55P02 for what no session may change, 42501 for what only a superuser may.
fn check_scope(key: &Key, superuser: bool) -> Result<()> {
    let Some(definition) = key.definition() else { return Ok(()) };
    let name = definition.name;
    let fixed = |how: &str| Err(Error::new(SqlState::CantChangeRuntimeParam, format!("parameter \"{name}\" {how}")));
    match definition.scope {
        Scope::User => Ok(()),
        Scope::Superuser if superuser => Ok(()),
        Scope::Superuser => {
            Err(Error::new(SqlState::InsufficientPrivilege, format!("permission denied to set parameter \"{name}\"")))
        }
        Scope::Internal => fixed("cannot be changed"),
        Scope::Postmaster => fixed("cannot be changed without restarting the server"),
        Scope::Sighup => fixed("cannot be changed now"),
    }
}
