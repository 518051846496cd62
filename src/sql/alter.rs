//! ALTER TABLE, VIEW and SCHEMA; COMMENT ON.

use sqlparser::ast;

use super::create_table;
use super::data_type::pg_type;
use super::expectation::RowExpectation;
use super::grammar::Grammar;
use super::statement::{CheckConstraint, ColumnDefinition, Name, QualifiedName, RefreshEvery, Statement};
use crate::encode::types::PgType;
use crate::error::{Error, Result};

/// ALTER TABLE | VIEW | MATERIALIZED VIEW.
#[derive(Debug, Clone)]
pub struct Alter {
    pub kind: AlterKind,
    pub if_exists: bool,
    pub name: QualifiedName,
    pub change: AlterChange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterKind {
    Table,
    View,
    MaterializedView,
}

#[derive(Debug, Clone)]
pub enum AlterChange {
    RenameTo(Name),
    RenameColumn {
        from: Name,
        to: Name,
    },
    RenameConstraint {
        from: Name,
        to: Name,
    },
    SetSchema(Name),
    /// ALTER MATERIALIZED VIEW … REFRESH EVERY, or DROP REFRESH.
    Refresh(Option<RefreshEvery>),
    /// One or more, in the order of the text.
    Actions(Vec<AlterAction>),
}

/// What may stand between commas in ALTER TABLE.
#[derive(Debug, Clone)]
pub enum AlterAction {
    AddColumn {
        column: Box<ColumnDefinition>,
        checks: Vec<CheckConstraint>,
        expectations: Vec<RowExpectation>,
        if_not_exists: bool,
    },
    DropColumn {
        name: Name,
        if_exists: bool,
        cascade: bool,
    },
    Type {
        column: Name,
        ty: PgType,
        using: Option<Box<ast::Expr>>,
        cascade: bool,
    },
    NotNull {
        column: Name,
        set: bool,
    },
    /// `None` is DROP DEFAULT.
    Default {
        column: Name,
        value: Option<StoredExpression>,
    },
    DropExpression {
        column: Name,
        if_exists: bool,
    },
    /// Databricks' ALTER COLUMN … COMMENT.
    Comment {
        column: Name,
        text: String,
    },
    AddCheck(CheckConstraint),
    AddExpectation(RowExpectation),
    DropConstraint {
        name: Name,
        if_exists: bool,
    },
    Owner(Name),
    /// SET TBLPROPERTIES (…), or SET (…).
    SetProperties(Vec<(String, String)>),
    /// UNSET TBLPROPERTIES, or RESET. Without IF EXISTS a property must be there.
    UnsetProperties {
        keys: Vec<String>,
        must_exist: bool,
    },
    /// `None` is CLUSTER BY NONE.
    ClusterBy(Option<Vec<Name>>),
}

/// An expression whose text is kept.
#[derive(Debug, Clone)]
pub struct StoredExpression {
    pub expression: Box<ast::Expr>,
    /// As the user wrote it.
    pub text: String,
}

/// ALTER SCHEMA.
#[derive(Debug, Clone)]
pub struct AlterSchema {
    pub name: Name,
    pub change: AlterSchemaChange,
}

#[derive(Debug, Clone)]
pub enum AlterSchemaChange {
    RenameTo(Name),
    Owner(Name),
}

/// COMMENT ON.
#[derive(Debug, Clone)]
pub struct Comment {
    pub object: CommentObject,
    /// `None` is NULL: no comment.
    pub text: Option<String>,
}

#[derive(Debug, Clone)]
pub enum CommentObject {
    Table(QualifiedName),
    View(QualifiedName),
    MaterializedView(QualifiedName),
    Column { relation: QualifiedName, column: Name },
    Schema(Name),
}

impl Grammar<'_> {
    /// ALTER; `None` when something else than a role, a relation or a schema is altered.
    pub fn alter(&mut self) -> Result<Option<Statement>> {
        self.expect("alter")?;
        if self.is_any(&["role", "user", "group"]) && !self.is_ahead(1, "mapping") {
            self.advance();
            return self.alter_role().map(Some);
        }
        if self.accept("schema") {
            return self.alter_schema().map(Some);
        }
        if self.accept("expectation") {
            return self.alter_expectation().map(Some);
        }
        if self.accept("model") {
            return self.alter_model().map(Some);
        }
        let kind = if self.take(&["materialized", "view"]) {
            AlterKind::MaterializedView
        } else {
            match self.one_of(&["table", "view"]) {
                Some("table") => AlterKind::Table,
                Some(_) => AlterKind::View,
                None => return Ok(None),
            }
        };
        let if_exists = self.if_exists()?;
        if kind == AlterKind::Table {
            if self.is("all") && self.is_ahead(1, "in") {
                return self.unsupported("ALTER TABLE ALL IN TABLESPACE");
            }
            self.accept("only");
        }
        let name = self.qualified_name()?;
        if kind == AlterKind::Table {
            self.accept_operator("*");
        }
        let change = self.alter_change(kind)?;
        Ok(Some(Statement::Alter(Box::new(Alter { kind, if_exists, name, change }))))
    }

