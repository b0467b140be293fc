//! Certificates, made anew for each test.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Certificates of one authority: its own, the server's, a client's.
pub(crate) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let certificates = Self { folder: tempfile::tempdir().unwrap() };
        certificates.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca");
        for name in ["server", "client"] {
            certificates.openssl(&format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ));
            std::fs::write(certificates.path("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
            certificates.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days 2 -extfile names"
            ));
        }
        certificates
    }

    fn openssl(&self, words: &str) {
        let output = Command::new("openssl").args(words.split(' ')).current_dir(&self.folder).output();
        let output = output.expect("openssl is installed");
        assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// With what the server serves by them.
    pub(crate) fn flags(&self, mutual: bool) -> Vec<String> {
        let flag = |flag: &str, file: &str| [flag.to_owned(), self.path(file).display().to_string()];
        let mut flags = [flag("--tls-cert", "server.pem"), flag("--tls-key", "server.key")].concat();
        if mutual {
            flags.extend(flag("--client-ca", "ca.pem"));
        }
        flags
    }
}
