//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side (RFC 5802, RFC 7677), with PostgreSQL's verifiers and messages.
//!
//! An unknown role goes through the same exchange against a verifier derived from a secret of this process, so that neither
//! time nor shape tells whether a role exists.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::{Error, Result, SqlState};

pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// PostgreSQL's number of iterations for new verifiers.
pub const ITERATIONS: u32 = 4096;

const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 18;
type Key = [u8; 32];

/// What is stored of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

/// A new verifier of the password, `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. Takes milliseconds of CPU.
pub fn verifier(password: &str, iterations: u32) -> String {
    let mut salt = [0; SALT_BYTES];
    rand::rng().fill_bytes(&mut salt);
    Verifier::derive(password, iterations.max(1), &salt).to_string()
}

/// What CREATE ROLE … PASSWORD stores: the text itself if it is a verifier already, else a new verifier of it. MD5 verifiers
/// are 0A000, and an empty password is 22023.
pub fn verifier_to_store(password: &str, iterations: u32) -> Result<String> {
    if Verifier::parse(password).is_some() {
        return Ok(password.to_owned());
    }
    if is_md5(password) {
        return Err(
            Error::unsupported("an MD5 password").with_hint("Give the password itself or a SCRAM-SHA-256 verifier.")
        );
    }
    if password.is_empty() {
        return Err(Error::new(SqlState::InvalidParameterValue, "empty string is not a valid password"));
    }
    Ok(verifier(password, iterations))
}

fn is_md5(password: &str) -> bool {
    password
        .strip_prefix("md5")
        .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl Verifier {
    fn derive(password: &str, iterations: u32, salt: &[u8]) -> Self {
        // As in PostgreSQL, a password that SASLprep refuses is taken as its bytes are.
        let prepared = stringprep::saslprep(password).unwrap_or(password.into());
        let salted: Key = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(prepared.as_bytes(), salt, iterations);
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: Sha256::digest(hmac(&salted, &[b"Client Key"])).into(),
            server_key: hmac(&salted, &[b"Server Key"]),
        }
    }

    /// Reads the stored form; `None` when it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let (parameters, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        Some(Self {
            iterations: iterations.parse().ok().filter(|iterations| *iterations > 0)?,
            salt: BASE64.decode(salt).ok()?,
            stored_key: BASE64.decode(stored_key).ok()?.try_into().ok()?,
            server_key: BASE64.decode(server_key).ok()?.try_into().ok()?,
        })
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iterations, salt, stored_key, server_key } = self;
        let [salt, stored_key, server_key] =
            [salt.as_slice(), stored_key, server_key].map(|bytes| BASE64.encode(bytes));
        write!(f, "SCRAM-SHA-256${iterations}:{salt}${stored_key}:{server_key}")
    }
}

/// Whether the password is the one of this verifier. Takes milliseconds of CPU.
pub fn verify_password(verifier: &Verifier, password: &str) -> bool {
    let derived = Verifier::derive(password, verifier.iterations, &verifier.salt);
    derived.stored_key.ct_eq(&verifier.stored_key).into()
}

/// Makes verifiers for roles that do not exist or have no password: the same one for the same name in this process.
pub struct Decoy {
    secret: Key,
}

impl Default for Decoy {
    fn default() -> Self {
        let mut secret = [0; 32];
        rand::rng().fill_bytes(&mut secret);
        Self { secret }
    }
}

impl Decoy {
    fn verifier(&self, user: &str) -> Verifier {
        let salt = hmac(&self.secret, &[b"salt", user.as_bytes()]);
        Verifier {
            iterations: ITERATIONS,
            salt: salt.iter().copied().take(SALT_BYTES).collect(),
            stored_key: hmac(&self.secret, &[b"stored", user.as_bytes()]),
            server_key: hmac(&self.secret, &[b"server", user.as_bytes()]),
        }
    }
}

/// One authentication, from the client's first message to its final one.
pub struct Exchange {
    verifier: Verifier,
    /// Fails whatever the client proves.
    doomed: bool,
    /// `tls-server-end-point` data; `Some` when SCRAM-SHA-256-PLUS was offered.
    end_point: Option<Vec<u8>>,
    gs2_header: String,
    bound: bool,
    client_first_bare: String,
    server_first: String,
    nonce: String,
}

impl Exchange {
    /// Against this verifier; without one (no such role, no password, expired) every proof fails.
    pub fn new(verifier: Option<Verifier>, user: &str, decoy: &Decoy, end_point: Option<Vec<u8>>) -> Self {
        let fake = decoy.verifier(user);
        Self {
            doomed: verifier.is_none(),
            verifier: verifier.unwrap_or(fake),
            end_point,
            gs2_header: String::new(),
            bound: false,
            client_first_bare: String::new(),
            server_first: String::new(),
            nonce: String::new(),
        }
    }