    fn alter_change(&mut self, kind: AlterKind) -> Result<AlterChange> {
        if self.accept("rename") {
            if self.accept("to") {
                return Ok(AlterChange::RenameTo(self.name()?));
            }
            if self.accept("constraint") {
                let from = self.name()?;
                self.expect("to")?;
                return Ok(AlterChange::RenameConstraint { from, to: self.name()? });
            }
            self.accept("column");
            let from = self.name()?;
            self.expect("to")?;
            return Ok(AlterChange::RenameColumn { from, to: self.name()? });
        }
        if self.take(&["set", "schema"]) {
            return Ok(AlterChange::SetSchema(self.name()?));
        }
        if kind == AlterKind::MaterializedView {
            if self.take(&["refresh", "every"]) {
                return Ok(AlterChange::Refresh(Some(self.refresh_every()?)));
            }
            if self.take(&["drop", "refresh"]) {
                return Ok(AlterChange::Refresh(None));
            }
        }
        let actions = self.list(Self::alter_actions)?.into_iter().flatten().collect::<Vec<_>>();
        if kind != AlterKind::Table && actions.iter().any(|action| !matches!(action, AlterAction::Owner(_))) {
            return Err(Error::unsupported("this action of ALTER VIEW"));
        }
        Ok(AlterChange::Actions(actions))
    }

    /// One action of the list; ADD COLUMNS is several.
    fn alter_actions(&mut self) -> Result<Vec<AlterAction>> {
        if self.accept("add") {
            return self.alter_add();
        }
        if self.accept("drop") {
            return Ok(vec![self.alter_drop()?]);
        }
        if self.accept("alter") {
            self.accept("column");
            let column = self.name()?;
            return Ok(vec![self.alter_column(column)?]);
        }
        if self.take(&["owner", "to"]) {
            return Ok(vec![AlterAction::Owner(self.role_spec()?)]);
        }
        if self.take(&["set", "tblproperties"]) || self.is("set") && self.is_operator_ahead(1, "(") {
            self.accept("set");
            return Ok(vec![AlterAction::SetProperties(self.properties()?)]);
        }
        if self.take(&["unset", "tblproperties"]) {
            let must_exist = !self.if_exists()?;
            let keys = self.parenthesized(Self::property_key)?;
            return Ok(vec![AlterAction::UnsetProperties { keys, must_exist }]);
        }
        if self.accept("reset") {
            let keys = self.parenthesized(Self::property_key)?;
            return Ok(vec![AlterAction::UnsetProperties { keys, must_exist: false }]);
        }
        if self.take(&["cluster", "by"]) {
            let columns = if self.accept("none") { None } else { Some(self.parenthesized(Self::name)?) };
            return Ok(vec![AlterAction::ClusterBy(columns)]);
        }
        self.refuse_action()
    }

