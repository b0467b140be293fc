//! Who logs in to a database server, and where it listens.

/// Who logs in, and where.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    scheme: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Login {
    pub(super) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (user, rest) = rest.split_once(':')?;
        let (password, rest) = rest.split_once('@')?;
        let (host, port) = rest.split('/').next()?.split_once(':')?;
        let owned = str::to_owned;
        Some(Self {
            scheme: owned(scheme),
            user: owned(user),
            password: owned(password),
            host: owned(host),
            port: port.parse().ok()?,
        })
    }

    /// A server of a test's own.
    pub(crate) fn local(scheme: &str, user: &str, password: &str, port: u16) -> Self {
        let owned = str::to_owned;
        let (scheme, user, password) = (owned(scheme), owned(user), owned(password));
        Self { scheme, user, password, host: owned("127.0.0.1"), port }
    }

    /// The same server, with another user.
    pub(super) fn as_user(&self, user: &str, password: &str) -> Self {
        Self { user: user.to_owned(), password: password.to_owned(), ..self.clone() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) fn url(&self, database: &str) -> String {
        let Self { scheme, user, password, host, port } = self;
        format!("{scheme}://{user}:{password}@{host}:{port}/{database}")
    }
}
