//! CREATE TABLE, with the clauses of a lake: USING, PARTITIONED BY, LOCATION, COMMENT, TBLPROPERTIES.

use super::alter::StoredExpression;
use super::data_type::pg_type;
use super::grammar::{Grammar, fold};
use super::statement::{CheckConstraint, ColumnDefinition, CreateTable, Name, OnCommit, QualifiedName, Statement};
use super::token::Kind;
use crate::error::{Error, Result, SqlState};

/// Constraints that nobody enforces yet, by their first words.
const REFUSED: [(&str, &str); 5] = [
    ("primary", "PRIMARY KEY"),
    ("unique", "UNIQUE"),
    ("references", "REFERENCES"),
    ("foreign", "FOREIGN KEY"),
    ("exclude", "EXCLUDE"),
];

/// A table of that name and nothing else.
pub(crate) fn empty(name: QualifiedName) -> CreateTable {
    CreateTable {
        name,
        or_replace: false,
        if_not_exists: false,
        columns: Vec::new(),
        checks: Vec::new(),
        expectations: Vec::new(),
        partitioned_by: Vec::new(),
        cluster_by: None,
        location: None,
        comment: None,
        properties: Vec::new(),
        query: None,
        no_data: false,
        temporary: false,
        materialized: None,
        refresh_every: None,
        on_commit: None,
    }
}

