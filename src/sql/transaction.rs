//! BEGIN, COMMIT, ROLLBACK and the modes of a transaction.

use super::grammar::Grammar;
use super::statement::{Isolation, Statement, TransactionModes};
use crate::error::Result;

impl Grammar<'_> {
    pub fn begin(&mut self) -> Result<Statement> {
        let start = self.accept("start");
        if start {
            self.expect("transaction")?;
        } else {
            self.expect("begin")?;
            self.one_of(&["work", "transaction"]);
        }
        Ok(Statement::Begin { modes: self.transaction_modes()?, start })
    }

    /// Modes with or without commas between them; the last of a kind wins.
    pub fn transaction_modes(&mut self) -> Result<TransactionModes> {
        let mut modes = TransactionModes::default();
        let mut comma = false;
        while comma || !self.at_end() {
            if self.accept("isolation") {
                self.expect("level")?;
                modes.isolation = Some(self.isolation()?);
            } else if self.accept("read") {
                modes.read_only = match self.one_of(&["only", "write"]) {
                    Some(word) => Some(word == "only"),
                    None => return self.syntax(),
                };
            } else if self.accept("deferrable") {
                modes.deferrable = Some(true);
            } else if self.take(&["not", "deferrable"]) {
                modes.deferrable = Some(false);
            } else {
                return self.syntax();
            }
            comma = self.accept_operator(",");
        }
        Ok(modes)
    }

    fn isolation(&mut self) -> Result<Isolation> {
        if self.accept("serializable") {
            return Ok(Isolation::Serializable);
        }
        if self.accept("repeatable") {
            return self.expect("read").map(|()| Isolation::RepeatableRead);
        }
        self.expect("read")?;
        match self.one_of(&["committed", "uncommitted"]) {
            Some("committed") => Ok(Isolation::ReadCommitted),
            Some(_) => Ok(Isolation::ReadUncommitted),
            None => self.syntax(),
        }
    }

    pub fn commit(&mut self) -> Result<Statement> {
        self.advance();
        if self.is("prepared") {
            return self.unsupported("COMMIT PREPARED");
        }
        self.one_of(&["work", "transaction"]);
        Ok(Statement::Commit { chain: self.chain()? })
    }

    pub fn rollback(&mut self) -> Result<Statement> {
        self.advance();
        if self.is("prepared") {
            return self.unsupported("ROLLBACK PREPARED");
        }
        self.one_of(&["work", "transaction"]);
        if self.accept("to") {
            self.accept("savepoint");
            return Ok(Statement::RollbackTo(self.name()?));
        }
        Ok(Statement::Rollback { chain: self.chain()? })
    }

    pub fn savepoint(&mut self) -> Result<Statement> {
        self.advance();
        Ok(Statement::Savepoint(self.name()?))
    }

    pub fn release(&mut self) -> Result<Statement> {
        self.advance();
        self.accept("savepoint");
        Ok(Statement::Release(self.name()?))
    }

    fn chain(&mut self) -> Result<bool> {
        if !self.accept("and") {
            return Ok(false);
        }
        let no = self.accept("no");
        self.expect("chain")?;
        Ok(!no)
    }
}
