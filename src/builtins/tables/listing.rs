//! Every relation and schema as the catalogs list them: the users' from the snapshot, and the system's own.

use super::definitions::{SCHEMAS, definitions};
use crate::builtins::Context;
use crate::catalog::{BOOTSTRAP_ROLE_OID, Relation, RelationKind, Table, View};
use crate::encode::types::PgType;

/// OIDs of what belongs to a relation are the relation's, set apart by a high bit: they are as stable as it is.
pub(in crate::builtins) const ROW_TYPE_BIT: u32 = 1 << 30;
pub(in crate::builtins) const REWRITE_RULE_BIT: u32 = 1 << 29;
const DEFAULT_BIT: u32 = 1 << 31;
/// Bits of a column's number.
const NUMBER_BITS: u32 = 11;

/// The OID of a column's default, of the relation's and the column's number.
pub(in crate::builtins) fn default_oid(relation: u32, number: i16) -> u32 {
    DEFAULT_BIT | ((relation << NUMBER_BITS) & (DEFAULT_BIT - 1)) | u32::from(number.unsigned_abs())
}

/// A relation of any schema.
#[derive(Debug)]
pub(in crate::builtins) struct Listed<'a> {
    pub schema: &'a str,
    pub schema_oid: u32,
    pub name: &'a str,
    pub oid: u32,
    pub owner: u32,
    /// `pg_class.relkind`.
    pub kind: char,
    pub comment: Option<&'a str>,
    pub columns: Vec<ListedColumn<'a>>,
    pub body: Body<'a>,
}

/// Where a relation's rows come from.
#[derive(Debug, Clone, Copy)]
pub(in crate::builtins) enum Body<'a> {
    System,
    Table(&'a Table),
    View(&'a View),
}

#[derive(Debug)]
pub(in crate::builtins) struct ListedColumn<'a> {
    pub name: &'a str,
    pub ty: PgType,
    pub not_null: bool,
    pub comment: Option<&'a str>,
    /// From 1.
    pub number: i16,
    /// SQL text of its default, or of what it is generated from.
    pub value: Option<&'a str>,
    pub generated: bool,
}

impl<'a> Listed<'a> {
    pub(in crate::builtins) fn is_system(&self) -> bool {
        matches!(self.body, Body::System)
    }

    pub(in crate::builtins) fn view(&self) -> Option<&'a View> {
        match self.body {
            Body::View(view) => Some(view),
            Body::Table(table) => table.materialized.as_ref().map(|materialized| &materialized.view),
            Body::System => None,
        }
    }

    pub(in crate::builtins) fn table(&self) -> Option<&'a Table> {
        match self.body {
            Body::Table(table) => Some(table),
            Body::System | Body::View(_) => None,
        }
    }

    /// Whether this role sees it in `information_schema`: everybody sees the system's, an owner and a superuser theirs.
    pub(in crate::builtins) fn is_accessible(&self, context: &Context) -> bool {
        self.is_system() || has_role(context, self.owner)
    }
}

/// Whether the current role is that one, or a superuser.
pub(in crate::builtins) fn has_role(context: &Context, role: u32) -> bool {
    context.catalog.roles.get(&context.user).is_some_and(|own| own.superuser || own.oid == role)
}

/// The name of a role, or its number when it is gone.
pub(in crate::builtins) fn role_name(context: &Context, oid: u32) -> String {
    context.catalog.role_name(oid).map_or_else(|| format!("unknown (OID={oid})"), str::to_owned)
}

/// All relations: the users' first, each schema by name.
pub(in crate::builtins) fn relations(context: &Context) -> Vec<Listed<'_>> {
    let mut all: Vec<Listed<'_>> = Vec::new();
    for (schema, definition) in &context.catalog.schemas {
        let listed = definition.relations.iter().map(|(name, relation)| user(schema, definition.oid, name, relation));
        all.extend(listed);
    }
    all.extend(definitions().iter().map(|definition| Listed {
        schema: definition.schema,
        schema_oid: definition.schema_oid,
        name: definition.name,
        oid: definition.oid,
        owner: BOOTSTRAP_ROLE_OID,
        kind: definition.kind,
        comment: None,
        columns: numbered(definition.columns.iter().map(|column| (column.name, column.ty, column.not_null, None))),
        body: Body::System,
    }));
    all
}