    /// What PostgreSQL can alter and we cannot.
    fn refuse_action(&mut self) -> Result<Vec<AlterAction>> {
        const REFUSED: [(&[&str], &str); 15] = [
            (&["cluster", "on"], "CLUSTER ON"),
            (&["set", "without"], "SET WITHOUT"),
            (&["set", "tablespace"], "SET TABLESPACE"),
            (&["set", "logged"], "SET LOGGED"),
            (&["set", "unlogged"], "SET UNLOGGED"),
            (&["set", "access"], "SET ACCESS METHOD"),
            (&["inherit"], "INHERIT"),
            (&["no", "inherit"], "NO INHERIT"),
            (&["of"], "OF type"),
            (&["not", "of"], "NOT OF"),
            (&["enable"], "ENABLE"),
            (&["disable"], "DISABLE"),
            (&["replica"], "REPLICA IDENTITY"),
            (&["attach"], "ATTACH PARTITION"),
            (&["detach"], "DETACH PARTITION"),
        ];
        if self.is("validate") {
            return self.unsupported("VALIDATE CONSTRAINT");
        }
        match REFUSED.iter().find(|(words, _)| self.are(words)) {
            Some((_, clause)) => self.unsupported(&format!("ALTER TABLE … {clause}")),
            None => self.syntax(),
        }
    }

    fn alter_add(&mut self) -> Result<Vec<AlterAction>> {
        if self.is_any(&["constraint", "check"]) || self.at_table_constraint() {
            let name = self.constraint_name()?;
            let mut table = create_table::empty(nameless());
            self.constraint(&mut table, name, None)?;
            let checks = table.checks.into_iter().map(AlterAction::AddCheck);
            return Ok(checks.chain(table.expectations.into_iter().map(AlterAction::AddExpectation)).collect());
        }
        if self.is("columns") && self.is_operator_ahead(1, "(") {
            self.advance();
            return self.parenthesized(|grammar| grammar.added_column(false));
        }
        self.accept("column");
        let if_not_exists = self.if_not_exists(false)?;
        Ok(vec![self.added_column(if_not_exists)?])
    }

    fn added_column(&mut self, if_not_exists: bool) -> Result<AlterAction> {
        let mut table = create_table::empty(nameless());
        self.column_definition(&mut table)?;
        let Some(column) = table.columns.pop().filter(|column| column.ty.is_some()) else { return self.syntax() };
        if self.is_any(&["first", "after"]) {
            return self.unsupported("FIRST or AFTER");
        }
        let (checks, expectations) = (table.checks, table.expectations);
        Ok(AlterAction::AddColumn { column: Box::new(column), checks, expectations, if_not_exists })
    }

    fn alter_drop(&mut self) -> Result<AlterAction> {
        if self.accept("constraint") {
            let if_exists = self.if_exists()?;
            let name = self.name()?;
            // Nothing depends on a CHECK.
            self.cascade();
            return Ok(AlterAction::DropConstraint { name, if_exists });
        }
        self.accept("column");
        let if_exists = self.if_exists()?;
        let name = self.name()?;
        Ok(AlterAction::DropColumn { name, if_exists, cascade: self.cascade() })
    }

