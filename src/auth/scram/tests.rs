use proptest::prelude::*;

use super::*;

// RFC 7677, section 3.
const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

fn pencil() -> Verifier {
    Verifier::derive("pencil", 4096, &BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap())
}

fn exchange(end_point: Option<&[u8]>) -> Exchange {
    Exchange::new(Some(pencil()), "user", &Decoy::default(), end_point.map(<[u8]>::to_vec))
}

/// A client's final message for these parameters.
fn client_final(exchange: &Exchange, binding: &[u8], password: &str) -> String {
    let verifier = &exchange.verifier;
    let without_proof = format!("c={},r={}", BASE64.encode(binding), exchange.nonce);
    let salted: Key = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &verifier.salt, verifier.iterations);
    let client_key = hmac(&salted, &[b"Client Key"]);
    let stored_key: Key = Sha256::digest(client_key).into();
    let message = format!("{},{},{without_proof}", exchange.client_first_bare, exchange.server_first);
    let signature = hmac(&stored_key, &[message.as_bytes()]);
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, signature)| key ^ signature).collect();
    format!("{without_proof},p={}", BASE64.encode(proof))
}

#[test]
fn the_exchange_of_the_rfc_is_followed() {
    let mut exchange = exchange(None);
    let server_first = exchange.first_with(SCRAM_SHA_256, CLIENT_FIRST.as_bytes(), SERVER_NONCE).unwrap();
    assert_eq!(
        String::from_utf8(server_first).unwrap(),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let server_final = exchange.last(CLIENT_FINAL.as_bytes()).unwrap().unwrap();
    assert_eq!(server_final, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn a_wrong_password_and_an_unknown_role_fail_alike() {
    let decoy = Decoy::default();
    for verifier in [Some(pencil()), None] {
        let mut exchange = Exchange::new(verifier, "user", &decoy, None);
        exchange.first(SCRAM_SHA_256, CLIENT_FIRST.as_bytes()).unwrap();
        let message = client_final(&exchange, b"n,,", "wrong");
        assert_eq!(exchange.last(message.as_bytes()).unwrap(), None);
    }
}

#[test]
fn an_unknown_role_shows_the_same_salt_each_time() {
    let decoy = Decoy::default();
    let shown = |decoy: &Decoy, user| {
        let mut exchange = Exchange::new(None, user, decoy, None);
        let first = exchange.first_with(SCRAM_SHA_256, CLIENT_FIRST.as_bytes(), "nonce").unwrap();
        String::from_utf8(first).unwrap()
    };
    assert_eq!(shown(&decoy, "nobody"), shown(&decoy, "nobody"));
    assert_ne!(shown(&decoy, "nobody"), shown(&decoy, "somebody"));
    assert!(shown(&decoy, "nobody").ends_with(",i=4096"));
}

#[test]
fn channel_binding_is_checked() {
    let first = "p=tls-server-end-point,,n=,r=abc";
    for (bound_to, accepted) in [(b"hash".as_slice(), true), (b"other", false)] {
        let mut exchange = exchange(Some(b"hash"));
        exchange.first(SCRAM_SHA_256_PLUS, first.as_bytes()).unwrap();
        let binding = [b"p=tls-server-end-point,,".as_slice(), bound_to].concat();
        let message = client_final(&exchange, &binding, "pencil");
        match exchange.last(message.as_bytes()) {
            Ok(answer) => assert_eq!(answer.is_some(), accepted),
            Err(error) => {
                assert!(!accepted);
                assert_eq!(error.message(), "SCRAM channel binding check failed");
            }
        }
    }
}

#[test]
fn downgrades_and_malformed_messages_are_refused() {
    let plus = Some(b"hash".as_slice());
    for (end_point, mechanism, message, sqlstate, text) in [
        (plus, SCRAM_SHA_256, "y,,n=,r=abc", "28000", "SCRAM channel binding negotiation error"),
        (plus, SCRAM_SHA_256_PLUS, "n,,n=,r=abc", "08P01", "malformed SCRAM message"),
        (plus, SCRAM_SHA_256, "p=tls-server-end-point,,n=,r=abc", "08P01", "malformed SCRAM message"),
        (
            plus,
            SCRAM_SHA_256_PLUS,
            "p=tls-unique,,n=,r=abc",
            "08P01",
            "unsupported SCRAM channel-binding type \"tls-unique\"",
        ),
        (None, SCRAM_SHA_256_PLUS, "p=x,,n=,r=a", "08P01", "client selected an invalid SASL authentication mechanism"),
        (None, "PLAIN", "n,,n=,r=abc", "08P01", "client selected an invalid SASL authentication mechanism"),
        (
            None,
            SCRAM_SHA_256,
            "n,a=admin,n=,r=abc",
            "0A000",
            "client uses authorization identity, but it is not supported",
        ),
        (None, SCRAM_SHA_256, "n,,m=x,n=,r=abc", "0A000", "client requires an unsupported SCRAM extension"),
        (None, SCRAM_SHA_256, "n,,n=,r=", "08P01", "non-printable characters in SCRAM nonce"),
        (None, SCRAM_SHA_256, "n", "08P01", "malformed SCRAM message"),
        (None, SCRAM_SHA_256, "x,,n=,r=abc", "08P01", "malformed SCRAM message"),
    ] {
        let error = exchange(end_point).first(mechanism, message.as_bytes()).unwrap_err();
        assert_eq!((error.sqlstate().code(), error.message()), (sqlstate, text), "{message}");
    }
    assert!(exchange(None).first(SCRAM_SHA_256, b"y,,n=,r=abc").is_ok(), "y is right when nothing was offered");
}

#[test]
fn a_final_message_must_repeat_nonce_and_header() {
    for (message, text) in [
        ("c=biws,r=other,p=AAAA", "invalid SCRAM response"),
        ("c=eSws,r=abcnonce,p=AAAA", "unexpected SCRAM channel-binding attribute in client-final-message"),
        ("c=biws,r=abcnonce,p=AAAA", "malformed SCRAM message"),
        ("c=biws,r=abcnonce", "malformed SCRAM message"),
        ("", "malformed SCRAM message"),
    ] {
        let mut exchange = exchange(None);
        exchange.first_with(SCRAM_SHA_256, b"n,,n=,r=abc", "nonce").unwrap();
        assert_eq!(exchange.last(message.as_bytes()).unwrap_err().message(), text, "{message}");
    }
}

#[test]
fn verifiers_have_postgresqls_form() {
    let text = verifier("secret", 4096);
    let parsed = Verifier::parse(&text).unwrap();
    assert_eq!(parsed.to_string(), text);
    assert!(text.starts_with("SCRAM-SHA-256$4096:"));
    assert!(verify_password(&parsed, "secret") && !verify_password(&parsed, "Secret"));
    assert!(Verifier::parse("SCRAM-SHA-256$4096:x$y:z").is_none());
    assert!(Verifier::parse("SCRAM-SHA-256$0:AAAA$AAAA:AAAA").is_none());
}

#[test]
fn verifiers_are_stored_as_given_and_md5_is_refused() {
    let ready = verifier("secret", 1);
    assert_eq!(verifier_to_store(&ready, 4096).unwrap(), ready);
    assert!(verifier_to_store("secret", 1).unwrap().starts_with("SCRAM-SHA-256$1:"));
    let md5 = format!("md5{}", "0123456789abcdef".repeat(2));
    assert_eq!(verifier_to_store(&md5, 1).unwrap_err().sqlstate(), SqlState::FeatureNotSupported);
    assert!(verifier_to_store("", 1).is_err());
}

#[test]
fn passwords_are_prepared_and_what_cannot_be_is_taken_as_it_is() {
    let salt = b"salt";
    // RFC 4013: the soft hyphen is mapped to nothing, and U+2168 is normalised to "IX".
    assert!(Verifier::derive("I\u{ad}X", 1, salt) == Verifier::derive("IX", 1, salt));
    assert!(Verifier::derive("\u{2168}", 1, salt) == Verifier::derive("IX", 1, salt));
    assert!(Verifier::derive("a\u{7}", 1, salt) != Verifier::derive("a", 1, salt));
}

proptest! {
    #[test]
    fn random_messages_never_panic(first in "\\PC{0,40}", last in "\\PC{0,60}") {
        let mut exchange = Exchange::new(None, "user", &Decoy::default(), None);
        let _ = exchange.first(SCRAM_SHA_256, first.as_bytes());
        let _ = exchange.last(last.as_bytes());
    }
}
