use std::sync::Arc;

use bytes::Bytes;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;

use super::super::link::Stop;
use super::super::negotiate::{Negotiated, Terms, Wish, negotiate};
use super::super::tls::{ALPN, TlsContext, TlsSource};

const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];
const GSS_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 48];
const CANCEL: &[u8] = &[0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 7, 1, 2, 3, 4];
const STARTUP: &[u8] = b"\0\0\0\x10\0\x03\0\0user\0u\0\0";

struct Certificate {
    context: Arc<TlsContext>,
    der: CertificateDer<'static>,
}

impl TlsSource for Certificate {
    fn current(&self) -> Arc<TlsContext> {
        self.context.clone()
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let der = made.cert.der().clone();
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Certificate { context: Arc::new(TlsContext { config: Arc::new(config), end_point: Some(vec![1]) }), der }
}

fn connector(certificate: &Certificate, alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der.clone()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

async fn negotiated(server: DuplexStream, tls: Option<&dyn TlsSource>) -> Negotiated<DuplexStream> {
    negotiate(server, &Terms { tls, counters: &Arc::default() }).await
}

fn user(negotiated: &Negotiated<DuplexStream>) -> &str {
    match &negotiated.1 {
        Ok(Wish::Start(startup)) => &startup.user,
        Ok(Wish::Cancel { .. }) => panic!("a cancel request"),
        Err(stop) => panic!("{stop:?}"),
    }
}

fn refusal(negotiated: &Negotiated<DuplexStream>) -> String {
    match &negotiated.1 {
        Err(Stop::Fatal(error)) => format!("{} {}", error.sqlstate().code(), error.message()),
        Err(Stop::Gone(error)) => format!("gone {}", error.as_ref().map(ToString::to_string).unwrap_or_default()),
        Ok(_) => panic!("not refused"),
    }
}

#[tokio::test]
async fn requests_for_encryption_that_we_lack_are_declined() {
    let (mut client, server) = duplex(1024);
    let talk = async {
        for request in [GSS_REQUEST, SSL_REQUEST] {
            client.write_all(request).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'N');
        }
        client.write_all(STARTUP).await.unwrap();
    };
    let (negotiated, ()) = tokio::join!(negotiated(server, None), talk);
    assert_eq!(user(&negotiated), "u");
}

#[tokio::test]
async fn clear_bytes_behind_a_tls_request_are_refused() {
    let certificate = certificate();
    for (tls, expected, answer) in [
        (None, "08P01 received unencrypted data after SSL request", b"N".as_slice()),
        (Some(&certificate as &dyn TlsSource), "gone received unencrypted data after SSL request", b""),
    ] {
        let (mut client, server) = duplex(1024);
        client.write_all(&[SSL_REQUEST, STARTUP].concat()).await.unwrap();
        let negotiated = negotiated(server, tls).await;
        assert_eq!(refusal(&negotiated), expected);
        drop(negotiated);
        assert_eq!(super::read_to_end(&mut client).await, answer);
    }
}

#[tokio::test]
async fn what_is_no_startup_packet_is_refused() {
    for (bytes, expected) in [
        ([SSL_REQUEST].concat(), "gone "),
        (vec![0, 0, 0, 3], "08P01 invalid length of startup packet"),
        (vec![0xff; 4], "08P01 invalid length of startup packet"),
        (vec![0, 1, 0, 0], "08P01 invalid length of startup packet"),
        (b"\0\0\0\x08\0\x02\0\0".to_vec(), "0A000 unsupported frontend protocol 2.0: server supports 3.0 to 3.2"),
        (vec![0x16, 3, 1, 0], "gone TLS is not configured"),
        (vec![], "gone "),
    ] {
        let (mut client, server) = duplex(1024);
        client.write_all(&bytes).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(refusal(&negotiated(server, None).await), expected, "{bytes:?}");
    }
}

#[tokio::test]
async fn encryption_may_be_asked_for_once() {
    let (mut client, server) = duplex(1024);
    let talk = async {
        client.write_all(SSL_REQUEST).await.unwrap();
        client.read_u8().await.unwrap();
        client.write_all(SSL_REQUEST).await.unwrap();
    };
    let (negotiated, ()) = tokio::join!(negotiated(server, None), talk);
    assert_eq!(refusal(&negotiated), "0A000 unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2");
}

#[tokio::test]
async fn startup_and_cancel_go_through_tls() {
    let certificate = certificate();
    for packet in [STARTUP, CANCEL] {
        let (mut client, server) = duplex(1 << 16);
        let talk = async {
            client.write_all(SSL_REQUEST).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'S');
            let name = ServerName::try_from("localhost").unwrap();
            let mut client = connector(&certificate, &[]).connect(name, client).await.unwrap();
            client.write_all(packet).await.unwrap();
            client.flush().await.unwrap();
            client
        };
        let ((channel, wish), _client) = tokio::join!(negotiated(server, Some(&certificate)), talk);
        let channel = channel.unwrap();
        assert!(channel.stream().is_tls());
        assert_eq!(channel.stream().end_point(), Some(vec![1]));
        match wish.unwrap() {
            Wish::Start(startup) => assert_eq!((startup.user.as_str(), packet), ("u", STARTUP)),
            Wish::Cancel { pid, secret } => {
                assert_eq!((pid, secret, packet), (7, Bytes::from_static(&[1, 2, 3, 4]), CANCEL));
            }
        }
    }
}

#[tokio::test]
async fn tls_without_a_request_needs_our_protocols_name() {
    let certificate = certificate();
    for (alpn, accepted) in [(vec![ALPN], true), (vec![], false), (vec![b"h2".as_slice()], false)] {
        let (client, server) = duplex(1 << 16);
        let talk = async {
            let name = ServerName::try_from("localhost").unwrap();
            let Ok(mut client) = connector(&certificate, &alpn).connect(name, client).await else { return None };
            let _ = client.write_all(STARTUP).await;
            let _ = client.flush().await;
            Some(client)
        };
        let (negotiated, _client) = tokio::join!(negotiated(server, Some(&certificate)), talk);
        assert_eq!(negotiated.1.is_ok(), accepted, "{alpn:?}");
        if !accepted {
            assert!(negotiated.0.is_none(), "a TLS failure is not answered in clear");
        }
    }
}
