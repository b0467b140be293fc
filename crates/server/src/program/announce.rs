//! The announcement on standard output once the server is ready: the addresses and a command to try. A parent process
//! can wait for it.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use key_authority_mcp_connect::shell::Shell;
use key_authority_storage::StorageKind;

use crate::program::config::Config;

/// The method in the suggested command.
const TRY: &str = "keyauthority.v1.KeyAuthority/GetAuthorityStatus";

/// The bound addresses, with the ports that the system chose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    /// The gRPC listener.
    pub grpc: SocketAddr,
    /// The listener that serves only Verify.
    pub verify: Option<SocketAddr>,
    /// The HTTP door.
    pub api: Option<SocketAddr>,
    /// The side port with metrics and probes.
    pub http: SocketAddr,
}

/// Prints the announcement.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn announce(config: &Config, addresses: &Addresses, storage: StorageKind) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "key-authority {}", crate::version::VERSION)?;
    writeln!(out, "  gRPC        {}", addresses.grpc)?;
    if let Some(verify) = addresses.verify {
        writeln!(out, "  Verify      {verify}")?;
    }
    if let Some(api) = addresses.api {
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        writeln!(out, "  API         {api} ({scheme}://{api}/openapi.json)")?;
    }
    if let Some(console) = console_url(config, addresses) {
        writeln!(out, "  console     {console}/console/")?;
    }
    writeln!(out, "  HTTP        {} (/metrics /livez /readyz)", addresses.http)?;
    writeln!(out, "  storage     {storage} {}", config.database.url)?;
    if config.database.embedded {
        writeln!(out, "  data        {}", config.data_dir.display())?;
        root_token(&mut out, config, addresses)?;
    }
    out.flush()
}

/// Returns the address under which other machines may reach a listener. A wildcard address is replaced by the host
/// name.
#[must_use]
pub(crate) fn known_as(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("{}:{}", rustix::system::uname().nodename().to_string_lossy(), address.port())
    } else {
        address.to_string()
    }
}

/// Returns the address at which browsers reach the console, without a path; `None` without a console.
#[must_use]
pub(crate) fn console_url(config: &Config, addresses: &Addresses) -> Option<String> {
    let api = addresses.api.filter(|_| config.console)?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    Some(config.public_url.clone().unwrap_or_else(|| format!("{scheme}://{}", browsable(api))))
}

/// Returns the address that a browser on this machine opens.
fn browsable(address: SocketAddr) -> SocketAddr {
    let loopback: IpAddr = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let ip = if address.ip().is_unspecified() { loopback } else { address.ip() };
    SocketAddr::new(ip, address.port())
}

/// Prints where the root token of the embedded default is, or how to make another when the file is missing.
fn root_token(out: &mut impl Write, config: &Config, addresses: &Addresses) -> io::Result<()> {
    let path = config.root_token_file();
    let file = path.display();
    if path.exists() {
        let plaintext = if config.tls.is_some() { "" } else { "-plaintext " };
        let quoted = Shell::Posix.quote(&file.to_string());
        writeln!(out, "  root token  {file}")?;
        writeln!(
            out,
            "  try         grpcurl {plaintext}-H \"authorization: Bearer $(cat {quoted})\" {} {TRY}",
            addresses.grpc
        )
    } else if config.bootstrap_token_file.is_none() {
        let program = std::env::args_os().next().unwrap_or_else(|| "key-authority".into());
        let program = Shell::Posix.quote(&program.to_string_lossy());
        writeln!(
            out,
            "  root token  not in {file}; if it is lost, `{program} bootstrap` with these settings makes another"
        )
    } else {
        // The operator who named a token file knows where it is.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::known_as;

    #[test]
    fn a_wildcard_is_replaced_by_the_host_name() {
        assert_eq!(known_as("192.0.2.7:50051".parse().unwrap()), "192.0.2.7:50051");
        let wildcard = known_as("0.0.0.0:7".parse().unwrap());
        assert_eq!(wildcard, known_as("[::]:7".parse().unwrap()));
        assert!(wildcard.ends_with(":7") && wildcard.len() > 2 && !wildcard.contains("0.0"), "{wildcard}");
    }
}
