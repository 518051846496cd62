//! Which hosts may come in as whom, and how they prove it: the rules of PostgreSQL's `pg_hba.conf`. The first match decides.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::error::{Error, Result, SqlState};

/// The rules in order.
#[derive(Debug, Clone, PartialEq)]
pub struct HostRules(Vec<Rule>);

#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub connection: Connection,
    pub database: Names,
    pub user: Names,
    pub address: Address,
    pub method: Method,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Not over a network.
    Local,
    Host,
    HostSsl,
    HostNoSsl,
}

/// Databases or users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    All,
    /// A database of the user's own name.
    SameUser,
    These(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    All,
    /// The address that the client reached us under, and loopback.
    SameHost,
    Network {
        address: IpAddr,
        prefix_bits: u8,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Trust,
    ScramSha256,
    /// A client certificate whose common name is the user.
    Cert,
    Reject,
}

/// Somebody who wants to come in.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// `None`: not over a network.
    pub client: Option<IpAddr>,
    pub server: Option<IpAddr>,
    pub tls: bool,
    pub user: &'a str,
    pub database: &'a str,
}

impl Default for HostRules {
    /// Trust for loopback, SCRAM-SHA-256 elsewhere.
    fn default() -> Self {
        let rule =
            |connection, address, method| Rule { connection, database: Names::All, user: Names::All, address, method };
        let network = |address: IpAddr, prefix_bits| Address::Network { address, prefix_bits };
        Self(vec![
            rule(Connection::Local, Address::All, Method::Trust),
            rule(Connection::Host, network(IpAddr::from([127, 0, 0, 0]), 8), Method::Trust),
            rule(Connection::Host, network(IpAddr::from(std::net::Ipv6Addr::LOCALHOST), 128), Method::Trust),
            rule(Connection::Host, Address::All, Method::ScramSha256),
        ])
    }
}

impl HostRules {
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// The method of the first rule that fits. 28000 (FATAL), in PostgreSQL's words, when none fits or it says `reject`.
    pub fn method(&self, attempt: &Attempt<'_>) -> Result<Method> {
        match self.0.iter().find(|rule| rule.fits(attempt)).map(|rule| rule.method) {
            None => Err(refused("no pg_hba.conf entry for", attempt)),
            Some(Method::Reject) => Err(refused("pg_hba.conf rejects connection for", attempt)),
            Some(method @ (Method::Trust | Method::ScramSha256 | Method::Cert)) => Ok(method),
        }
    }

    /// The first rule that lets hosts beyond loopback in without any proof.
    pub fn trust_beyond_loopback(&self) -> Option<&Rule> {
        self.0.iter().find(|rule| {
            rule.method == Method::Trust
                && rule.connection != Connection::Local
                && match rule.address {
                    Address::All => true,
                    Address::SameHost => false,
                    Address::Network { address, prefix_bits } => !is_loopback_network(address, prefix_bits),
                }
        })
    }
}

fn is_loopback_network(address: IpAddr, prefix_bits: u8) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() && prefix_bits >= 8,
        IpAddr::V6(address) => address.is_loopback() && prefix_bits == 128,
    }
}

fn refused(words: &str, attempt: &Attempt<'_>) -> Error {
    let origin = match attempt.client {
        None => "[local]".to_owned(),
        Some(address) => address.to_canonical().to_string(),
    };
    let encryption = if attempt.tls { "SSL encryption" } else { "no encryption" };
    let Attempt { user, database, .. } = attempt;
    let message = format!("{words} host \"{origin}\", user \"{user}\", database \"{database}\", {encryption}");
    Error::new(SqlState::InvalidAuthorizationSpecification, message).fatal()
}

impl Rule {
    fn fits(&self, attempt: &Attempt<'_>) -> bool {
        let connection = match self.connection {
            Connection::Local => attempt.client.is_none(),
            Connection::Host => attempt.client.is_some(),
            Connection::HostSsl => attempt.client.is_some() && attempt.tls,
            Connection::HostNoSsl => attempt.client.is_some() && !attempt.tls,
        };
        connection
            && self.address.fits(attempt)
            && self.database.fits(attempt.database, attempt.user)
            && self.user.fits(attempt.user, attempt.user)
    }
}

impl Names {
    fn fits(&self, name: &str, user: &str) -> bool {
        match self {
            Self::All => true,
            Self::SameUser => name == user,
            Self::These(names) => names.iter().any(|one| one == name),
        }
    }
}

