//! From the startup message to a proven role: host rules, SCRAM, client certificates. Every fault is FATAL.

use chrono::{DateTime, Utc};

use super::channel::Transport;
use super::counters::Counters;
use super::link::{Link, Stop};
use super::reader::{Reader, violation};
use super::startup::Startup;
use super::tls::Stream;
use super::{Context, Peer, backend};
use crate::auth::scram::{Decoy, Exchange, Verifier};
use crate::auth::{Attempt, Method, certificate};
use crate::catalog::Role;
use crate::error::{Error, Result, SqlState};

/// The largest password message (PostgreSQL's PG_MAX_SASL_MESSAGE_LENGTH is 1024).
const PASSWORD_BYTES_MAX: usize = 10_000;

/// Proves the client to be the role it names and answers that role. The caller limits the time.
pub async fn authenticate<S: Transport>(
    link: &mut Link<Stream<S>>,
    startup: &Startup,
    peer: Peer,
    context: &Context,
) -> Result<Role, Stop> {
    let proven = prove(link, startup, peer, context).await;
    if let Err(Stop::Fatal(_)) = &proven {
        Counters::count(&context.counters.authentications_failed);
    }
    proven
}

async fn prove<S: Transport>(
    link: &mut Link<Stream<S>>,
    startup: &Startup,
    peer: Peer,
    context: &Context,
) -> Result<Role, Stop> {
    let user = startup.user.as_str();
    let attempt = Attempt {
        client: peer.client.map(|address| address.ip()),
        server: peer.server.map(|address| address.ip()),
        tls: link.channel.stream().is_tls(),
        user,
        database: startup.database.as_deref().unwrap_or(user),
    };
    let method = context.host_rules.method(&attempt).map_err(Stop::Fatal)?;
    let role = link.during(context.service.role(user)).await?.map_err(fatal)?;
    match method {
        Method::Trust => {}
        Method::Cert => check_certificate(link.channel.stream(), user).map_err(fatal)?,
        Method::ScramSha256 => check_password(link, role.as_ref(), user, &context.decoy).await?,
        Method::Reject => return Err(Stop::Fatal(no_role(user))),
    }
    match role {
        None => Err(Stop::Fatal(no_role(user))),
        Some(role) if !role.login => {
            Err(Stop::Fatal(not_authorized(format!("role \"{user}\" is not permitted to log in"))))
        }
        Some(role) => Ok(role),
    }
}

fn fatal(error: Error) -> Stop {
    Stop::Fatal(error.fatal())
}

fn not_authorized(message: String) -> Error {
    Error::new(SqlState::InvalidAuthorizationSpecification, message).fatal()
}

fn no_role(user: &str) -> Error {
    not_authorized(format!("role \"{user}\" does not exist"))
}

fn check_certificate<S>(stream: &Stream<S>, user: &str) -> Result<()> {
    let Some(shown) = stream.client_certificate() else {
        return Err(not_authorized("connection requires a valid client certificate".to_owned()));
    };
    if certificate::common_name(shown).as_deref() == Some(user) {
        return Ok(());
    }
    Err(not_authorized(format!("certificate authentication failed for user \"{user}\"")))
}

async fn check_password<S: Transport>(
    link: &mut Link<Stream<S>>,
    role: Option<&Role>,
    user: &str,
    decoy: &Decoy,
) -> Result<(), Stop> {
    let verifier = role.filter(|role| is_valid(role, Utc::now())).and_then(|role| role.verifier.as_deref());
    let end_point = link.channel.stream().end_point();
    let mut exchange = Exchange::new(verifier.and_then(Verifier::parse), user, decoy, end_point);

    backend::authentication_sasl(&mut link.channel.output, exchange.mechanisms());
    link.flush().await?;
    let mut first = Reader::new(link.next_frame_of(b'p', PASSWORD_BYTES_MAX).await?.body);
    let (mechanism, message) = initial_response(&mut first).map_err(fatal)?;
    let challenge = exchange.first(&mechanism, &message).map_err(fatal)?;

    backend::authentication_sasl_continue(&mut link.channel.output, &challenge);
    link.flush().await?;
    let last = link.next_frame_of(b'p', PASSWORD_BYTES_MAX).await?.body;
    match exchange.last(&last).map_err(fatal)? {
        Some(answer) => {
            backend::authentication_sasl_final(&mut link.channel.output, &answer);
            Ok(())
        }
        None => {
            let message = format!("password authentication failed for user \"{user}\"");
            Err(fatal(Error::new(SqlState::InvalidPassword, message)))
        }
    }
}

/// SASLInitialResponse: the mechanism and the client's first message.
fn initial_response(reader: &mut Reader) -> Result<(String, bytes::Bytes)> {
    let mechanism = reader.string()?;
    let message = reader.value()?.ok_or_else(|| violation("malformed SCRAM message"))?;
    reader.end()?;
    Ok((mechanism, message))
}

/// Whether the role's password may still be used. A date that cannot be read does not let anybody in.
fn is_valid(role: &Role, now: DateTime<Utc>) -> bool {
    match role.valid_until.as_deref() {
        None | Some("infinity") => true,
        Some(until) => DateTime::parse_from_rfc3339(until).is_ok_and(|until| until > now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(valid_until: Option<&str>) -> Role {
        Role {
            oid: 1,
            superuser: false,
            login: true,
            create_role: false,
            create_database: false,
            inherit: true,
            connection_limit: -1,
            verifier: None,
            valid_until: valid_until.map(str::to_owned),
        }
    }

    #[test]
    fn a_password_lives_until_its_date() {
        let now = DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().to_utc();
        for (until, valid) in [
            (None, true),
            (Some("infinity"), true),
            (Some("2026-01-01T00:00:01Z"), true),
            (Some("2026-01-01T00:00:00Z"), false),
            (Some("2026-01-01T00:30:00+01:00"), false),
            (Some("soon"), false),
        ] {
            assert_eq!(is_valid(&role(until), now), valid, "{until:?}");
        }
    }
}
