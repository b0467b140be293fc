//! Machine, programs and settings.

use super::Bench;
use crate::redis;

/// The machine, the versions of the programs, and the settings.
pub(super) async fn facts(bench: &Bench) -> Vec<String> {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let memory = memory.trim_end_matches(" kB").parse::<u64>().unwrap_or_default() >> 20;
    let model = field(&read("/proc/cpuinfo"), "model name");
    let kernel = read("/proc/sys/kernel/osrelease");
    vec![
        format!("{cores} cores ({model}), {memory} GiB, Linux {}", kernel.trim()),
        format!("key-authority {}, Redis {}", env!("CARGO_PKG_VERSION"), redis::version().await.unwrap_or_default()),
        format!(
            "{} keys; each figure is the median of {} rounds of {:.1?}",
            bench.keys(),
            bench.args.rounds,
            bench.time()
        ),
    ]
}