    /// What AuthenticationSASL offers.
    pub fn mechanisms(&self) -> &'static [&'static str] {
        if self.end_point.is_some() { &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256] } else { &[SCRAM_SHA_256] }
    }

    /// Takes the client's first message and answers the server's first. Errors are 08P01, 0A000 or 28000.
    pub fn first(&mut self, mechanism: &str, message: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        self.first_with(mechanism, message, &BASE64.encode(nonce))
    }

    fn first_with(&mut self, mechanism: &str, message: &[u8], server_nonce: &str) -> Result<Vec<u8>> {
        self.bound = match mechanism {
            SCRAM_SHA_256 => false,
            SCRAM_SHA_256_PLUS if self.end_point.is_some() => true,
            _ => return Err(violation("client selected an invalid SASL authentication mechanism")),
        };
        let message = std::str::from_utf8(message).map_err(|_| malformed("The message is not UTF-8."))?;
        let (flag, rest) = message.split_once(',').ok_or_else(|| malformed("Attribute expected."))?;
        self.check_binding_flag(flag)?;
        let (authorization_id, bare) = rest.split_once(',').ok_or_else(|| malformed("Attribute expected."))?;
        if !authorization_id.is_empty() {
            return Err(Error::new(
                SqlState::FeatureNotSupported,
                "client uses authorization identity, but it is not supported",
            ));
        }
        let client_nonce = client_nonce(bare)?;
        self.gs2_header = format!("{flag},,");
        self.client_first_bare = bare.to_owned();
        self.nonce = format!("{client_nonce}{server_nonce}");
        let salt = BASE64.encode(&self.verifier.salt);
        self.server_first = format!("r={},s={salt},i={}", self.nonce, self.verifier.iterations);
        Ok(self.server_first.clone().into_bytes())
    }

    /// The GS2 flag: `n` no support, `y` support but the server is thought to have none, `p=…` binding in use.
    fn check_binding_flag(&self, flag: &str) -> Result<()> {
        match flag {
            "n" | "y" if self.bound => Err(malformed(
                "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.",
            )),
            "n" => Ok(()),
            // We offered it: somebody in between took the offer away.
            "y" if self.end_point.is_some() => Err(Error::new(
                SqlState::InvalidAuthorizationSpecification,
                "SCRAM channel binding negotiation error",
            )
            .with_detail(
                "The client supports SCRAM channel binding but thinks the server does not.  However, this server does \
                 support channel binding.",
            )),
            "y" => Ok(()),
            _ => match flag.strip_prefix("p=") {
                None => Err(malformed(format!("Unexpected channel-binding flag \"{}\".", sanitized(flag)))),
                Some(_) if !self.bound => Err(malformed(
                    "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel \
                     binding data.",
                )),
                Some("tls-server-end-point") => Ok(()),
                Some(other) => {
                    Err(violation(format!("unsupported SCRAM channel-binding type \"{}\"", sanitized(other))))
                }
            },
        }
    }

    /// Takes the client's final message. The server's final message when the proof is right, `None` when it is not.
    pub fn last(self, message: &[u8]) -> Result<Option<Vec<u8>>> {
        let message = std::str::from_utf8(message).map_err(|_| malformed("The message is not UTF-8."))?;
        let (without_proof, proof) =
            message.rsplit_once(",p=").ok_or_else(|| malformed("Malformed proof in client-final-message."))?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|attribute| attribute.strip_prefix("c="));
        let binding = binding.ok_or_else(|| malformed("Expected attribute \"c\"."))?;
        let nonce = attributes.next().and_then(|attribute| attribute.strip_prefix("r="));
        let nonce = nonce.ok_or_else(|| malformed("Expected attribute \"r\"."))?;
        self.check_binding(binding)?;
        if nonce != self.nonce {
            return Err(violation("invalid SCRAM response").with_detail("Nonce does not match."));
        }
        let proof: Option<Key> = BASE64.decode(proof).ok().and_then(|proof| proof.try_into().ok());
        let proof = proof.ok_or_else(|| malformed("Malformed proof in client-final-message."))?;
        Ok(self.check_proof(without_proof, &proof))
    }

    fn check_binding(&self, attribute: &str) -> Result<()> {
        let mut expected = self.gs2_header.clone().into_bytes();
        if self.bound {
            expected.extend(self.end_point.iter().flatten());
        }
        if attribute.as_bytes().ct_eq(BASE64.encode(expected).as_bytes()).into() {
            return Ok(());
        }
        if self.bound {
            Err(Error::new(SqlState::InvalidAuthorizationSpecification, "SCRAM channel binding check failed"))
        } else {
            Err(violation("unexpected SCRAM channel-binding attribute in client-final-message"))
        }
    }

    fn check_proof(&self, without_proof: &str, proof: &Key) -> Option<Vec<u8>> {
        let message = [&self.client_first_bare, ",", &self.server_first, ",", without_proof].map(str::as_bytes);
        let signature = hmac(&self.verifier.stored_key, &message);
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(proof, signature)| proof ^ signature).collect();
        let stored_key: Key = Sha256::digest(client_key).into();
        let proven: bool = stored_key.ct_eq(&self.verifier.stored_key).into();
        let answer = format!("v={}", BASE64.encode(hmac(&self.verifier.server_key, &message)));
        (proven && !self.doomed).then(|| answer.into_bytes())
    }
}

/// The nonce of `n=user,r=nonce[,extensions]`. The user name in it is not looked at: the startup message named the user.
fn client_nonce(bare: &str) -> Result<&str> {
    let mut attributes = bare.split(',');
    let name = attributes.next().unwrap_or_default();
    if name.starts_with("m=") {
        return Err(Error::new(SqlState::FeatureNotSupported, "client requires an unsupported SCRAM extension"));
    }
    if !name.starts_with("n=") {
        return Err(malformed("Expected attribute \"n\"."));
    }
    let nonce = attributes.next().and_then(|attribute| attribute.strip_prefix("r="));
    let nonce = nonce.ok_or_else(|| malformed("Expected attribute \"r\"."))?;
    if nonce.is_empty() || !nonce.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        return Err(violation("non-printable characters in SCRAM nonce"));
    }
    Ok(nonce)
}

fn hmac(key: &[u8], message: &[&[u8]]) -> Key {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("a key of any length");
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn sanitized(text: &str) -> String {
    text.chars().take(30).map(|character| if character.is_ascii_graphic() { character } else { '?' }).collect()
}

fn violation(message: impl Into<String>) -> Error {
    Error::new(SqlState::ProtocolViolation, message)
}

fn malformed(detail: impl Into<String>) -> Error {
    violation("malformed SCRAM message").with_detail(detail)
}

#[cfg(test)]
mod tests;
