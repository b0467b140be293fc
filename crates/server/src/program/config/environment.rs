//! Unknown variables with the server's prefix: a misspelled setting must not be ignored silently.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use clap::CommandFactory as _;

use super::args::Cli;
use super::error::ConfigError;

const PREFIX: &str = "KEY_AUTHORITY_";
/// The variables of the tests: the URLs of their databases, and their seed. A shell that has them may start a server.
const OF_TESTS: [&str; 6] = [
    "KEY_AUTHORITY_TEST_POSTGRES_URL",
    "KEY_AUTHORITY_TEST_MARIADB_URL",
    "KEY_AUTHORITY_TEST_CLOCKED_POSTGRES_URL",
    "KEY_AUTHORITY_TEST_CLOCKED_MARIADB_URL",
    "KEY_AUTHORITY_TEST_CLOCK_FILE",
    "KEY_AUTHORITY_SEED",
];

/// Every variable that some flag reads. clap is the only list.
static KNOWN: LazyLock<Vec<String>> = LazyLock::new(known_names);

fn known_names() -> Vec<String> {
    fn collect(command: &clap::Command, names: &mut Vec<String>) {
        names.extend(
            command.get_arguments().filter_map(clap::Arg::get_env).map(|name| name.to_string_lossy().into_owned()),
        );
        command.get_subcommands().for_each(|subcommand| collect(subcommand, names));
    }
    let mut names = Vec::new();
    collect(&Cli::command(), &mut names);
    names.sort();
    names.dedup();
    names
}

/// Whether Kubernetes sets this variable in every pod of a namespace with a Service named `key-authority` or
/// `key-authority-…` (`KEY_AUTHORITY_SERVICE_HOST`, `KEY_AUTHORITY_PORT_50051_TCP_ADDR` and so on). Rejecting it would
/// keep the server from starting next to its own Service.
fn is_service_link(name: &str, value: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    let follows = |first: &str, second: fn(&str) -> bool| {
        words.windows(2).any(|pair| matches!(pair, [a, b] if *a == first && second(b)))
    };
    follows("SERVICE", |word| word == "HOST" || word == "PORT")
        || follows("PORT", |word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()))
        || (name.ends_with("_PORT") && ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme)))
}

/// Returns an error for each unknown variable that is not blank. Values are read only for this, and to recognize those
/// of Kubernetes.
pub(super) fn unknown(variables: &BTreeMap<String, String>) -> Vec<ConfigError> {
    let unknown = variables
        .iter()
        .filter(|(name, value)| {
            name.starts_with(PREFIX)
                && !value.trim().is_empty()
                && !OF_TESTS.contains(&name.as_str())
                && !KNOWN.contains(name)
                && !is_service_link(name, value)
        })
        .map(|(name, _)| name);
    unknown
        .map(|name| {
            let nearest = KNOWN.iter().min_by_key(|candidate| distance(name, candidate));
            let nearest = nearest.filter(|candidate| distance(name, candidate) <= 4).cloned();
            ConfigError::UnknownVariable { name: name.clone(), nearest }
        })
        .collect()
}

/// Returns the number of characters to insert, drop or change to turn one text into the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, character) in from.bytes().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, other) in row.iter_mut().skip(1).zip(to.bytes()) {
            let changed = diagonal + usize::from(character != other);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(variables: &[(&str, &str)]) -> Vec<String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        unknown(&variables.collect()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_distance_counts_changes() {
        assert_eq!(distance("lease", "lease"), 0);
        assert_eq!(distance("leese", "lease"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_misspelled_variable_is_rejected_with_a_suggestion() {
        assert_eq!(
            messages(&[("KEY_AUTHORITY_LEESE", "9s"), ("KEY_AUTHORITY_LEASE", "9s"), ("PATH", "/bin")]),
            ["KEY_AUTHORITY_LEESE is not a setting of key-authority; did you mean KEY_AUTHORITY_LEASE?"]
        );
        assert_eq!(
            messages(&[("KEY_AUTHORITY_SOMETHING_ELSE_ENTIRELY", "secret")]),
            ["KEY_AUTHORITY_SOMETHING_ELSE_ENTIRELY is not a setting of key-authority"]
        );
        assert!(messages(&[("KEY_AUTHORITY_LEESE", ""), ("KEY_AUTHORITY_LEASES", " ")]).is_empty());
        assert_eq!(messages(&[("KEY_AUTHORITY_SEED", "7"), ("KEY_AUTHORITY_SEEDS", "7")]).len(), 1);
    }

    #[test]
    fn variables_that_kubernetes_sets_for_our_service_are_accepted() {
        let none: [String; 0] = [];
        assert_eq!(
            messages(&[
                ("KEY_AUTHORITY_SERVICE_HOST", "10.0.0.1"),
                ("KEY_AUTHORITY_SERVICE_PORT", "50051"),
                ("KEY_AUTHORITY_SERVICE_PORT_GRPC", "50051"),
                ("KEY_AUTHORITY_PORT", "tcp://10.0.0.1:50051"),
                ("KEY_AUTHORITY_PORT_50051_TCP", "tcp://10.0.0.1:50051"),
                ("KEY_AUTHORITY_PORT_50051_TCP_ADDR", "10.0.0.1"),
                ("KEY_AUTHORITY_METRICS_PORT_9464_TCP_PROTO", "tcp"),
                ("KEY_AUTHORITY_HEADLESS_SERVICE_HOST", "10.0.0.2"),
            ]),
            none
        );
        assert_eq!(messages(&[("KEY_AUTHORITY_PORT", "50051")]).len(), 1);
    }
}