impl Address {
    fn fits(&self, attempt: &Attempt<'_>) -> bool {
        let Some(client) = attempt.client.map(|address| address.to_canonical()) else {
            return *self == Self::All;
        };
        match self {
            Self::All => true,
            Self::SameHost => {
                client.is_loopback() || attempt.server.is_some_and(|server| server.to_canonical() == client)
            }
            Self::Network { address, prefix_bits } => contains(*address, *prefix_bits, client),
        }
    }
}

fn contains(network: IpAddr, prefix_bits: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let shift = 32u32.saturating_sub(u32::from(prefix_bits));
            network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let shift = 128u32.saturating_sub(u32::from(prefix_bits));
            network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

impl FromStr for HostRules {
    type Err = Error;

    /// One rule a line; `#` starts a comment.
    fn from_str(text: &str) -> Result<Self> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        lines.filter(|line| !line.is_empty()).map(str::parse).collect::<Result<Vec<_>>>().map(Self)
    }
}

impl FromStr for Rule {
    type Err = Error;

    /// `host|hostssl|hostnossl DATABASE USER ADDRESS METHOD`, or `local DATABASE USER METHOD`. F0000 otherwise.
    fn from_str(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (connection, database, user, address, method) = match words.as_slice() {
            ["local", database, user, method] => (Connection::Local, database, user, Address::All, method),
            [connection, database, user, address, method] => {
                (connection_of(connection, text)?, database, user, address_of(address, text)?, method)
            }
            _ => return Err(invalid(text, "A rule has five words: host, database, user, address, method.")),
        };
        let method = method_of(method, text)?;
        if method == Method::Cert && connection != Connection::HostSsl {
            return Err(invalid(text, "The method cert needs hostssl."));
        }
        let user = match names_of(user) {
            Names::SameUser => return Err(invalid(text, "sameuser names databases only.")),
            names @ (Names::All | Names::These(_)) => names,
        };
        Ok(Self { connection, database: names_of(database), user, address, method })
    }
}

fn connection_of(word: &str, rule: &str) -> Result<Connection> {
    match word {
        "host" => Ok(Connection::Host),
        "hostssl" => Ok(Connection::HostSsl),
        "hostnossl" => Ok(Connection::HostNoSsl),
        _ => Err(invalid(rule, "The first word is local, host, hostssl or hostnossl.")),
    }
}

fn names_of(word: &str) -> Names {
    match word {
        "all" => Names::All,
        "sameuser" => Names::SameUser,
        names => Names::These(names.split(',').map(|name| name.trim_matches('"').to_owned()).collect()),
    }
}

