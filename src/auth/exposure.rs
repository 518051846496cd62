//! The check before listening: nobody gets in from outside without encryption and a proof, unless told so.

use std::net::SocketAddr;

use super::host_rules::HostRules;
use crate::error::{Error, Result, SqlState};

/// Refuses to listen beyond loopback without TLS, or with rules that trust hosts beyond it. `allow` is
/// `server.allow_insecure_listen`. F0000 with that hint.
pub fn check_exposure(addresses: &[SocketAddr], tls: bool, rules: &HostRules, allow: bool) -> Result<()> {
    let Some(exposed) = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback()) else {
        return Ok(());
    };
    if allow {
        return Ok(());
    }
    let refusal = Error::new(SqlState::ConfigFileError, format!("refusing to listen on {exposed}"));
    if !tls {
        return Err(refusal
            .with_detail("The address can be reached from other hosts, and no TLS certificate is configured.")
            .with_hint("Configure TLS, listen on 127.0.0.1, or set server.allow_insecure_listen."));
    }
    match rules.trust_beyond_loopback() {
        None => Ok(()),
        Some(rule) => Err(refusal
            .with_detail(format!("The host rule \"{rule}\" lets other hosts in without a password."))
            .with_hint("Use scram-sha-256 or cert in that rule, or set server.allow_insecure_listen.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_encrypted_and_proven_access_is_exposed() {
        let trusting: HostRules = "host all all 10.0.0.0/8 trust".parse().unwrap();
        for (address, tls, rules, allow, accepted) in [
            ("127.0.0.1:5432", false, HostRules::default(), false, true),
            ("[::1]:5432", false, HostRules::default(), false, true),
            ("0.0.0.0:5432", false, HostRules::default(), false, false),
            ("[::]:5432", false, HostRules::default(), false, false),
            ("10.0.0.1:5432", true, HostRules::default(), false, true),
            ("10.0.0.1:5432", true, trusting.clone(), false, false),
            ("10.0.0.1:5432", false, trusting, true, true),
        ] {
            let checked = check_exposure(&[address.parse().unwrap()], tls, &rules, allow);
            assert_eq!(checked.is_ok(), accepted, "{address} tls={tls} allow={allow}");
            if let Err(error) = checked {
                assert!(error.hint().unwrap().contains("server.allow_insecure_listen"));
            }
        }
    }
}
