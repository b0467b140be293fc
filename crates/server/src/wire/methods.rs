//! The table of RPCs by path, read from descriptor sets, so that no list is maintained by hand.
//!
//! Metrics take their bounded labels from it, and the deadline layer the kind of each method. It must never guess: a
//! path that is not in a descriptor set is unknown.

use std::collections::HashMap;

use key_authority_proto::v1::key_authority_server;
use prost::Message as _;
use prost_types::FileDescriptorSet;

/// Which sides of a call send a stream. The names are those of go-grpc-middleware, which dashboards know as
/// `grpc_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodKind {
    /// One request, one response.
    Unary,
    /// Many requests, one response.
    ClientStream,
    /// One request, many responses.
    ServerStream,
    /// Many requests, many responses.
    BidiStream,
}

impl MethodKind {
    /// Returns the value of the label `grpc_type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ClientStream => "client_stream",
            Self::ServerStream => "server_stream",
            Self::BidiStream => "bidi_stream",
        }
    }

    /// Whether either side may send more than one message.
    #[must_use]
    pub const fn is_streaming(self) -> bool {
        !matches!(self, Self::Unary)
    }
}

/// One RPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// The full name of the service, as in `keyauthority.v1.KeyAuthority`.
    pub service: String,
    /// The name within the service, as in `Verify`.
    pub name: String,
    /// Which sides send a stream.
    pub kind: MethodKind,
}

/// Returns the HTTP path of a method of `keyauthority.v1.KeyAuthority`.
#[must_use]
pub(crate) fn path(name: &str) -> String {
    format!("/{}/{name}", key_authority_server::SERVICE_NAME)
}

/// All RPCs, by HTTP path (`/keyauthority.v1.KeyAuthority/Verify`).
#[derive(Debug, Clone, Default)]
pub struct MethodTable {
    by_path: HashMap<String, Method>,
}

impl MethodTable {
    /// Reads the services of encoded `FileDescriptorSet`s.
    ///
    /// # Errors
    /// When one of the sets does not decode.
    pub fn from_descriptor_sets<'a>(sets: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, prost::DecodeError> {
        let mut methods = Vec::new();
        for set in sets {
            for file in FileDescriptorSet::decode(set)?.file {
                for service in &file.service {
                    let full_name = match file.package() {
                        "" => service.name().to_owned(),
                        package => format!("{package}.{}", service.name()),
                    };
                    methods.extend(service.method.iter().map(|method| Method {
                        service: full_name.clone(),
                        name: method.name().to_owned(),
                        kind: match (method.client_streaming(), method.server_streaming()) {
                            (false, false) => MethodKind::Unary,
                            (true, false) => MethodKind::ClientStream,
                            (false, true) => MethodKind::ServerStream,
                            (true, true) => MethodKind::BidiStream,
                        },
                    }));
                }
            }
        }
        Ok(Self::from_methods(methods))
    }

    /// Makes a table of the given methods. Of two methods with one path, the later one is used.
    pub fn from_methods(methods: impl IntoIterator<Item = Method>) -> Self {
        let by_path =
            methods.into_iter().map(|method| (format!("/{}/{}", method.service, method.name), method)).collect();
        Self { by_path }
    }

    /// Returns the method with this path, if the server has it.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Method> {
        self.by_path.get(path)
    }

    /// Returns every path with its method, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Method)> {
        self.by_path.iter().map(|(path, method)| (path.as_str(), method))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_set_lists_every_method_and_its_kind() {
        let table = MethodTable::from_descriptor_sets([
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        ])
        .unwrap();
        assert_eq!(table.get("/grpc.health.v1.Health/Check").unwrap().kind, MethodKind::Unary);
        assert_eq!(table.get("/grpc.health.v1.Health/Watch").unwrap().kind, MethodKind::ServerStream);
        let reflection = table.get("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo").unwrap();
        assert_eq!(reflection.kind, MethodKind::BidiStream);
        assert_eq!(table.get("/grpc.health.v1.Health/Nothing"), None);
    }
}
