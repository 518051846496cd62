//! The catalog's document: plain serde data. Fields may be added, never renamed or removed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, SqlState};
use crate::quality::Expectation;

/// OIDs below this one are PostgreSQL's own and the system schemas'; ours start here, as PostgreSQL's users' do.
pub const FIRST_USER_OID: u32 = 16384;

/// Fixed OIDs of PostgreSQL's initial objects.
pub const PG_CATALOG_SCHEMA_OID: u32 = 11;
pub const PUBLIC_SCHEMA_OID: u32 = 2200;
pub const INFORMATION_SCHEMA_OID: u32 = 13000;
pub const LAKEGATE_SCHEMA_OID: u32 = 13900;
pub const BOOTSTRAP_ROLE_OID: u32 = 10;

/// One version of the catalog.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    /// Format of this document; a newer one than we know is refused.
    pub format: u32,
    pub version: u64,
    /// Made anew by each attempt to commit: tells whose document stands at a version when a put ended without an answer.
    #[serde(default)]
    pub commit_id: String,
    pub next_oid: u32,
    pub database: Database,
    /// By name. `public` is made with the warehouse; system schemas are not listed.
    pub schemas: BTreeMap<String, Schema>,
    pub roles: BTreeMap<String, Role>,
    /// The transactions over several tables that committed last, oldest first.
    #[serde(default)]
    pub transactions: Vec<Transaction>,
    /// Transactions that others gave up: they may no longer commit.
    #[serde(default)]
    pub given_up: Vec<GivenUp>,
    /// The version that committed the newest transaction which is no longer listed.
    #[serde(default)]
    pub forgotten_through: u64,
}

/// A transaction over several tables that has committed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transaction {
    pub id: String,
    /// The version of this catalog that committed it.
    pub version: u64,
    /// Unix time in milliseconds.
    pub at_ms: i64,
    /// Location of each table, and the version that its log had reserved: the next one has the transaction's changes.
    pub tables: BTreeMap<String, u64>,
    /// Whether all logs have the changes.
    #[serde(default)]
    pub applied: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GivenUp {
    pub id: String,
    /// Unix time in milliseconds.
    pub at_ms: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Database {
    pub oid: u32,
    pub name: String,
    pub owner: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Schema {
    pub oid: u32,
    pub owner: u32,
    #[serde(default)]
    pub comment: Option<String>,
    /// Tables and views share one name space, as in PostgreSQL.
    pub relations: BTreeMap<String, Relation>,
    /// Models have a name space of their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, Model>,
    /// Of a schema of temporary relations: whose it is.
    #[serde(default)]
    pub temporary: Option<TemporaryOf>,
}

/// PUBLIC among roles: no role has this OID.
pub const EVERYBODY: u32 = 0;

/// A trained model: its versions never change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Model {
    pub oid: u32,
    pub owner: u32,
    #[serde(default)]
    pub comment: Option<String>,
    /// Roles that may use the model beside its owner; [`EVERYBODY`] for all.
    #[serde(default)]
    pub users: BTreeSet<u32>,
    /// The version that the name alone stands for.
    pub default_version: u32,
    /// Numbers are not given twice.
    pub next_version: u32,
    pub versions: BTreeMap<u32, ModelVersion>,
}

impl Model {
    /// Whether a role may use the model, without being a superuser.
    pub fn may_be_used_by(&self, role: u32) -> bool {
        self.owner == role || self.users.contains(&EVERYBODY) || self.users.contains(&role)
    }
}

/// One training, and where its artifact is. It is entered when the artifact is there whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// Below the warehouse.
    pub artifact: String,
    /// SHA-256 of the artifact, in hexadecimal digits.
    pub checksum: String,
    pub bytes: u64,
    pub model_type: String,
    #[serde(default)]
    pub label: Option<String>,
    pub features: u64,
    /// Rows that it was trained with.
    pub rows: u64,
    /// RFC 3339.
    pub created_at: String,
    /// Who trained it.
    pub role: String,
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
}

