//! Clients that behave: the generated client with a credential, from an address of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_proto::v1::key_authority_client::KeyAuthorityClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use crate::stage::Stage;

/// The address of the good client.
pub(crate) const GOOD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1));
/// The address of the probes.
pub(crate) const PROBE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 2));
/// The address of the operator.
pub(crate) const OPERATOR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 3));
/// The address of services that connect during an attack.
pub(crate) const NEWCOMER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 4));
/// The address of a tenant.
pub(crate) const TENANT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 5));

/// The longest response that a client reads: pages of large keys are over the usual 4 MiB.
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A client. Clones share one connection.
pub(crate) type Client = KeyAuthorityClient<InterceptedService<Channel, Credential>>;

/// Sets `authorization: Bearer <token>`.
#[derive(Debug, Clone)]
pub(crate) struct Credential(MetadataValue<Ascii>);

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A client with `token` from the address `from`. It connects on first use.
pub(crate) fn client(stage: &Stage, token: &str, from: IpAddr) -> Result<Client> {
    let scheme = if stage.ca.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::try_from(format!("{scheme}://{}", stage.grpc)).context("invalid address")?;
    let mut endpoint = endpoint.connect_timeout(Duration::from_secs(2)).tcp_nodelay(true).local_address(Some(from));
    if let Some(ca) = &stage.ca {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).domain_name("localhost");
        endpoint = endpoint.tls_config(tls).context("invalid certificate")?;
    }
    let credential = Credential(format!("Bearer {token}").parse().context("invalid token")?);
    let client = KeyAuthorityClient::with_interceptor(endpoint.connect_lazy(), credential);
    Ok(client.max_decoding_message_size(RESPONSE_BYTES_MAX))
}
