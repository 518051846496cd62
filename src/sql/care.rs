//! Versions of a table, and the statements that look at them and after them.

use sqlparser::ast::TableVersion;

use super::grammar::Grammar;
use super::maintenance::{Care, CaredTable, Optimize, Vacuum};
use super::statement::Statement;
use super::token::Kind;
use crate::error::{Error, Result, SqlState};

impl Grammar<'_> {
    /// `[FOR] VERSION | SYSTEM_VERSION | TIMESTAMP | SYSTEM_TIME AS OF expression`.
    pub fn version(&mut self) -> Result<Option<TableVersion>> {
        let Some(kind) = self.version_follows() else { return Ok(None) };
        self.accept("for");
        self.advance();
        self.expect_all(&["as", "of"])?;
        let expression = self.expression()?;
        Ok(Some(match kind {
            "version" | "system_version" => TableVersion::VersionAsOf(expression),
            _ => TableVersion::TimestampAsOf(expression),
        }))
    }

    /// AS OF where a version has no sense.
    pub fn refuse_version(&self, what: &str) -> Result<()> {
        if self.version_follows().is_some() { self.unsupported(what) } else { Ok(()) }
    }

    fn version_follows(&self) -> Option<&'static str> {
        let ahead = usize::from(self.is("for"));
        let as_of = self.is_ahead(ahead + 1, "as") && self.is_ahead(ahead + 2, "of");
        let kinds = ["version", "timestamp", "system_time", "system_version"];
        kinds.into_iter().find(|word| as_of && self.is_ahead(ahead, word))
    }
}