    fn alter_column(&mut self, column: Name) -> Result<AlterAction> {
        if self.take(&["set", "not", "null"]) {
            return Ok(AlterAction::NotNull { column, set: true });
        }
        if self.take(&["drop", "not", "null"]) {
            return Ok(AlterAction::NotNull { column, set: false });
        }
        if self.take(&["set", "default"]) {
            return Ok(AlterAction::Default { column, value: Some(self.stored_expression()?) });
        }
        if self.take(&["drop", "default"]) {
            return Ok(AlterAction::Default { column, value: None });
        }
        if self.take(&["drop", "expression"]) {
            let if_exists = self.if_exists()?;
            return Ok(AlterAction::DropExpression { column, if_exists });
        }
        if self.accept("comment") {
            return Ok(AlterAction::Comment { column, text: self.string()? });
        }
        if self.is("type") || self.are(&["set", "data"]) {
            if self.accept("set") {
                self.expect("data")?;
            }
            self.expect("type")?;
            let token = self.token();
            let data_type = self.data_type()?;
            let ty = pg_type(&data_type, self.source).map_err(|error| error.at(token.position))?;
            if self.is("collate") {
                return self.unsupported("COLLATE");
            }
            let using = if self.accept("using") { Some(Box::new(self.expression()?)) } else { None };
            return Ok(AlterAction::Type { column, ty, using, cascade: self.cascade() });
        }
        const REFUSED: [(&[&str], &str); 8] = [
            (&["set", "statistics"], "SET STATISTICS"),
            (&["set", "storage"], "SET STORAGE"),
            (&["set", "compression"], "SET COMPRESSION"),
            (&["set", "generated"], "SET GENERATED"),
            (&["add", "generated"], "ADD GENERATED"),
            (&["drop", "identity"], "DROP IDENTITY"),
            (&["reset"], "RESET"),
            (&["set"], "SET"),
        ];
        match REFUSED.iter().find(|(words, _)| self.are(words)) {
            Some((_, clause)) => self.unsupported(&format!("ALTER COLUMN … {clause}")),
            None => self.syntax(),
        }
    }

    /// An expression and its text.
    pub fn stored_expression(&mut self) -> Result<StoredExpression> {
        let first = self.token();
        let expression = Box::new(self.expression()?);
        Ok(StoredExpression { expression, text: self.text_from(first) })
    }

    fn alter_schema(&mut self) -> Result<Statement> {
        let name = self.name()?;
        let change = if self.accept("rename") {
            self.expect("to")?;
            AlterSchemaChange::RenameTo(self.name()?)
        } else {
            self.expect_all(&["owner", "to"])?;
            AlterSchemaChange::Owner(self.role_spec()?)
        };
        Ok(Statement::AlterSchema(AlterSchema { name, change }))
    }

    /// COMMENT ON; `None` for what has no comments here.
    pub fn comment_statement(&mut self) -> Result<Option<Statement>> {
        self.expect("comment")?;
        self.expect("on")?;
        let materialized = self.is_ahead(1, "view") && self.accept("materialized");
        let Some(kind) = self.one_of(&["table", "view", "column", "schema"]) else { return Ok(None) };
        let object = match kind {
            "view" if materialized => CommentObject::MaterializedView(self.qualified_name()?),
            "table" => CommentObject::Table(self.qualified_name()?),
            "view" => CommentObject::View(self.qualified_name()?),
            "schema" => CommentObject::Schema(self.name()?),
            _ => self.commented_column()?,
        };
        self.expect("is")?;
        let text = if self.accept("null") { None } else { Some(self.string()?) };
        // PostgreSQL keeps no empty comment.
        let text = text.filter(|text| !text.is_empty());
        Ok(Some(Statement::Comment(Comment { object, text })))
    }

    fn commented_column(&mut self) -> Result<CommentObject> {
        let first = self.token();
        let parts = self.dotted()?;
        let mut folded: Vec<String> = parts.iter().map(super::fold).collect();
        let column = Name { value: folded.pop().unwrap_or_default(), position: first.position };
        let Some(name) = folded.pop() else {
            let message = "column name must be qualified";
            return Err(Error::new(crate::error::SqlState::SyntaxError, message));
        };
        let (schema, database) = (folded.pop(), folded.pop());
        let relation = QualifiedName { database, schema, name, position: first.position };
        Ok(CommentObject::Column { relation, column })
    }
}

/// The table of an action is named outside it.
fn nameless() -> QualifiedName {
    QualifiedName { database: None, schema: None, name: String::new(), position: 0 }
}
