//! Certificates and private keys in PEM, and words for what is wrong with them.
//!
//! The server, keyctl and the client library use this one reader, so that a mistake gets the same words everywhere:
//! rustls says `Other(OtherError(CaUsedAsEndEntity))`. The crate is pure: it reads no file and no clock. No message
//! contains the content of a file, because it may be a private key.

mod pair;
mod peer;
mod pem;
mod server_certificate;

pub use rustls::pki_types::CertificateDer;

pub use pair::{PairError, check_pair};
pub use peer::explain;
pub use pem::{PemError, certificates, private_key};
pub use server_certificate::{CertificateProblem, expiry, problems};

/// The commands that make a CA and a server certificate which every client accepts that trusts the CA. `NAME` stands for
/// the host name by which clients connect.
pub const CREATE_COMMANDS: [&str; 2] = [
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=key-authority-ca \
     -keyout ca.key -out ca.pem",
    "openssl req -x509 -CA ca.pem -CAkey ca.key -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
     -subj /CN=NAME -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:NAME -keyout server.key \
     -out server.pem",
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_guide_for_operators_has_the_same_commands() {
        let guide = include_str!("../../../docs/operations.md");
        assert!(super::CREATE_COMMANDS.iter().all(|command| guide.lines().any(|line| line == *command)));
    }
}
