//! How an authority is started.

use std::sync::Arc;

use tempfile::TempDir;
use tonic::transport::ClientTlsConfig;

use super::Authority;
use crate::support::database::{Database, DatabaseServer, Login, Provisioned};
use crate::support::link::Link;

/// How an authority is to be started.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(super) database: Database,
    database_server: DatabaseServer,
    pub(super) flags: Vec<String>,
    pub(super) wrapper: Vec<String>,
    pub(super) log: &'static str,
    is_linked: bool,
    password: Option<String>,
    pub(super) tls: Option<ClientTlsConfig>,
}

impl Setup {
    /// The ordinary one.
    pub(crate) fn on(database: Database) -> Self {
        let (flags, wrapper) = (Vec::new(), Vec::new());
        let database_server = DatabaseServer::Shared;
        Self { database, database_server, flags, wrapper, log: "debug", is_linked: false, password: None, tls: None }
    }

    /// With a database on the server whose clock can be set.
    pub(crate) fn clocked(mut self) -> Self {
        self.database_server = DatabaseServer::Clocked;
        self
    }

    /// With more flags.
    pub(crate) fn flags<S: Into<String>>(mut self, flags: impl IntoIterator<Item = S>) -> Self {
        self.flags.extend(flags.into_iter().map(Into::into));
        self
    }

    /// With the server started by another program, such as `prlimit`.
    pub(crate) fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// With a link to the database that can be cut: see [`Authority::link`].
    pub(crate) fn linked(mut self) -> Self {
        self.is_linked = true;
        self
    }

    /// With logs at another level.
    pub(crate) fn log(mut self, level: &'static str) -> Self {
        self.log = level;
        self
    }

    /// With a user of the database who has this password.
    pub(crate) fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// With clients that speak TLS.
    pub(crate) fn tls(mut self, tls: ClientTlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Makes the database and what the server needs to start, but does not start it.
    pub(crate) async fn prepare(self) -> Authority {
        let folder = tempfile::Builder::new().prefix("key-authority-").tempdir().unwrap();
        let provisioned =
            Arc::new(Provisioned::new(self.database, self.database_server, folder.path(), self.password.as_deref()));
        let authority = self.on_provisioned(provisioned, folder).await;
        if authority.setup.database != Database::Sqlite {
            authority.make_secrets().await;
        }
        authority
    }

    /// Makes what the server needs to start on a database that is there, but does not start it.
    pub(crate) async fn prepare_on(self, login: Login) -> Authority {
        let folder = tempfile::Builder::new().prefix("key-authority-").tempdir().unwrap();
        let provisioned = Arc::new(Provisioned::on(login, folder.path()));
        let authority = self.on_provisioned(provisioned, folder).await;
        authority.make_secrets().await;
        authority
    }

    pub(super) async fn on_provisioned(self, provisioned: Arc<Provisioned>, folder: TempDir) -> Authority {
        let link = if self.is_linked { Some(Link::to(provisioned.address()).await) } else { None };
        Authority { server: None, channel: None, setup: self, provisioned, link, folder }
    }

    /// Starts it and awaits that it can verify.
    pub(crate) async fn start(self) -> Authority {
        let mut authority = self.prepare().await;
        authority.restart().await;
        authority
    }
}