impl Grammar<'_> {
    /// The rest of CREATE [OR REPLACE] TABLE.
    pub fn create_table(&mut self, or_replace: bool, temporary: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists(or_replace)?;
        let name = self.qualified_name()?;
        let mut table = CreateTable { or_replace, if_not_exists, temporary, ..empty(name) };
        let elements = self.accept_operator("(");
        if elements {
            if !self.is_operator(")") {
                self.list(|grammar| grammar.table_element(&mut table))?;
            }
            self.close()?;
        }
        self.table_clauses(&mut table)?;
        if self.accept("as") {
            self.table_query(&mut table)?;
        } else if !(elements || table.location.is_some()) || table.columns.iter().any(|column| column.ty.is_none()) {
            // Neither columns with types nor a query.
            return self.syntax();
        }
        Ok(Statement::CreateTable(Box::new(table)))
    }

    /// IF NOT EXISTS; it and OR REPLACE exclude each other.
    pub fn if_not_exists(&mut self, or_replace: bool) -> Result<bool> {
        let token = self.token();
        if !self.accept("if") {
            return Ok(false);
        }
        self.expect_all(&["not", "exists"])?;
        if or_replace {
            return Err(self.syntax_at(token));
        }
        Ok(true)
    }

    fn table_query(&mut self, table: &mut CreateTable) -> Result<()> {
        if self.is("execute") {
            return self.unsupported("CREATE TABLE AS EXECUTE");
        }
        if let Some(typed) = table.columns.iter().find(|column| column.ty.is_some()) {
            return Err(Error::unsupported("a column type in CREATE TABLE AS").at(typed.name.position));
        }
        table.query = Some(Box::new(self.query()?));
        if self.take(&["with", "no", "data"]) {
            table.no_data = true;
        } else {
            self.take(&["with", "data"]);
        }
        Ok(())
    }

    fn table_element(&mut self, table: &mut CreateTable) -> Result<()> {
        if self.is("like") {
            return self.unsupported("LIKE");
        }
        if self.is("constraint") || self.is("check") || self.at_table_constraint() {
            let name = self.constraint_name()?;
            return self.constraint(table, name, None);
        }
        self.column_definition(table)
    }

    /// A column with its type and constraints; in CREATE TABLE AS the name alone.
    pub fn column_definition(&mut self, table: &mut CreateTable) -> Result<()> {
        let name = self.name()?;
        let mut column =
            ColumnDefinition { name, ty: None, not_null: false, comment: None, default: None, generated: None };
        if self.is_operator(",") || self.is_operator(")") {
            table.columns.push(column);
            return Ok(());
        }
        let token = self.token();
        if matches!(token.value.as_str(), "serial" | "bigserial" | "smallserial") {
            return self.unsupported(&token.value);
        }
        let data_type = self.data_type()?;
        column.ty = Some(pg_type(&data_type, self.source).map_err(|error| error.at(token.position))?);
        self.column_clauses(table, &mut column)?;
        table.columns.push(column);
        Ok(())
    }

    pub fn at_table_constraint(&self) -> bool {
        self.is_any(&["unique", "primary", "foreign"])
            || (self.is("exclude") && (self.is_ahead(1, "using") || self.is_operator_ahead(1, "(")))
            || self.at_expectation()
    }

    pub fn constraint_name(&mut self) -> Result<Option<Name>> {
        if self.accept("constraint") { self.name().map(Some) } else { Ok(None) }
    }

    /// CHECK (…) or EXPECT (…); every other constraint is refused by its name.
    pub fn constraint(&mut self, table: &mut CreateTable, name: Option<Name>, column: Option<String>) -> Result<()> {
        if self.at_expectation() {
            let expectation = self.row_expectation(name)?;
            table.expectations.push(expectation);
            return Ok(());
        }
        self.refuse_constraint()?;
        self.expect("check")?;
        self.open()?;
        let first = self.token();
        let expression = Box::new(self.expression()?);
        let text = self.text_from(first);
        self.close()?;
        if self.take(&["no", "inherit"]) || self.take(&["not", "valid"]) {
            return Err(self.unsupported_at("NO INHERIT or NOT VALID", self.last()));
        }
        table.checks.push(CheckConstraint { name, column, expression, text });
        Ok(())
    }

    fn refuse_constraint(&self) -> Result<()> {
        match REFUSED.iter().find(|(word, _)| self.is(word)) {
            Some((_, clause)) => self.unsupported(clause),
            None => Ok(()),
        }
    }

    fn column_clauses(&mut self, table: &mut CreateTable, column: &mut ColumnDefinition) -> Result<()> {
        let mut nullable = None;
        loop {
            let token = self.token();
            self.refuse_constraint()?;
            if self.is_any(&["default", "generated"]) {
                self.column_value(table, column)?;
                continue;
            }
            if self.is("collate") {
                return self.unsupported("COLLATE");
            }
            if self.is_any(&["compression", "storage"]) {
                return self.unsupported(&token.value.to_ascii_uppercase());
            }
            if self.is("constraint") || self.is("check") {
                let name = self.constraint_name()?;
                if self.is("check") || self.at_expectation() || REFUSED.iter().any(|(word, _)| self.is(word)) {
                    self.constraint(table, name, Some(column.name.value.clone()))?;
                    continue;
                }
            }
            let not_null = self.take(&["not", "null"]);
            if not_null || self.accept("null") {
                if nullable == Some(not_null) {
                    let message = format!(
                        "conflicting NULL/NOT NULL declarations for column \"{}\" of table \"{}\"",
                        column.name.value, table.name.name
                    );
                    return Err(Error::new(SqlState::SyntaxError, message).at(token.position));
                }
                nullable = Some(!not_null);
                column.not_null = not_null;
            } else if self.accept("comment") {
                column.comment = Some(self.string()?);
            } else {
                return Ok(());
            }
        }
    }

    /// DEFAULT, or GENERATED ALWAYS AS (…) STORED.
    fn column_value(&mut self, table: &CreateTable, column: &mut ColumnDefinition) -> Result<()> {
        let token = self.token();
        let twice = |what: &str, table: &CreateTable, column: &ColumnDefinition| {
            let (column, table) = (&column.name.value, &table.name.name);
            let message = format!("{what} specified for column \"{column}\" of table \"{table}\"");
            Err(Error::new(SqlState::SyntaxError, message).at(token.position))
        };
        if self.accept("default") {
            if column.default.is_some() {
                return twice("multiple default values", table, column);
            }
            let first = self.token();
            let expression = Box::new(self.bounded_expression()?);
            column.default = Some(StoredExpression { expression, text: self.text_from(first) });
        } else {
            self.expect("generated")?;
            if self.take(&["by", "default"]) || self.are(&["always", "as", "identity"]) {
                return Err(self.unsupported_at("IDENTITY", token));
            }
            self.expect_all(&["always", "as"])?;
            if column.generated.is_some() {
                return twice("multiple generation clauses", table, column);
            }
            self.open()?;
            column.generated = Some(self.stored_expression()?);
            self.close()?;
            // Delta has no word for it: what is generated is stored.
            self.accept("stored");
        }
        if column.default.is_some() && column.generated.is_some() {
            return twice("both default and generation expression", table, column);
        }
        Ok(())
    }

    pub fn table_clauses(&mut self, table: &mut CreateTable) -> Result<()> {
        let mut seen: Vec<&'static str> = Vec::new();
        loop {
            self.refuse_again(&mut seen)?;
            if self.accept("using") {
                let token = self.token();
                let format = fold(&self.non_reserved_word()?);
                if format != "delta" {
                    return Err(self.unsupported_at(&format!("USING {format}"), token));
                }
            } else if self.are(&["partition", "by"]) {
                return self.unsupported("PARTITION BY");
            } else if self.accept("partitioned") {
                self.expect("by")?;
                table.partitioned_by = self.parenthesized(Self::name)?;
            } else if self.accept("cluster") {
                self.expect("by")?;
                table.cluster_by = Some(self.parenthesized(Self::name)?);
            } else if self.take(&["on", "commit"]) {
                table.on_commit = Some(self.on_commit()?);
            } else if self.accept("location") {
                table.location = Some(self.string()?);
            } else if self.accept("comment") {
                self.accept_operator("=");
                table.comment = Some(self.string()?);
            } else if self.accept("tblproperties") {
                table.properties.extend(self.properties()?);
            } else if self.is("with") && self.is_operator_ahead(1, "(") {
                self.advance();
                table.properties.extend(self.properties()?);
            } else {
                return self.refuse_table_clause();
            }
        }
    }

    fn on_commit(&mut self) -> Result<OnCommit> {
        if self.take(&["preserve", "rows"]) {
            return Ok(OnCommit::PreserveRows);
        }
        if self.take(&["delete", "rows"]) {
            return Ok(OnCommit::DeleteRows);
        }
        if self.accept("drop") {
            return Ok(OnCommit::Drop);
        }
        self.syntax()
    }

    /// 42601 for a clause that stands there already.
    fn refuse_again(&self, seen: &mut Vec<&'static str>) -> Result<()> {
        const CLAUSES: [&str; 7] = ["using", "partitioned", "cluster", "location", "comment", "tblproperties", "on"];
        let with = self.is("with") && self.is_operator_ahead(1, "(");
        let clause = CLAUSES.into_iter().find(|word| self.is(word)).or(with.then_some("tblproperties"));
        let Some(clause) = clause else { return Ok(()) };
        if seen.contains(&clause) {
            let message = "conflicting or redundant options";
            return Err(Error::new(SqlState::SyntaxError, message).at(self.token().position));
        }
        seen.push(clause);
        Ok(())
    }

    /// `(key = value, …)`, each key once.
    pub fn properties(&mut self) -> Result<Vec<(String, String)>> {
        let position = self.token().position;
        let properties = self.parenthesized(Self::property)?;
        let mut seen = std::collections::HashSet::new();
        match properties.iter().find(|(key, _)| !seen.insert(key.as_str())) {
            None => Ok(properties),
            Some((key, _)) => {
                let message = format!("parameter \"{key}\" specified more than once");
                Err(Error::new(SqlState::InvalidParameterValue, message).at(position))
            }
        }
    }

    fn refuse_table_clause(&self) -> Result<()> {
        const CLAUSES: [(&str, &str); 4] =
            [("inherits", "INHERITS"), ("tablespace", "TABLESPACE"), ("of", "OF type"), ("without", "WITHOUT OIDS")];
        match CLAUSES.iter().find(|(word, _)| self.is(word)) {
            Some((_, clause)) => self.unsupported(clause),
            None => Ok(()),
        }
    }

    /// `key = value`; a key is a string or dotted words, a value a constant or a word, `true` when absent.
    pub fn property(&mut self) -> Result<(String, String)> {
        let key = self.property_key()?;
        if !self.accept_operator("=") {
            return Ok((key, "true".to_owned()));
        }
        Ok((key, self.property_value()?))
    }

    pub fn property_key(&mut self) -> Result<String> {
        if self.is_string() {
            return self.string();
        }
        let mut key = fold(&self.label()?);
        while self.accept_operator(".") {
            key.push('.');
            key.push_str(&fold(&self.label()?));
        }
        Ok(key)
    }

    fn property_value(&mut self) -> Result<String> {
        let minus = self.accept_operator("-");
        let token = self.token();
        match token.kind {
            Kind::Number => {
                self.advance();
                Ok(format!("{}{}", if minus { "-" } else { "" }, token.value))
            }
            Kind::Text | Kind::Word(_) | Kind::Quoted if !minus => Ok(self.advance().value.clone()),
            _ => self.syntax(),
        }
    }
}