fn user<'a>(schema: &'a str, schema_oid: u32, name: &'a str, relation: &'a Relation) -> Listed<'a> {
    let (kind, body) = match &relation.kind {
        RelationKind::Table(table) if table.materialized.is_some() => ('m', Body::Table(table)),
        RelationKind::Table(table) => ('r', Body::Table(table)),
        RelationKind::View(view) if view.files.is_some() => ('f', Body::View(view)),
        RelationKind::View(view) => ('v', Body::View(view)),
    };
    let columns = relation
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.ty(), column.not_null, column.comment.as_deref()));
    let mut columns = numbered(columns);
    for (listed, column) in columns.iter_mut().zip(&relation.columns) {
        listed.value = column.generated.as_deref().or(column.default.as_deref());
        listed.generated = column.generated.is_some();
    }
    Listed {
        schema,
        schema_oid,
        name,
        oid: relation.oid,
        owner: relation.owner,
        kind,
        comment: relation.comment.as_deref(),
        columns,
        body,
    }
}

fn numbered<'a>(columns: impl Iterator<Item = (&'a str, PgType, bool, Option<&'a str>)>) -> Vec<ListedColumn<'a>> {
    (1..)
        .zip(columns)
        .map(|(number, (name, ty, not_null, comment))| ListedColumn {
            name,
            ty,
            not_null,
            comment,
            number,
            value: None,
            generated: false,
        })
        .collect()
}

/// A schema of any kind.
#[derive(Debug)]
pub(in crate::builtins) struct ListedSchema<'a> {
    pub name: &'a str,
    pub oid: u32,
    pub owner: u32,
    pub comment: Option<&'a str>,
    pub system: bool,
}

/// All schemas.
pub(in crate::builtins) fn schemas(context: &Context) -> Vec<ListedSchema<'_>> {
    let users = context.catalog.schemas.iter().map(|(name, schema)| ListedSchema {
        name,
        oid: schema.oid,
        owner: schema.owner,
        comment: schema.comment.as_deref(),
        system: false,
    });
    let system = SCHEMAS.iter().map(|(name, oid, _)| ListedSchema {
        name,
        oid: *oid,
        owner: BOOTSTRAP_ROLE_OID,
        comment: None,
        system: true,
    });
    users.chain(system).collect()
}

/// A CHECK constraint and the numbers of the columns that it reads.
#[derive(Debug)]
pub(in crate::builtins) struct ListedCheck<'a> {
    pub relation: &'a Listed<'a>,
    pub check: &'a crate::catalog::Check,
    pub columns: Vec<&'a ListedColumn<'a>>,
}

/// All CHECK constraints of those relations.
pub(in crate::builtins) fn checks<'a>(relations: &'a [Listed<'a>]) -> Vec<ListedCheck<'a>> {
    let mut all = Vec::new();
    for relation in relations {
        for check in relation.table().map_or(&[][..], |table| &table.checks) {
            let read = columns_read(&check.expression);
            let columns =
                relation.columns.iter().filter(|column| read.iter().any(|name| name == column.name)).collect();
            all.push(ListedCheck { relation, check, columns });
        }
    }
    all
}

/// The identifiers of an expression's text, folded.
fn columns_read(expression: &str) -> Vec<String> {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::tokenizer::{Token, Tokenizer};
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, expression).tokenize().unwrap_or_default();
    tokens
        .into_iter()
        .filter_map(|token| match token {
            Token::Word(word) if word.quote_style.is_some() => Some(word.value),
            Token::Word(word) => Some(word.value.to_lowercase()),
            _ => None,
        })
        .collect()
}
