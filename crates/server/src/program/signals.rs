//! The signals of the operating system, and what each of them means to a server.
//!
//! Every signal that would end the process by default, and that a process may handle, has a meaning here. The default
//! action would lose the use counts that are only in memory. SIGPIPE is ignored by the runtime of Rust. Faults of the
//! process itself (SIGSEGV, SIGABRT and the like) keep their action.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// A shutdown in order.
    Shutdown,
    /// To read files again that can be read while the server runs.
    Reload,
    /// Nothing.
    Ignored,
}

/// A signal that arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    /// The name of the signal.
    pub name: &'static str,
    /// What it asks for.
    pub request: Request,
    /// The exit code of a process that the signal ended, as shells report it.
    pub exit_code: u8,
}

const HANDLED: &[(Signal, &str, Request)] = &[
    (Signal::TERM, "SIGTERM", Request::Shutdown),
    (Signal::INT, "SIGINT", Request::Shutdown),
    (Signal::QUIT, "SIGQUIT", Request::Shutdown),
    // The soft limit of CPU time; the hard one kills.
    (Signal::XCPU, "SIGXCPU", Request::Shutdown),
    #[cfg(target_os = "linux")]
    (Signal::POWER, "SIGPWR", Request::Shutdown),
    (Signal::HUP, "SIGHUP", Request::Reload),
    (Signal::USR1, "SIGUSR1", Request::Ignored),
    (Signal::USR2, "SIGUSR2", Request::Ignored),
    (Signal::ALARM, "SIGALRM", Request::Ignored),
    (Signal::VTALARM, "SIGVTALRM", Request::Ignored),
    (Signal::PROF, "SIGPROF", Request::Ignored),
    (Signal::IO, "SIGIO", Request::Ignored),
    // The write beyond the limit of a file's size fails with an error, which the database reports.
    (Signal::XFSZ, "SIGXFSZ", Request::Ignored),
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    (Signal::STKFLT, "SIGSTKFLT", Request::Ignored),
];

/// The real-time signals; the C library uses the two before them. Container engines ask programs to end with one of them
/// (`SIGRTMIN+3`).
#[cfg(target_os = "linux")]
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;
#[cfg(not(target_os = "linux"))]
const REAL_TIME: std::ops::Range<i32> = 0..0;

/// The handlers. They stay installed for the life of the process.
pub(super) struct Signals(Vec<(Received, unix::Signal)>);

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// When the system rejects one.
    pub(super) fn install() -> io::Result<Self> {
        let named = HANDLED.iter().map(|&(signal, name, request)| (signal.as_raw(), name, request));
        let real_time = REAL_TIME.zip(0..).map(|(number, index)| {
            let name: &'static str = format!("SIGRTMIN+{index}").leak();
            (number, name, Request::Shutdown)
        });
        let install = |(number, name, request)| {
            let exit_code = 128 + u8::try_from(number).unwrap_or_default();
            Ok((Received { name, request, exit_code }, unix::signal(SignalKind::from_raw(number))?))
        };
        named.chain(real_time).map(install).collect::<io::Result<_>>().map(Self)
    }

    /// Returns the next signal.
    pub(super) async fn next(&mut self) -> Received {
        poll_fn(|context| {
            let mut arrived = self.0.iter_mut().filter_map(|(received, signal)| match signal.poll_recv(context) {
                Poll::Ready(Some(())) => Some(*received),
                Poll::Ready(None) | Poll::Pending => None,
            });
            arrived.next().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
