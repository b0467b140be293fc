//! What is printed once the server can be used: where everything is, and a line to try. Whoever starts the server as a
//! child can wait for it.

use std::io::{self, Write};
use std::net::SocketAddr;

use key_authority_storage::StorageKind;

use crate::config::Config;

/// The method of the line to try.
const TRY: &str = "keyauthority.v1.KeyAuthority/GetAuthorityStatus";

/// The addresses in use, with the ports that the system chose.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
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
pub fn announce(config: &Config, addresses: &Addresses, storage: StorageKind) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "key-authority {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  gRPC        {}", addresses.grpc)?;
    if let Some(verify) = addresses.verify {
        writeln!(out, "  Verify      {verify}")?;
    }
    writeln!(out, "  HTTP        {} (/metrics /livez /readyz)", addresses.http)?;
    writeln!(out, "  storage     {storage} {}", config.database.url)?;
    if config.database.embedded {
        writeln!(out, "  data        {}", config.data_dir.display())?;
        let token = config.root_token_file();
        if token.exists() {
            let file = token.display();
            let plaintext = if config.tls.is_some() { "" } else { "-plaintext " };
            writeln!(out, "  root token  {file}")?;
            writeln!(
                out,
                "  try         grpcurl {plaintext}-H \"authorization: Bearer $(cat {file})\" {} {TRY}",
                addresses.grpc
            )?;
        }
    }
    out.flush()
}
