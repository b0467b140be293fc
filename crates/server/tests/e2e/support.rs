//! What the scenarios stand on: servers, databases, clients, and what to expect of a refusal.

pub(crate) mod authority;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod database;
pub(crate) mod expect;
pub(crate) mod http;
pub(crate) mod link;
pub(crate) mod pooler;
pub(crate) mod process;
pub(crate) mod standby;
pub(crate) mod upstream;

use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

pub(crate) use authority::{Authority, Setup};
pub(crate) use client::{Client, NewKey};
pub(crate) use database::Database;
pub(crate) use expect::{invalid, refused};
pub(crate) use key_authority_proto::v1;
pub(crate) use process::subcommand;

/// What a scenario asks for: the database alone, or a server on it that is ready.
pub(crate) trait Start: Sized {
    async fn start(database: Database) -> Self;
}

impl Start for Database {
    async fn start(database: Database) -> Self {
        database
    }
}

impl Start for Authority {
    async fn start(database: Database) -> Self {
        Setup::on(database).start().await
    }
}

/// Runs a scenario on a database, with what it asks for.
pub(crate) async fn run<T: Start>(database: Database, scenario: impl AsyncFnOnce(T)) {
    scenario(T::start(database).await).await;
}

/// Makes a test of each scenario on the databases named: `…::sqlite::name`, `…::postgres::name`, `…::mariadb::name`.
macro_rules! on_databases {
    ([$($module:ident $database:ident),*] $scenarios:tt) => {
        $(mod $module { $crate::support::tests_on!($database $scenarios); })*
    };
}

macro_rules! tests_on {
    ($database:ident { $($name:ident),* $(,)? }) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $crate::support::run($crate::support::Database::$database, super::$name).await;
            }
        )*
    };
}

/// Makes three tests of each scenario, one a database.
macro_rules! on_every_database {
    ($($name:ident),* $(,)?) => {
        $crate::support::on_databases!([sqlite Sqlite, postgres Postgres, mariadb MariaDb] { $($name),* });
    };
}

/// Makes two tests of each scenario, for what an embedded database cannot undergo.
macro_rules! on_database_servers {
    ($($name:ident),* $(,)?) => {
        $crate::support::on_databases!([postgres Postgres, mariadb MariaDb] { $($name),* });
    };
}

/// Makes one test of each scenario, on the embedded default: for what is the same whatever keeps the facts.
macro_rules! on_sqlite {
    ($($name:ident),* $(,)?) => {
        $crate::support::on_databases!([sqlite Sqlite] { $($name),* });
    };
}

pub(crate) use {on_database_servers, on_databases, on_every_database, on_sqlite, tests_on};

/// How long anything may take before it counts as never.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Awaits `work`, and fails when it has not ended by [`DEADLINE`].
#[track_caller]
pub(crate) fn in_time<T>(what: &str, work: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        tokio::time::timeout(DEADLINE, work)
            .await
            .unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?} ({place})"))
    }
}

/// Asks until there is an answer, and fails when there is none by [`DEADLINE`]. Only for what no event tells of.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    in_time(what, async {
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    })
    .await
}

/// A number to derive chance from: `KEY_AUTHORITY_SEED`, else a new one. It is printed, so that a run can be repeated.
pub(crate) fn seed() -> u64 {
    let given =
        std::env::var("KEY_AUTHORITY_SEED").ok().map(|text| text.parse().expect("KEY_AUTHORITY_SEED: a number"));
    let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    println!("KEY_AUTHORITY_SEED={seed}");
    seed
}

/// Chance out of a seed (`SplitMix64`).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    /// A byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }
}

/// A protobuf duration of whole seconds.
#[expect(clippy::unnecessary_wraps, reason = "as the fields of requests have it")]
pub(crate) fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

/// A protobuf duration of whole days.
pub(crate) fn days(days: i64) -> Option<prost_types::Duration> {
    seconds(days * 86_400)
}

/// Nanoseconds from one instant to another.
#[track_caller]
pub(crate) fn nanos_between(from: Option<prost_types::Timestamp>, to: Option<prost_types::Timestamp>) -> i128 {
    let nanos = |time: Option<prost_types::Timestamp>| {
        let time = time.expect("a time is set");
        i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
    };
    nanos(to) - nanos(from)
}

/// The same instant, so many seconds later.
pub(crate) fn later(time: Option<prost_types::Timestamp>, seconds: i64) -> Option<prost_types::Timestamp> {
    time.map(|time| prost_types::Timestamp { seconds: time.seconds + seconds, nanos: time.nanos })
}

/// Fails unless both hold the same, in whatever order.
#[track_caller]
pub(crate) fn assert_same_set<T: Ord + Debug>(left: impl IntoIterator<Item = T>, right: impl IntoIterator<Item = T>) {
    let sorted = |items: &mut dyn Iterator<Item = T>| {
        let mut items: Vec<T> = items.collect();
        items.sort();
        items
    };
    assert_eq!(sorted(&mut left.into_iter()), sorted(&mut right.into_iter()));
}
