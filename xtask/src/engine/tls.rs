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
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, InconsistentKeys, SignatureScheme};

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
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider.clone())))
            }
        };
        match (self.at("cert.pem"), self.at("key.pem")) {
            (Some(certificate), Some(key)) => {
                let unfit = |error: rustls::Error| {
                    format!(
                        "{} cannot be used with {}: {error} (keys are RSA, P-256, P-384 or Ed25519)",
                        key.display(),
                        certificate.display()
                    )
                };
                let signer = provider.key_provider.load_private_key(read_key(&key)?).map_err(unfit)?;
                let own = CertifiedKey::new(read_certificates(&certificate)?, signer);
                // A certificate of X.509 version 1 cannot be compared with its key, and engines take it.
                if let Err(error @ rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) =
                    own.keys_match()
                {
                    return Err(unfit(error));
                }
                Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))))
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

    #[expect(clippy::print_stderr, reason = "a test says what it skips")]
    fn skip(script: &str) {
        eprintln!("skipped: there is no openssl for `{script}`");
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
                skip(script);
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

    /// A server that wants to see a certificate of `ca.pem`, and answers as an engine would to a ping.
    async fn serve(listener: tokio::net::TcpListener, folder: PathBuf) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let files = TlsFiles { folder: Some(folder.clone()), verify: Verify::Yes };
        let roots = Arc::new(files.roots().expect("a CA"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let chain = read_certificates(&folder.join("server.pem")).expect("a certificate");
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(clients.build().expect("a verifier"))
            .with_single_cert(chain, read_key(&folder.join("key.pem")).expect("a key"))
            .expect("a server");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 1024]).await;
            let answer = b"HTTP/1.1 200 OK\r\nApi-Version: 1.43\r\nContent-Length: 2\r\n\r\nOK";
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    }

    #[tokio::test]
    async fn an_engine_is_believed_for_its_certificate_or_by_choice() {
        const CA: &str = "openssl genpkey -algorithm ed25519 -out key.pem; \
            openssl req -x509 -key key.pem -out ca.pem -days 9 -subj /CN=ca; \
            printf 'subjectAltName=IP:127.0.0.1' >san; \
            for name in server cert; do \
            openssl req -new -key key.pem -subj /CN=$name -out csr; \
            openssl x509 -req -in csr -CA ca.pem -CAkey key.pem -CAcreateserial -days 9 -extfile san -out $name.pem; \
            done; exit 0";
        let (Some(ours), Some(other)) = (made(CA), made(CA)) else {
            skip(CA);
            return;
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = format!("tcp://{}", listener.local_addr().expect("an address"));
        let server = tokio::spawn(serve(listener, ours.path().to_owned()));
        let answer = async |folder: &Path, variable: &str| {
            let folder = folder.display().to_string();
            let find = |name: &str| match name {
                "DOCKER_HOST" => Some(host.clone()),
                "DOCKER_CERT_PATH" => Some(folder.clone()),
                name => (name == variable).then(|| "1".to_owned()),
            };
            match super::super::connect(&super::super::Surroundings::new(&find, None)).await {
                Ok(engine) => engine.caution().unwrap_or_else(|| "believed".to_owned()),
                Err(super::super::EngineError::Unreachable { tried, .. }) => tried[0].1.clone(),
                Err(error) => error.to_string(),
            }
        };
        assert_eq!(answer(ours.path(), "DOCKER_TLS_VERIFY").await, "believed");
        let told = answer(other.path(), "DOCKER_TLS_VERIFY").await;
        assert!(told.contains("invalid peer certificate"), "{told}");
        let careless = format!("nothing vouches for the engine at {host}: its certificate is not checked");
        assert_eq!(answer(ours.path(), "DOCKER_TLS").await, careless);
        // The engine looks at ours all the same.
        let told = answer(other.path(), "DOCKER_TLS").await;
        assert!(!told.contains("nothing vouches"), "{told}");
        server.abort();
    }

    #[test]
    fn old_certificates_are_taken_and_those_of_another_key_are_not() {
        // Without extensions openssl makes one of version 1.
        let old = "openssl genrsa -out key.pem; openssl req -new -key key.pem -subj /CN=test -out csr; \
            openssl x509 -req -in csr -signkey key.pem -out cert.pem; exit 0";
        let other = "openssl genrsa -out other.pem; openssl req -x509 -key other.pem -out cert.pem -subj /CN=test; \
            openssl genrsa -out key.pem; exit 0";
        for (script, is_good) in [(old, true), (other, false)] {
            let Some(folder) = made(script) else {
                skip(script);
                continue;
            };
            let files = TlsFiles { folder: Some(folder.path().to_owned()), verify: Verify::No };
            let told = files.config().map(drop);
            assert_eq!(told.is_ok(), is_good, "{told:?}");
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
