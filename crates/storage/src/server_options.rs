//! The options of a connection to a database server, by its URL. The driver would look an IPv6 address up with the
//! brackets of the URL, as the name of a host.

use sea_orm::sqlx::Error;
use sea_orm::sqlx::mysql::MySqlConnectOptions;
use sea_orm::sqlx::postgres::PgConnectOptions;

/// Parses the URL of a PostgreSQL database.
pub(crate) fn postgres(url: &str) -> Result<PgConnectOptions, Error> {
    url.parse().map(postgres_with_address)
}

/// Parses the URL of a MySQL or MariaDB database.
pub(crate) fn mysql(url: &str) -> Result<MySqlConnectOptions, Error> {
    url.parse().map(mysql_with_address)
}

pub(crate) fn postgres_with_address(options: PgConnectOptions) -> PgConnectOptions {
    match address(options.get_host()) {
        Some(address) => options.host(&address),
        None => options,
    }
}

pub(crate) fn mysql_with_address(options: MySqlConnectOptions) -> MySqlConnectOptions {
    match address(options.get_host()) {
        Some(address) => options.host(&address),
        None => options,
    }
}

fn address(host: &str) -> Option<String> {
    host.strip_prefix('[')?.strip_suffix(']').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_has_no_brackets() {
        assert_eq!(postgres("postgres://u@[::1]:5432/d").unwrap().get_host(), "::1");
        assert_eq!(mysql("mysql://u@[::1]:3306/d").unwrap().get_host(), "::1");
        assert_eq!(postgres("postgres://u@keys:5432/d").unwrap().get_host(), "keys");
    }
}