impl Grammar<'_> {
    /// Whether DESCRIBE is about a table's history or files, not about its columns.
    pub fn describes_care(&self) -> bool {
        let word = self.is_ahead(1, "history") || self.is_ahead(1, "detail");
        word && matches!(self.ahead(2).kind, Kind::Word(_) | Kind::Quoted)
    }

    /// DESCRIBE HISTORY | DETAIL t.
    pub fn describe_care(&mut self) -> Result<Statement> {
        self.advance();
        if self.accept("detail") {
            return Ok(Statement::Care(Care::Detail(self.qualified_name()?)));
        }
        self.expect("history")?;
        let table = self.qualified_name()?;
        let limit = if self.accept("limit") { Some(self.count()?) } else { None };
        Ok(Statement::Care(Care::History { table, limit }))
    }

    pub fn restore(&mut self) -> Result<Statement> {
        self.expect("restore")?;
        self.accept("table");
        let table = self.qualified_name()?;
        self.accept("to");
        let Some(version) = self.version()? else { return self.syntax() };
        Ok(Statement::Care(Care::Restore { table, version: Box::new(version) }))
    }

    pub fn optimize(&mut self) -> Result<Statement> {
        self.expect("optimize")?;
        let table = self.qualified_name()?;
        let full = self.accept("full");
        let condition = if self.accept("where") { Some(Box::new(self.expression()?)) } else { None };
        let mut order = Vec::new();
        if self.accept("zorder") {
            self.expect("by")?;
            order = if self.is_operator("(") { self.parenthesized(Self::name)? } else { self.list(Self::name)? };
            let mut seen = std::collections::HashSet::new();
            if let Some(again) = order.iter().find(|name| !seen.insert(name.value.as_str())) {
                let message = format!("column \"{}\" appears twice in ZORDER BY", again.value);
                return Err(Error::new(SqlState::DuplicateColumn, message).at(again.position));
            }
        }
        Ok(Statement::Care(Care::Optimize(Optimize { table, full, condition, order })))
    }

    /// REORG TABLE t APPLY (PURGE).
    pub fn reorg(&mut self) -> Result<Statement> {
        self.expect_all(&["reorg", "table"])?;
        let table = self.qualified_name()?;
        if self.is("where") {
            return self.unsupported("REORG TABLE … WHERE");
        }
        self.expect("apply")?;
        self.open()?;
        if self.is("upgrade") {
            return self.unsupported("REORG TABLE … APPLY (UPGRADE …)");
        }
        self.expect("purge")?;
        self.close()?;
        Ok(Statement::Care(Care::Purge(table)))
    }

    pub fn vacuum(&mut self) -> Result<Statement> {
        self.expect("vacuum")?;
        let mut vacuum = Vacuum {
            tables: Vec::new(),
            full: false,
            analyze: false,
            verbose: false,
            retain_hours: None,
            dry_run: false,
        };
        if self.is_operator("(") {
            for (option, on) in self.parenthesized(|grammar| grammar.care_option("VACUUM"))? {
                match option {
                    "full" => vacuum.full = on,
                    "analyze" => vacuum.analyze = on,
                    _ => vacuum.verbose = on,
                }
            }
        } else {
            vacuum.full = self.accept("full");
            if self.is("freeze") {
                return self.unsupported("VACUUM FREEZE");
            }
            vacuum.verbose = self.accept("verbose");
            vacuum.analyze = self.accept("analyze") || self.accept("analyse");
        }
        if !self.at_end() && !self.is("retain") && !self.are(&["dry", "run"]) {
            vacuum.tables = self.list(Self::cared_table)?;
        }
        if !vacuum.analyze && vacuum.tables.iter().any(|table| !table.columns.is_empty()) {
            let message = "ANALYZE option must be specified when a column list is provided";
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
        if self.accept("retain") {
            vacuum.retain_hours = Some(self.hours()?);
            self.expect("hours")?;
        }
        vacuum.dry_run = self.take(&["dry", "run"]);
        Ok(Statement::Care(Care::Vacuum(vacuum)))
    }

    pub fn analyze(&mut self) -> Result<Statement> {
        self.advance();
        if self.is_operator("(") {
            self.parenthesized(|grammar| grammar.care_option("ANALYZE"))?;
        } else {
            self.accept("verbose");
        }
        let tables = if self.at_end() { Vec::new() } else { self.list(Self::cared_table)? };
        Ok(Statement::Care(Care::Analyze(tables)))
    }

    fn cared_table(&mut self) -> Result<CaredTable> {
        let name = self.qualified_name()?;
        let columns = if self.is_operator("(") { self.parenthesized(Self::name)? } else { Vec::new() };
        Ok(CaredTable { name, columns })
    }

    /// `FULL`, `ANALYZE off`.
    fn care_option(&mut self, statement: &str) -> Result<(&'static str, bool)> {
        let token = self.token();
        let name = self.label()?.value.to_ascii_lowercase();
        let known: &[&'static str] = if statement == "VACUUM" { &["full", "analyze", "verbose"] } else { &["verbose"] };
        let Some(option) = known.iter().find(|known| **known == name) else {
            // Options of PostgreSQL's about things that are not here: pages, indexes, locks.
            let unsupported = [
                "freeze",
                "disable_page_skipping",
                "skip_locked",
                "index_cleanup",
                "process_main",
                "process_toast",
                "truncate",
                "parallel",
                "skip_database_stats",
                "only_database_stats",
                "buffer_usage_limit",
            ];
            if unsupported.contains(&name.as_str()) {
                let what = format!("{statement} option {}", name.to_ascii_uppercase());
                return Err(self.unsupported_at(&what, token));
            }
            let message = format!("unrecognized {statement} option \"{name}\"");
            return Err(Error::new(SqlState::SyntaxError, message).at(token.position));
        };
        if self.is_operator(",") || self.is_operator(")") {
            return Ok((option, true));
        }
        let token = self.advance();
        match token.value.to_ascii_lowercase().as_str() {
            "true" | "on" | "1" => Ok((option, true)),
            "false" | "off" | "0" => Ok((option, false)),
            _ => {
                let message = format!("{option} requires a Boolean value");
                Err(Error::new(SqlState::SyntaxError, message))
            }
        }
    }

    fn count(&mut self) -> Result<u64> {
        let token = self.token();
        match token.value.parse::<u64>() {
            Ok(number) if matches!(token.kind, Kind::Number) => {
                self.advance();
                Ok(number)
            }
            _ => self.syntax(),
        }
    }

    fn hours(&mut self) -> Result<f64> {
        let token = self.token();
        match token.value.parse::<f64>() {
            Ok(number) if matches!(token.kind, Kind::Number) && number.is_finite() => {
                self.advance();
                Ok(number)
            }
            _ => self.syntax(),
        }
    }
}
