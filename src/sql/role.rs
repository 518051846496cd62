//! CREATE, ALTER and DROP of ROLE, USER and GROUP.

use super::grammar::Grammar;
use super::statement::{AlterRole, CreateRole, DropRole, RoleOptions, Statement};
use crate::error::{Error, Result, SqlState};

impl Grammar<'_> {
    /// The rest of CREATE ROLE | USER | GROUP.
    pub fn create_role(&mut self) -> Result<Statement> {
        let is_user = self.advance().value == "user";
        let if_not_exists = self.if_not_exists(false)?;
        let name = self.role_name()?;
        let mut options = self.role_options()?;
        if is_user && options.login.is_none() {
            options.login = Some(true);
        }
        Ok(Statement::CreateRole(CreateRole { name, options, if_not_exists }))
    }

    /// The rest of ALTER ROLE | USER | GROUP.
    pub fn alter_role(&mut self) -> Result<Statement> {
        if self.is("all") {
            return self.unsupported("ALTER ROLE ALL");
        }
        let name = self.role_name()?;
        if self.accept("rename") {
            self.expect("to")?;
            let rename_to = Some(self.role_name()?);
            return Ok(Statement::AlterRole(AlterRole { name, options: RoleOptions::default(), rename_to }));
        }
        if self.is_any(&["set", "reset", "in", "add", "drop"]) {
            return self.unsupported(&format!("ALTER ROLE … {}", self.token().value.to_ascii_uppercase()));
        }
        let options = self.role_options()?;
        Ok(Statement::AlterRole(AlterRole { name, options, rename_to: None }))
    }

    pub fn drop_role(&mut self) -> Result<Statement> {
        self.advance();
        let if_exists = self.if_exists()?;
        Ok(Statement::DropRole(DropRole { names: self.list(Self::role_name)?, if_exists }))
    }

    fn role_options(&mut self) -> Result<RoleOptions> {
        let mut options = RoleOptions::default();
        self.accept("with");
        while !self.at_end() {
            self.role_option(&mut options)?;
        }
        Ok(options)
    }

    fn role_option(&mut self, options: &mut RoleOptions) -> Result<()> {
        let token = self.token();
        let word = token.value.clone();
        let on = !word.starts_with("no");
        let flag = match word.as_str() {
            "superuser" | "nosuperuser" => &mut options.superuser,
            "login" | "nologin" => &mut options.login,
            "createrole" | "nocreaterole" => &mut options.create_role,
            "createdb" | "nocreatedb" => &mut options.create_database,
            "inherit" | "noinherit" => &mut options.inherit,
            _ => return self.role_value(options),
        };
        self.advance();
        if flag.replace(on).is_some() {
            return Err(redundant(token.position));
        }
        Ok(())
    }

    fn role_value(&mut self, options: &mut RoleOptions) -> Result<()> {
        let token = self.token();
        if self.accept("encrypted") {
            self.expect("password")?;
            return self.password(options, token.position);
        }
        if self.accept("password") {
            return self.password(options, token.position);
        }
        if self.take(&["connection", "limit"]) {
            let limit = self.signed_integer()?;
            if limit < -1 {
                let message = format!("invalid connection limit: {limit}");
                return Err(Error::new(SqlState::InvalidParameterValue, message));
            }
            if options.connection_limit.replace(limit).is_some() {
                return Err(redundant(token.position));
            }
            return Ok(());
        }
        if self.take(&["valid", "until"]) {
            if options.valid_until.replace(self.string()?).is_some() {
                return Err(redundant(token.position));
            }
            return Ok(());
        }
        const REFUSED: [&str; 11] = [
            "replication",
            "noreplication",
            "bypassrls",
            "nobypassrls",
            "sysid",
            "admin",
            "role",
            "user",
            "in",
            "unencrypted",
            "adminrole",
        ];
        if self.is_any(&REFUSED) {
            return self.unsupported(&token.value.to_ascii_uppercase());
        }
        self.unrecognized_role_option()
    }

    fn unrecognized_role_option(&self) -> Result<()> {
        let token = self.token();
        if matches!(token.kind, super::token::Kind::Word(class) if class == super::keywords::Class::Plain) {
            let message = format!("unrecognized role option \"{}\"", token.value);
            return Err(Error::new(SqlState::SyntaxError, message).at(token.position));
        }
        self.syntax()
    }

    fn password(&mut self, options: &mut RoleOptions, position: u32) -> Result<()> {
        let password = if self.accept("null") { None } else { Some(self.string()?) };
        if options.password.replace(password).is_some() {
            return Err(redundant(position));
        }
        Ok(())
    }
}

fn redundant(position: u32) -> Error {
    Error::new(SqlState::SyntaxError, "conflicting or redundant options").at(position)
}
