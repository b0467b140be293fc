//! The addresses of the listeners.

use std::net::SocketAddr;

use super::args::Settings;
use super::reader::Reader;

/// The addresses of the listeners, no two of which can be the same.
pub(super) struct ListenAddresses {
    pub(super) listen: SocketAddr,
    pub(super) http_listen: SocketAddr,
    pub(super) verify_listen: Option<SocketAddr>,
    pub(super) api_listen: Option<SocketAddr>,
}

impl ListenAddresses {
    pub(super) fn read(read: &mut Reader, settings: &Settings) -> Self {
        let mut seen = Vec::new();
        let mut address = |flag: &'static str, text: &str, port| {
            let address = read.address(flag, text, port);
            if let Some((other, _)) = seen.iter().find(|(_, other)| clashes(*other, address)) {
                read.fail(flag, Some(text), &format!("must differ from --{other}"));
            }
            seen.push((flag, address));
            address
        };
        // The HTTP door has a default; an empty text switches it off.
        let api = Some(settings.api_listen.as_str()).filter(|text| !text.trim().is_empty());
        Self {
            listen: address("listen", &settings.listen, 50051),
            http_listen: address("http-listen", &settings.http_listen, 9464),
            verify_listen: settings.verify_listen.as_deref().map(|text| address("verify-listen", text, 50052)),
            api_listen: api.map(|text| address("api-listen", text, 8051)),
        }
    }
}

/// Whether two listeners cannot both be bound. Port 0 is any free port.
fn clashes(a: SocketAddr, b: SocketAddr) -> bool {
    let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && same_host
}
