//! TLS to an engine: whom we trust, and who we are (docs.docker.com, "Protect the Docker daemon socket").
//!
//! In: a folder with `ca.pem`, `cert.pem` and `key.pem`, and whether the engine's certificate is checked at all. Out: a
//! client's settings, or what is wrong with which file. Keys are RSA, P-256, P-384 or Ed25519, in PKCS#1, SEC 1 or
//! PKCS#8.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

/// The certificates of an endpoint, and how they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// Where they are.
    pub(super) folder: Option<PathBuf>,
    pub(super) verify: Verify,
}

/// Whether the engine has to show a certificate that `ca.pem` vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verify {
    Yes,
    /// `DOCKER_TLS` without `DOCKER_TLS_VERIFY`, a context with `skip-tls-verify`.
    No,
}

impl TlsFiles {
    fn at(&self, name: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(name)).filter(|path| path.exists())
    }

    /// A client's settings.
    pub(super) fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match self.verify {
            Verify::Yes => builder.with_root_certificates(self.roots()?),
            Verify::No => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
            }
        };
        match (self.at("cert.pem"), self.at("key.pem")) {
            (Some(certificate), Some(key)) => {
                let chain = read_certificates(&certificate)?;
                let private = read_key(&key)?;
                builder.with_client_auth_cert(chain, private).map_err(|error| {
                    format!(
                        "{} cannot be used with {}: {error} (keys are RSA, P-256, P-384 or Ed25519)",
                        key.display(),
                        certificate.display()
                    )
                })
            }
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(lonely), None) | (None, Some(lonely)) => {
                Err(format!("{} stands alone: TLS takes cert.pem and key.pem, or neither", lonely.display()))
            }
        }
    }

    fn roots(&self) -> Result<rustls::RootCertStore, String> {
        let mut roots = rustls::RootCertStore::empty();
        let path = self.at("ca.pem").ok_or_else(|| match &self.folder {
            Some(folder) => format!("TLS needs {}, which is not there", folder.join("ca.pem").display()),
            None => "TLS needs certificates: DOCKER_CERT_PATH names their folder".to_owned(),
        })?;
        for certificate in read_certificates(&path)? {
            roots
                .add(certificate)
                .map_err(|error| format!("bad certificate in {}: {error}", path.display()))?;
        }
        Ok(roots)
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(format!("{} holds no certificate", path.display()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("cannot read certificates of {}: {error}", path.display())),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text =
        std::fs::read(path).map_err(|error| format!("cannot read the key {}: {error}", path.display()))?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        if String::from_utf8_lossy(&text).contains("ENCRYPTED") {
            return format!("the key {} has a passphrase, which nobody can be asked for", path.display());
        }
        format!("cannot read the key {}: {error}", path.display())
    })
}

/// Takes every certificate; what is signed with it is checked all the same.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[(&str, &str)], verify: Verify, expected: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let files = TlsFiles { folder: Some(folder.path().to_owned()), verify };
        let told = files.config().map_or_else(|cause| cause, |_| "good".to_owned());
        assert_eq!(told.replace(&folder.path().display().to_string(), "DIR"), expected);
    }

    #[test]
    fn what_is_wrong_with_which_file() {
        check(&[], Verify::Yes, "TLS needs DIR/ca.pem, which is not there");
        check(&[], Verify::No, "good");
        check(&[("ca.pem", "text")], Verify::Yes, "DIR/ca.pem holds no certificate");
        check(
            &[("cert.pem", "text")],
            Verify::No,
            "DIR/cert.pem stands alone: TLS takes cert.pem and key.pem, or neither",
        );
        let nowhere = TlsFiles { folder: None, verify: Verify::Yes };
        let told = nowhere.config().expect_err("no certificates");
        assert_eq!(told, "TLS needs certificates: DOCKER_CERT_PATH names their folder");
    }

    /// Makes a key of a kind with openssl, and a certificate for it; its folder, or none without openssl.
    fn made(script: &str) -> Option<tempfile::TempDir> {
        let folder = tempfile::tempdir().expect("a folder");
        let rest = "openssl req -x509 -key key.pem -out cert.pem -days 9 -subj /CN=test; cp cert.pem ca.pem";
        let script = format!("exec 2>/dev/null; set -e; cd \"$1\"; {script}; {rest}");
        crate::os::query("sh", &["-c", &script, "sh", &folder.path().display().to_string()])?;
        Some(folder)
    }

    #[test]
    fn keys_of_every_usual_kind_are_taken() {
        for (kind, script) in [
            ("BEGIN PRIVATE KEY", "openssl genpkey -algorithm ed25519 -out key.pem"),
            ("BEGIN EC PRIVATE KEY", "openssl ecparam -name prime256v1 -genkey -noout -out key.pem"),
            (
                "BEGIN PRIVATE KEY",
                "openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-384 -out key.pem",
            ),
            ("BEGIN PRIVATE KEY", "openssl genpkey -algorithm rsa -out key.pem"),
            ("BEGIN RSA PRIVATE KEY", "openssl genrsa -traditional -out key.pem"),
        ] {
            let Some(folder) = made(script) else {
                #[expect(clippy::print_stderr, reason = "a test says what it skips")]
                {
                    eprintln!("skipped: {script}: there is no such openssl");
                }
                continue;
            };
            let key = std::fs::read_to_string(folder.path().join("key.pem")).expect("a key");
            assert!(key.contains(kind), "{script}");
            for verify in [Verify::Yes, Verify::No] {
                let files = TlsFiles { folder: Some(folder.path().to_owned()), verify };
                files.config().expect(script);
            }
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_is_told_as_such() {
        let told = |text: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("key.pem");
            std::fs::write(&path, text).expect("written");
            let error = read_key(&path).expect_err("no key");
            error.replace(&path.display().to_string(), "KEY")
        };
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(told(locked), "the key KEY has a passphrase, which nobody can be asked for");
        assert!(told("text").starts_with("cannot read the key KEY: "));
    }
}