/// The server process whose session made a schema of temporary relations: when it is gone, so is the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemporaryOf {
    pub host: String,
    pub process: u32,
    /// When the process began, in its system's own count.
    pub began: String,
    /// RFC 3339.
    pub made: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Relation {
    pub oid: u32,
    pub owner: u32,
    #[serde(default)]
    pub comment: Option<String>,
    /// In order of attribute number. For a table: as of the newest schema this server or another recorded.
    pub columns: Vec<Column>,
    pub kind: RelationKind,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RelationKind {
    Table(Table),
    View(View),
}

impl RelationKind {
    /// What PostgreSQL calls it in messages.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Table(Table { materialized: Some(_), .. }) => "materialized view",
            Self::Table(_) => "table",
            Self::View(View { files: Some(_), .. }) => "external table",
            Self::View(_) => "view",
        }
    }

    /// The query of a view of either kind.
    pub fn query(&self) -> Option<&View> {
        match self {
            Self::View(view) => Some(view),
            Self::Table(table) => table.materialized.as_ref().map(|materialized| &materialized.view),
        }
    }

    /// OIDs of the relations that its query and its rules read.
    fn needs(&self) -> Vec<u32> {
        let query = self.query().into_iter().flat_map(|view| &view.depends_on);
        let rules = match self {
            Self::Table(table) => table.expectations.as_slice(),
            Self::View(_) => &[],
        };
        query.chain(rules.iter().flat_map(|rule| &rule.depends_on)).copied().collect()
    }

    pub fn query_mut(&mut self) -> Option<&mut View> {
        match self {
            Self::View(view) => Some(view),
            Self::Table(table) => table.materialized.as_mut().map(|materialized| &mut materialized.view),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    /// Root URL of the Delta table.
    pub location: String,
    /// Whether the files are ours: they go after DROP.
    pub managed: bool,
    #[serde(default)]
    pub partition_columns: Vec<String>,
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Of both kinds, in the order in which they were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expectations: Vec<Expectation>,
    /// The Delta version that the columns and checks were taken from: a newer one may have others, an older one has no say.
    #[serde(default)]
    pub version: u64,
    /// Of a materialized view: what its rows are.
    #[serde(default)]
    pub materialized: Option<Materialized>,
    /// Of a temporary table that does not keep its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_commit: Option<OnCommit>,
}

/// What becomes of a temporary table when a transaction commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnCommit {
    DeleteRows,
    Drop,
}

/// The definition of a materialized view.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Materialized {
    pub view: View,
    /// Whether it has been filled.
    pub populated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshing: Option<Refreshing>,
}

/// How often a materialized view is refreshed by itself, and how that went. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshing {
    pub every_ms: i64,
    /// As the user gave it.
    pub interval: String,
    /// When it was last begun, or told to begin.
    pub last_ms: i64,
    /// The server that refreshes it has it for itself until then.
    #[serde(default)]
    pub claimed_until_ms: i64,
    /// What the last refresh ended with.
    #[serde(default)]
    pub failure: Option<String>,
}

