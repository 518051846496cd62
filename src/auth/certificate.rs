//! What authentication reads from X.509 certificates.

use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_parser::parse_x509_certificate;

/// The common name of the certificate's subject; `None` when it has none or is not readable.
pub fn common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    // A zero byte would let "admin\0.example" pass for "admin".
    (!name.contains('\0')).then(|| name.to_owned())
}

/// The `tls-server-end-point` channel binding of a server certificate (RFC 5929, section 4.1): its hash by the hash function
/// of its signature, SHA-256 in place of MD5 and SHA-1. `None` where the signature names no single hash: no binding then.
pub fn end_point(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    match certificate.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" => Some(Sha256::digest(der).to_vec()),
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => Some(Sha256::digest(der).to_vec()),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(Sha384::digest(der).to_vec()),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(Sha512::digest(der).to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(common_name: &str, algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_common_name_is_read() {
        assert_eq!(common_name(&certificate("alice", &rcgen::PKCS_ECDSA_P256_SHA256)).as_deref(), Some("alice"));
        assert_eq!(common_name(b"no certificate"), None);
    }

    #[test]
    fn the_end_point_is_hashed_as_its_signature_is() {
        let sha256 = certificate("x", &rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(end_point(&sha256).unwrap(), Sha256::digest(&sha256).to_vec());
        let sha384 = certificate("x", &rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(end_point(&sha384).unwrap(), Sha384::digest(&sha384).to_vec());
        assert_eq!(end_point(&certificate("x", &rcgen::PKCS_ED25519)), None);
    }
}
