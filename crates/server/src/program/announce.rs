//! What is printed once the server can be used: where everything is, and a line to try. Whoever starts the server as a
//! child can wait for it.

use std::io::{self, Write};
use std::net::SocketAddr;

use key_authority_storage::StorageKind;

use crate::program::config::Config;

/// The method of the line to try.
const TRY: &str = "keyauthority.v1.KeyAuthority/GetAuthorityStatus";

/// The addresses in use, with the ports that the system chose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    /// The gRPC listener.
    pub grpc: SocketAddr,
    /// The listener for Verify alone.
    pub verify: Option<SocketAddr>,
    /// Metrics and probes.
    pub http: SocketAddr,
}

/// Prints it.
///
/// # Errors
/// When standard output is gone.
pub(crate) fn announce(config: &Config, addresses: &Addresses, storage: StorageKind) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "key-authority {}", crate::version::VERSION)?;
    writeln!(out, "  gRPC        {}", addresses.grpc)?;
    if let Some(verify) = addresses.verify {
        writeln!(out, "  Verify      {verify}")?;
    }
    writeln!(out, "  HTTP        {} (/metrics /livez /readyz)", addresses.http)?;
    writeln!(out, "  storage     {storage} {}", config.database.url)?;
    if config.database.embedded {
        writeln!(out, "  data        {}", config.data_dir.display())?;
        root_token(&mut out, config, addresses)?;
    }
    out.flush()
}

/// What other machines may know a listener by: a wildcard is an address of every machine, the host name is this one's.
#[must_use]
pub(crate) fn known_as(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("{}:{}", rustix::system::uname().nodename().to_string_lossy(), address.port())
    } else {
        address.to_string()
    }
}

/// Where the root token of the embedded default is, or what to do when it is not there.
fn root_token(out: &mut impl Write, config: &Config, addresses: &Addresses) -> io::Result<()> {
    let path = config.root_token_file();
    let file = path.display();
    if path.exists() {
        let plaintext = if config.tls.is_some() { "" } else { "-plaintext " };
        let quoted = quoted(&file.to_string());
        writeln!(out, "  root token  {file}")?;
        writeln!(
            out,
            "  try         grpcurl {plaintext}-H \"authorization: Bearer $(cat {quoted})\" {} {TRY}",
            addresses.grpc
        )
    } else if config.bootstrap_token_file.is_none() {
        let program = std::env::args_os().next().unwrap_or_else(|| "key-authority".into());
        let program = quoted(&program.to_string_lossy());
        writeln!(
            out,
            "  root token  not in {file}; if it is lost, `{program} bootstrap` with these settings makes another"
        )
    } else {
        // Whoever named a token file of their own knows where it is.
        Ok(())
    }
}

/// A path as a shell reads it back: as it is, or in quotes where it needs them.
fn quoted(path: &str) -> String {
    if path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c)) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{known_as, quoted};

    #[test]
    fn a_wildcard_is_known_by_the_name_of_the_machine() {
        assert_eq!(known_as("192.0.2.7:50051".parse().unwrap()), "192.0.2.7:50051");
        let everywhere = known_as("0.0.0.0:7".parse().unwrap());
        assert_eq!(everywhere, known_as("[::]:7".parse().unwrap()));
        assert!(everywhere.ends_with(":7") && everywhere.len() > 2 && !everywhere.contains("0.0"), "{everywhere}");
    }

    #[test]
    fn paths_are_quoted_for_a_shell_where_they_must_be() {
        assert_eq!(quoted("./data/root.token"), "./data/root.token");
        assert_eq!(quoted("/my data/it's/root.token"), r"'/my data/it'\''s/root.token'");
        assert_eq!(quoted("$(reboot)"), "'$(reboot)'");
    }
}
