//! The server's certificate and key, from files that may change while it runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, SupportedProtocolVersion, version};

use crate::auth::certificate;
use crate::error::{Error, Result, SqlState};
use crate::protocol::tls::ALPN;
use crate::protocol::{TlsContext, TlsSource};

static FROM_1_2: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
static FROM_1_3: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// Which files, and what is asked of clients.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// PEM: the server's certificate, then those of its issuers.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
    pub client_certificates: ClientCertificates,
    pub version_min: TlsVersion,
}

#[derive(Debug, Clone)]
pub enum ClientCertificates {
    /// They are not asked for.
    Ignored,
    /// A certificate is checked against the CA if the client shows one; host rules may ask for it.
    Optional { ca: PathBuf },
    /// No handshake without a certificate of the CA.
    Required { ca: PathBuf },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersion {
    #[default]
    V1_2,
    V1_3,
}

/// The configuration now in force.
pub struct TlsFiles {
    settings: TlsSettings,
    loaded: RwLock<Loaded>,
}

struct Loaded {
    context: Arc<TlsContext>,
    modified: Vec<Option<SystemTime>>,
}

impl TlsSource for TlsFiles {
    fn current(&self) -> Arc<TlsContext> {
        self.loaded.read().context.clone()
    }
}

impl TlsFiles {
    /// Reads the files. F0000 with the file's name.
    pub fn load(settings: TlsSettings) -> Result<Self> {
        let loaded = RwLock::new(settings.read()?);
        Ok(Self { settings, loaded })
    }

    /// Reads the files again; new handshakes use them. After an error the old ones stay. Does file I/O.
    pub fn reload(&self) -> Result<()> {
        let loaded = self.settings.read()?;
        *self.loaded.write() = loaded;
        Ok(())
    }

    /// Reloads if a file changed since it was read; answers whether. A change that cannot be read is reported once.
    pub fn reload_if_changed(&self) -> Result<bool> {
        let modified = self.settings.modified();
        if self.loaded.read().modified == modified {
            return Ok(false);
        }
        self.reload().inspect_err(|_| self.loaded.write().modified = modified).map(|()| true)
    }
}

impl TlsSettings {
    fn read(&self) -> Result<Loaded> {
        // Looked at before reading: a change in between is seen the next time.
        let modified = self.modified();
        let chain = certificates(&self.certificate)?;
        let end_point = chain.first().and_then(|server| certificate::end_point(server));
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| unreadable("private key file", &self.key, error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.versions())
            .map_err(|error| unreadable("TLS configuration of", &self.certificate, error))?;
        let builder = match self.client_verifier(provider)? {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| unreadable("server certificate file", &self.certificate, error))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Loaded { context: Arc::new(TlsContext { config: Arc::new(config), end_point }), modified })
    }

    fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        match self.version_min {
            TlsVersion::V1_2 => FROM_1_2,
            TlsVersion::V1_3 => FROM_1_3,
        }
    }

    fn client_ca(&self) -> Option<&Path> {
        match &self.client_certificates {
            ClientCertificates::Ignored => None,
            ClientCertificates::Optional { ca } | ClientCertificates::Required { ca } => Some(ca),
        }
    }

    fn client_verifier(
        &self,
        provider: Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>> {
        let Some(ca) = self.client_ca() else { return Ok(None) };
        let fault = |error: &dyn std::fmt::Display| unreadable("root certificate file", ca, error);
        let mut roots = RootCertStore::empty();
        for root in certificates(ca)? {
            roots.add(root).map_err(|error| fault(&error))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match self.client_certificates {
            ClientCertificates::Required { .. } => builder,
            ClientCertificates::Optional { .. } | ClientCertificates::Ignored => builder.allow_unauthenticated(),
        };
        builder.build().map(Some).map_err(|error| fault(&error))
    }

    fn modified(&self) -> Vec<Option<SystemTime>> {
        [Some(self.certificate.as_path()), Some(&self.key), self.client_ca()]
            .into_iter()
            .flatten()
            .map(|path| path.metadata().and_then(|metadata| metadata.modified()).ok())
            .collect()
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|error| unreadable("certificate file", path, error))?;
    if chain.is_empty() { Err(unreadable("certificate file", path, "it holds no certificate")) } else { Ok(chain) }
}

fn unreadable(what: &str, path: &Path, error: impl std::fmt::Display) -> Error {
    Error::new(SqlState::ConfigFileError, format!("could not load {what} \"{}\": {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn write_certificate(folder: &Path) -> TlsSettings {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let settings = TlsSettings {
            certificate: folder.join("server.crt"),
            key: folder.join("server.key"),
            client_certificates: ClientCertificates::Ignored,
            version_min: TlsVersion::default(),
        };
        std::fs::write(&settings.certificate, made.cert.pem()).unwrap();
        std::fs::write(&settings.key, made.signing_key.serialize_pem()).unwrap();
        settings
    }

    #[test]
    fn changed_files_are_loaded_and_broken_ones_leave_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let settings = write_certificate(folder.path());
        let tls = TlsFiles::load(settings.clone()).unwrap();
        let first = tls.current().end_point.clone();
        assert!(first.is_some());
        assert!(!tls.reload_if_changed().unwrap());

        write_certificate(folder.path());
        let later = SystemTime::now() + Duration::from_secs(5);
        std::fs::File::open(&settings.certificate).unwrap().set_modified(later).unwrap();
        assert!(tls.reload_if_changed().unwrap());
        let second = tls.current().end_point.clone();
        assert_ne!(first, second);

        std::fs::write(&settings.key, "no key").unwrap();
        assert_eq!(tls.reload().unwrap_err().sqlstate(), SqlState::ConfigFileError);
        assert_eq!(tls.current().end_point, second);
    }

    #[test]
    fn client_certificates_need_a_readable_ca() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = write_certificate(folder.path());
        settings.client_certificates = ClientCertificates::Required { ca: settings.certificate.clone() };
        assert!(TlsFiles::load(settings.clone()).is_ok());
        settings.client_certificates = ClientCertificates::Optional { ca: folder.path().join("missing") };
        assert!(TlsFiles::load(settings).is_err());
    }
}
