//! Certificates that a test makes, and a client that trusts only the server's.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sha2::Digest;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

/// Files of a self-signed certificate for `127.0.0.1`.
pub(super) struct Tls {
    folder: TempDir,
    certificate: Mutex<CertificateDer<'static>>,
}

impl Tls {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = Self { folder, certificate: Mutex::new(CertificateDer::from(Vec::new())) };
        tls.renew();
        tls
    }

    /// Another certificate and key in the same files.
    pub(super) fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        std::fs::write(self.file("server.crt"), made.cert.pem()).unwrap();
        std::fs::write(self.file("server.key"), made.signing_key.serialize_pem()).unwrap();
        *self.certificate.lock().unwrap() = made.cert.der().clone();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Keys of the configuration.
    pub(super) fn flags(&self) -> [String; 2] {
        let (certificate, key) = (self.file("server.crt"), self.file("server.key"));
        [format!("server.tls_certificate={}", certificate.display()), format!("server.tls_key={}", key.display())]
    }

    /// A client that trusts the certificate of now.
    pub(super) fn connector(&self) -> Connector {
        self.connector_of(None, &[])
    }

    /// The same, with a certificate of its own and names for ALPN.
    pub(super) fn connector_of(&self, client: Option<&ClientCertificate>, names: &[&[u8]]) -> Connector {
        let certificate = self.certificate.lock().unwrap().clone();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                builder.with_client_auth_cert(vec![client.certificate.clone()], client.key.clone_key()).unwrap()
            }
        };
        config.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
        Connector(tokio_rustls::TlsConnector::from(Arc::new(config)))
    }
}

/// Who signs clients' certificates.
pub(super) struct Authority {
    folder: TempDir,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

/// A certificate for the role of its common name.
pub(super) struct ClientCertificate {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut parameters = named("authority");
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.crt"), parameters.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: rcgen::Issuer::new(parameters, key) }
    }

    /// The key of the configuration.
    pub(super) fn flag(&self) -> String {
        format!("server.tls_client_ca={}", self.folder.path().join("ca.crt").display())
    }

    pub(super) fn certify(&self, common_name: &str) -> ClientCertificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = named(common_name).signed_by(&key, &self.issuer).unwrap().der().clone();
        ClientCertificate { certificate, key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
    }
}

fn named(common_name: &str) -> rcgen::CertificateParams {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    parameters
}

/// rustls for tokio-postgres.
#[derive(Clone)]
pub(super) struct Connector(pub(super) tokio_rustls::TlsConnector);

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Stream;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connect, io::Error> {
        Ok(Connect { connector: self.0.clone(), host: host.to_owned() })
    }
}

pub(super) struct Connect {
    connector: tokio_rustls::TlsConnector,
    host: String,
}

impl TlsConnect<Socket> for Connect {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async move {
            let name = ServerName::try_from(self.host).map_err(io::Error::other)?;
            self.connector.connect(name, stream).await.map(Stream)
        })
    }
}

pub(super) struct Stream(tokio_rustls::client::TlsStream<Socket>);

impl TlsStream for Stream {
    /// RFC 5929's tls-server-end-point: the certificate's hash.
    fn channel_binding(&self) -> ChannelBinding {
        match self.0.get_ref().1.peer_certificates() {
            Some([certificate, ..]) => ChannelBinding::tls_server_end_point(sha2::Sha256::digest(certificate).to_vec()),
            _ => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