fn address_of(word: &str, rule: &str) -> Result<Address> {
    let fault = || invalid(rule, "An address is all, samehost, or a network such as 10.0.0.0/8 or ::1/128.");
    match word {
        "all" => return Ok(Address::All),
        "samehost" => return Ok(Address::SameHost),
        _ => {}
    }
    let (address, prefix) = word.split_once('/').map_or((word, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().map_err(|_| fault())?;
    let bits_max: u8 = if address.is_ipv4() { 32 } else { 128 };
    let prefix_bits = match prefix {
        None => bits_max,
        Some(prefix) => prefix.parse().ok().filter(|bits| *bits <= bits_max).ok_or_else(fault)?,
    };
    Ok(Address::Network { address, prefix_bits })
}

fn method_of(word: &str, rule: &str) -> Result<Method> {
    match word {
        "trust" => Ok(Method::Trust),
        "scram-sha-256" => Ok(Method::ScramSha256),
        "cert" => Ok(Method::Cert),
        "reject" => Ok(Method::Reject),
        _ => Err(invalid(rule, "The method is trust, scram-sha-256, cert or reject.")),
    }
}

fn invalid(rule: &str, detail: &str) -> Error {
    Error::new(SqlState::ConfigFileError, format!("invalid host rule \"{rule}\"")).with_detail(detail)
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connection = match self.connection {
            Connection::Local => "local",
            Connection::Host => "host",
            Connection::HostSsl => "hostssl",
            Connection::HostNoSsl => "hostnossl",
        };
        let method = match self.method {
            Method::Trust => "trust",
            Method::ScramSha256 => "scram-sha-256",
            Method::Cert => "cert",
            Method::Reject => "reject",
        };
        write!(f, "{connection} {} {} ", self.database, self.user)?;
        if self.connection != Connection::Local {
            write!(f, "{} ", self.address)?;
        }
        f.write_str(method)
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::SameUser => f.write_str("sameuser"),
            Self::These(names) => f.write_str(&names.join(",")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::SameHost => f.write_str("samehost"),
            Self::Network { address, prefix_bits } => write!(f, "{address}/{prefix_bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(client: &str, tls: bool) -> Attempt<'static> {
        let client = Some(client.parse().unwrap());
        Attempt { client, server: Some(IpAddr::from([10, 0, 0, 1])), tls, user: "u", database: "d" }
    }

    #[test]
    fn the_default_trusts_loopback_only() {
        let rules = HostRules::default();
        for (client, method) in [
            ("127.0.0.1", Method::Trust),
            ("127.9.9.9", Method::Trust),
            ("::1", Method::Trust),
            ("::ffff:127.0.0.1", Method::Trust),
            ("10.0.0.1", Method::ScramSha256),
            ("::ffff:10.0.0.1", Method::ScramSha256),
            ("::2", Method::ScramSha256),
        ] {
            assert_eq!(rules.method(&attempt(client, false)).unwrap(), method, "{client}");
        }
        assert!(rules.trust_beyond_loopback().is_none());
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules: HostRules = "
            # comment
            hostnossl all     all     10.0.0.0/8     reject
            hostssl   all     boss    all            cert
            hostssl   d,e     all     10.1.0.0/16    trust
            host      sameuser all    samehost       trust
            hostssl   all     all     all            scram-sha-256"
            .parse()
            .unwrap();
        assert_eq!(rules.method(&attempt("10.1.2.3", true)).unwrap(), Method::Trust);
        assert_eq!(rules.method(&attempt("10.2.2.3", true)).unwrap(), Method::ScramSha256);
        assert_eq!(rules.method(&Attempt { user: "boss", ..attempt("10.1.2.3", true) }).unwrap(), Method::Cert);
        assert_eq!(rules.method(&Attempt { database: "u", ..attempt("127.0.0.1", false) }).unwrap(), Method::Trust);
        assert_eq!(
            rules.method(&attempt("10.1.2.3", false)).unwrap_err().message(),
            "pg_hba.conf rejects connection for host \"10.1.2.3\", user \"u\", database \"d\", no encryption"
        );
    }

    #[test]
    fn no_rule_is_postgresqls_refusal() {
        let rules: HostRules = "hostssl all all 192.168.0.0/16 trust".parse().unwrap();
        let fault = rules.method(&attempt("8.8.8.8", true)).unwrap_err();
        assert_eq!(fault.sqlstate().code(), "28000");
        assert_eq!(
            fault.message(),
            "no pg_hba.conf entry for host \"8.8.8.8\", user \"u\", database \"d\", SSL encryption"
        );
    }

    #[test]
    fn a_rule_reads_back_as_it_was_written() {
        for rule in [
            "local all all trust",
            "host all all all scram-sha-256",
            "hostssl d,e u 10.0.0.0/8 cert",
            "hostnossl sameuser u ::1/128 reject",
            "host all all samehost trust",
        ] {
            assert_eq!(rule.parse::<Rule>().unwrap().to_string(), rule);
        }
    }

    #[test]
    fn malformed_rules_are_refused() {
        for rule in [
            "host all all trust",
            "unix all all all trust",
            "host all all 10.0.0.0/33 trust",
            "host all all example.com trust",
            "host all all all md5",
            "host all all all cert",
            "host all sameuser all trust",
            "",
        ] {
            assert_eq!(rule.parse::<Rule>().unwrap_err().sqlstate(), SqlState::ConfigFileError, "{rule}");
        }
    }

    #[test]
    fn a_prefix_of_no_bits_is_every_address_of_its_family() {
        assert!(contains(IpAddr::from([0, 0, 0, 0]), 0, IpAddr::from([8, 8, 8, 8])));
        assert!(!contains(IpAddr::from([0, 0, 0, 0]), 0, "::1".parse().unwrap()));
        assert!(contains("::".parse().unwrap(), 0, "2001::1".parse().unwrap()));
    }

    #[test]
    fn trust_for_a_wider_network_than_loopback_is_found() {
        for (rule, exposed) in [
            ("host all all 127.0.0.0/8 trust", false),
            ("host all all 127.0.0.1/32 trust", false),
            ("host all all 127.0.0.0/1 trust", true),
            ("host all all ::1/128 trust", false),
            ("host all all ::1/0 trust", true),
            ("host all all all trust", true),
            ("host all all samehost trust", false),
        ] {
            let rules: HostRules = rule.parse().unwrap();
            assert_eq!(rules.trust_beyond_loopback().is_some(), exposed, "{rule}");
        }
    }
}