impl Refreshing {
    pub fn is_due(&self, now_ms: i64) -> bool {
        now_ms >= self.last_ms.saturating_add(self.every_ms) && now_ms >= self.claimed_until_ms
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Check {
    pub oid: u32,
    pub name: String,
    /// SQL text of the condition, as given by the user.
    pub expression: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct View {
    /// SQL text of the query.
    pub query: String,
    /// `search_path` at creation: names in the query are looked up in it.
    pub search_path: Vec<String>,
    /// OIDs of the relations and models in the query: they cannot be dropped without CASCADE.
    #[serde(default)]
    pub depends_on: Vec<u32>,
    /// What the names in the query meant when it was made: relations keep their place in it when they are renamed.
    #[serde(default)]
    pub reads: Vec<ViewRead>,
    /// What the models in the query's calls meant when it was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelRead>,
    /// Of an external table, whose query reads files: its clauses as the user wrote them.
    #[serde(default)]
    pub files: Option<String>,
}

/// A model that a view's query names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRead {
    /// As the query has it, without a version.
    pub name: String,
    pub oid: u32,
    /// What the query was bound with; not known of a view that an earlier program made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ReadVersion>,
}

/// The version of a model that a view was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadVersion {
    /// The query names it.
    Named(u32),
    /// The query names none, and this was the default.
    Default(u32),
}

/// A relation that a view's query names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ViewRead {
    /// As the query has it.
    pub schema: Option<String>,
    pub name: String,
    pub oid: u32,
    /// The relation's columns when the view was made: later ones are not seen.
    pub columns: Vec<ReadColumn>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadColumn {
    /// As the query has it.
    pub name: String,
    /// Its name today.
    pub now: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// PostgreSQL's type OID and typmod.
    pub type_oid: u32,
    pub typmod: i32,
    #[serde(default)]
    pub not_null: bool,
    #[serde(default)]
    pub comment: Option<String>,
    /// SQL texts, as in the Delta log.
    #[serde(default)]
    pub default: Option<String>,
    #[serde(default)]
    pub generated: Option<String>,
}

impl Column {
    pub fn ty(&self) -> crate::encode::types::PgType {
        crate::encode::types::PgType { oid: self.type_oid, typmod: self.typmod }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Role {
    pub oid: u32,
    pub superuser: bool,
    pub login: bool,
    #[serde(default)]
    pub create_role: bool,
    #[serde(default)]
    pub create_database: bool,
    #[serde(default = "yes")]
    pub inherit: bool,
    /// -1 for no limit.
    #[serde(default = "no_limit")]
    pub connection_limit: i32,
    /// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`; never a password.
    #[serde(default)]
    pub verifier: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub valid_until: Option<String>,
}

fn yes() -> bool {
    true
}

fn no_limit() -> i32 {
    -1
}

/// What a statement sees of the catalog: immutable, cheap to clone.
pub type Snapshot = std::sync::Arc<Document>;

impl Document {
    /// The relation of that schema and name.
    pub fn relation(&self, schema: &str, name: &str) -> Option<&Relation> {
        self.schemas.get(schema)?.relations.get(name)
    }

    /// Refuses schemas, relations and models that were made or changed since `before` to need what is not there any more:
    /// somebody else dropped it, or made another version of a model its default.
    ///
    /// # Errors
    /// 40001.
    pub fn check_references(&self, before: &Self) -> Result<()> {
        let (known, now) = (before.by_oid(), self.by_oid());
        for relation in now.values() {
            let old = known.get(&relation.oid).copied();
            let needs = relation.kind.needs();
            let needed = old.map(|old| old.kind.needs()).unwrap_or_default();
            let is_lost =
                |oid: &u32| *oid >= FIRST_USER_OID && !now.contains_key(oid) && self.model_by_oid(*oid).is_none();
            if needs != needed && needs.iter().any(is_lost) {
                return Err(lost("A relation"));
            }
            self.check_models(before, relation, old)?;
        }
        let (known, roles) = (before.role_needs(), self.roles.values().map(|role| role.oid).collect::<BTreeSet<_>>());
        for (oid, (owner, users)) in self.role_needs() {
            let (old_owner, old_users) = known.get(&oid).map_or((None, None), |(owner, users)| (Some(*owner), *users));
            if old_owner != Some(owner) && !roles.contains(&owner) {
                return Err(lost("The owner"));
            }
            let is_new = |user: &&u32| **user != EVERYBODY && old_users.is_none_or(|old| !old.contains(*user));
            if users.into_iter().flatten().filter(is_new).any(|user| !roles.contains(user)) {
                return Err(lost("A role"));
            }
        }
        Ok(())
    }

    /// Refuses a view that was made or replaced since `before` with versions of models that it would not be made with now.
    fn check_models(&self, before: &Self, relation: &Relation, old: Option<&Relation>) -> Result<()> {
        let Some(view) = relation.kind.query().filter(|view| !view.models.is_empty()) else { return Ok(()) };
        let old = old.and_then(|old| old.kind.query());
        if old.is_some_and(|old| old.query == view.query && old.models == view.models) {
            return Ok(());
        }
        for read in &view.models {
            match read.version {
                None => {}
                Some(ReadVersion::Named(version)) => {
                    let model = self.model_by_oid(read.oid);
                    if !model.is_some_and(|(_, _, model)| model.versions.contains_key(&version)) {
                        return Err(lost("A version of a model"));
                    }
                }
                Some(ReadVersion::Default(version)) => {
                    let default =
                        |document: &Self| document.model_by_oid(read.oid).map(|(_, _, model)| model.default_version);
                    // Where this very change has made another one the default, it has looked at the view.
                    if default(self) != Some(version) && default(before) != Some(version) {
                        return Err(overtaken("Another transaction changed the default version of a model."));
                    }
                }
            }
        }
        Ok(())
    }

    /// The roles that schemas, relations and models name, by their OIDs: owners, and users of models.
    fn role_needs(&self) -> HashMap<u32, (u32, Option<&BTreeSet<u32>>)> {
        let mut needs = HashMap::new();
        for schema in self.schemas.values() {
            needs.insert(schema.oid, (schema.owner, None));
            needs.extend(schema.relations.values().map(|relation| (relation.oid, (relation.owner, None))));
            needs.extend(schema.models.values().map(|model| (model.oid, (model.owner, Some(&model.users)))));
        }
        needs
    }

    /// The model of that schema and name.
    pub fn model(&self, schema: &str, name: &str) -> Option<&Model> {
        self.schemas.get(schema)?.models.get(name)
    }

    /// Schema and name of the model with that OID.
    pub fn model_by_oid(&self, oid: u32) -> Option<(&str, &str, &Model)> {
        self.schemas.iter().find_map(|(schema, definition)| {
            let mut models = definition.models.iter();
            models.find(|(_, model)| model.oid == oid).map(|(name, model)| (schema.as_str(), name.as_str(), model))
        })
    }

    fn by_oid(&self) -> HashMap<u32, &Relation> {
        let relations = self.schemas.values().flat_map(|schema| schema.relations.values());
        relations.map(|relation| (relation.oid, relation)).collect()
    }

    /// Takes the next OID.
    pub fn take_oid(&mut self) -> u32 {
        let oid = self.next_oid;
        self.next_oid += 1;
        oid
    }

    /// Schema and name of the relation with that OID.
    pub fn relation_by_oid(&self, oid: u32) -> Option<(&str, &str, &Relation)> {
        self.schemas.iter().find_map(|(schema, definition)| {
            definition
                .relations
                .iter()
                .find(|(_, relation)| relation.oid == oid)
                .map(|(name, relation)| (schema.as_str(), name.as_str(), relation))
        })
    }

    /// Name of the role with that OID.
    pub fn role_name(&self, oid: u32) -> Option<&str> {
        self.roles.iter().find(|(_, role)| role.oid == oid).map(|(name, _)| name.as_str())
    }
}

fn lost(what: &str) -> Error {
    overtaken(format!("{what} that the statement needs was dropped by another transaction."))
}

fn overtaken(detail: impl Into<String>) -> Error {
    Error::new(SqlState::SerializationFailure, "could not serialize access due to concurrent update")
        .with_detail(detail)
        .with_hint("Try the statement again.")
}
