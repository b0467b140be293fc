//! The bounds, and what was measured against them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use key_authority_testkit::plot::{Line, Plot};
use key_authority_testkit::progress;
use serde::Serialize;

use crate::attack::Attack;
use crate::observer::Memory;
use crate::samples::{Kind, Phase, Samples, Series};
use crate::stage::Stage;

/// The most memory that an attack may cost, in MiB.
const GROWTH_MIB_MAX: f64 = 64.0;
/// The good client's p99 may be twice that of the quiet phase, or this many milliseconds.
const P99_MS_MAX: f64 = 5.0;
/// The longest time of a revocation, in milliseconds.
const REVOKE_MS_MAX: f64 = 1_000.0;
/// How many kinds of answers or failures the table shows in one cell.
const LISTED_MAX: usize = 6;
/// The attack whose memory is plotted.
const PLOTTED: &str = "mix";

/// The head of the table.
const HEAD: &str = "| attack | growth, MiB | after, MiB | p99 of Verify, quiet → attack, ms | Verify failed \
                    | new connections failed | longest /livez / /readyz, ms | longest RevokeKey, ms \
                    | answers to the attacker | bounds |\n|---|---:|---:|---:|---:|---:|---:|---:|---|---|";

/// Calls of one kind during an attack.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Calls {
    count: usize,
    p99_ms: f64,
    max_ms: f64,
    failures: BTreeMap<String, u64>,
}

impl Calls {
    fn of(series: Series) -> Self {
        let (count, p99_ms, max_ms) = (series.calls(), series.quantile_ms(0.99), series.max_ms());
        Self { count, p99_ms, max_ms, failures: series.failures }
    }

    fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// The longest time, and the failures if there are any.
    fn cell(&self) -> String {
        let failed = if self.failed() == 0 { String::new() } else { format!(", **{} failed**", self.failed()) };
        format!("{:.0}{failed}", self.max_ms)
    }
}

/// The outcome of one attack.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    attack: &'static str,
    about: &'static str,
    memory_before_mib: f64,
    growth_max_mib: f64,
    growth_after_mib: f64,
    /// What the keys that the attack created may cost.
    data_mib: f64,
    quiet: Calls,
    good: Calls,
    newcomers: Calls,
    livez: Calls,
    readyz: Calls,
    revocations: Calls,
    answers: BTreeMap<String, u64>,
    notes: Vec<String>,
    /// The bounds that were broken.
    broken: Vec<String>,
    /// Seconds since the attack began, and MiB.
    memory: Vec<(f64, f64)>,
}

impl Outcome {
    pub(crate) fn new(attack: &Attack, stage: &Stage, samples: &Samples, memory: &Memory, memory_only: bool) -> Self {
        let during = |kind| Calls::of(samples.of(kind, Phase::Attack));
        let (_, before) = memory.of(Phase::Quiet);
        let (most, after) = (memory.of(Phase::Attack).0.max(memory.of(Phase::After).0), memory.of(Phase::After).1);
        let mut outcome = Self {
            attack: attack.name,
            about: attack.about,
            memory_before_mib: before,
            growth_max_mib: most - before,
            growth_after_mib: after - before,
            data_mib: stage.data_mib(),
            quiet: Calls::of(samples.of(Kind::Verify, Phase::Quiet)),
            good: during(Kind::Verify),
            newcomers: during(Kind::Newcomer),
            livez: during(Kind::Livez),
            readyz: during(Kind::Readyz),
            revocations: during(Kind::Revoke),
            answers: stage.answers.all(),
            notes: stage.all_notes(),
            broken: stage.all_broken(),
            memory: memory.curve(),
        };
        let after = samples.of(Kind::Verify, Phase::After).failed();
        outcome.check_bounds(attack.may_exclude_newcomers, after, memory_only);
        outcome
    }

    /// Compares the figures with the bounds.
    fn check_bounds(&mut self, may_exclude_newcomers: bool, failed_after: u64, memory_only: bool) {
        let mut broken = Vec::new();
        if self.growth_max_mib > GROWTH_MIB_MAX + self.data_mib {
            broken.push(format!("memory grew by {:.0} MiB", self.growth_max_mib));
        }
        if failed_after > 0 {
            broken.push(format!("Verify failed {failed_after} times after the attack"));
        }
        if memory_only {
            broken.append(&mut self.broken);
            self.broken = broken;
            return;
        }
        let p99_max = (2.0 * self.quiet.p99_ms).max(P99_MS_MAX);
        if self.good.p99_ms > p99_max {
            broken.push(format!("p99 of Verify {:.1} ms, bound {p99_max:.1}", self.good.p99_ms));
        }
        for (what, calls) in [
            ("Verify", &self.good),
            ("/livez", &self.livez),
            ("/readyz", &self.readyz),
            ("RevokeKey", &self.revocations),
        ] {
            if calls.failed() > 0 {
                broken.push(format!("{what} failed: {}", list(&calls.failures)));
            }
        }
        if !may_exclude_newcomers && self.newcomers.failed() > 0 {
            broken.push(format!("new connections failed: {}", list(&self.newcomers.failures)));
        }
        if self.revocations.max_ms > REVOKE_MS_MAX {
            broken.push(format!("RevokeKey took {:.0} ms", self.revocations.max_ms));
        }
        if self.revocations.count == 0 {
            broken.push("no revocation was measured".to_owned());
        }
        broken.append(&mut self.broken);
        self.broken = broken;
    }

    /// One line of progress.
    pub(crate) fn summary(&self) -> String {
        if self.broken.is_empty() {
            format!("{}: bounds kept", self.attack)
        } else {
            format!("{}: BROKEN: {}", self.attack, self.broken.join("; "))
        }
    }

    fn row(&self) -> String {
        let newcomers = match self.newcomers.failed() {
            0 => "0".to_owned(),
            failed => format!("**{failed}** of {}", self.newcomers.count),
        };
        let failed = match self.good.failed() {
            0 => "0".to_owned(),
            failed => format!("**{failed}** of {}", self.good.count),
        };
        let notes = if self.notes.is_empty() { String::new() } else { format!(" ({})", self.notes.join("; ")) };
        let verdict = if self.broken.is_empty() { "kept".to_owned() } else { self.broken.join("; ") };
        let cells = [
            self.attack.to_owned(),
            format!("{:.0}", self.growth_max_mib),
            format!("{:.0}", self.growth_after_mib),
            format!("{:.1} → {:.1}", self.quiet.p99_ms, self.good.p99_ms),
            failed,
            newcomers,
            format!("{} / {}", self.livez.cell(), self.readyz.cell()),
            self.revocations.cell(),
            format!("{}{notes}", list(&self.answers)),
            verdict,
        ];
        // A bar within a cell would begin the next one.
        format!("| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
    }
}

/// The outcomes of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The load of the machine when the run began. Other load distorts the latencies.
    pub(crate) load: String,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Report {
    pub(crate) fn is_good(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.broken.is_empty())
    }

    /// Begins the table.
    pub(crate) fn begin(load: &str) -> Self {
        progress::print(HEAD);
        Self { load: load.to_owned(), outcomes: Vec::new() }
    }

    /// Adds a row to the table, and writes the files, so that a run that is interrupted keeps what it measured.
    pub(crate) fn add(&mut self, outcome: Outcome, json: Option<&Path>, svg: Option<&Path>) -> Result<()> {
        progress::print(&outcome.row());
        let write = |file: &Path, text: String| std::fs::write(file, text).with_context(|| file.display().to_string());
        if let Some(file) = svg.filter(|_| outcome.attack == PLOTTED) {
            write(file, plot(&outcome).svg())?;
        }
        self.outcomes.push(outcome);
        match json {
            Some(file) => write(file, serde_json::to_string_pretty(self).context("cannot encode the report")? + "\n"),
            None => Ok(()),
        }
    }

    /// Ends the table.
    pub(crate) fn end(&self) {
        let broken = self.outcomes.iter().filter(|outcome| !outcome.broken.is_empty()).count();
        let count = self.outcomes.len();
        progress::print(&format!("\n{count} attacks, {broken} with a broken bound. Load before: {}.", self.load));
    }
}

/// The most frequent entries with their counts.
fn list(counts: &BTreeMap<String, u64>) -> String {
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let more = sorted.len().saturating_sub(LISTED_MAX);
    let mut texts: Vec<_> = sorted.iter().take(LISTED_MAX).map(|(name, count)| format!("{count} × {name}")).collect();
    if more > 0 {
        texts.push(format!("{more} more kinds"));
    }
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

fn plot(outcome: &Outcome) -> Plot {
    Plot {
        name: outcome.attack.to_owned(),
        title: "Memory under the worst mix of attacks".to_owned(),
        x_label: "seconds since the attack began".to_owned(),
        y_label: "resident memory, MiB".to_owned(),
        is_x_logarithmic: false,
        lines: vec![Line { name: "server".to_owned(), points: outcome.memory.clone() }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(p99_ms: f64, failures: &[(&str, u64)]) -> Calls {
        let failures = failures.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Calls { count: 100, p99_ms, max_ms: p99_ms, failures }
    }

    fn outcome() -> Outcome {
        Outcome {
            attack: "of-the-test",
            about: "",
            memory_before_mib: 20.0,
            growth_max_mib: 64.0,
            growth_after_mib: 0.0,
            data_mib: 0.0,
            quiet: calls(1.0, &[]),
            good: calls(5.0, &[]),
            newcomers: calls(2.0, &[]),
            livez: calls(2.0, &[]),
            readyz: calls(2.0, &[]),
            revocations: calls(1_000.0, &[]),
            answers: BTreeMap::new(),
            notes: Vec::new(),
            broken: Vec::new(),
            memory: Vec::new(),
        }
    }

    #[test]
    fn figures_at_the_bounds_keep_them() {
        let mut outcome = outcome();
        outcome.check_bounds(false, 0, false);
        assert_eq!(outcome.broken, [""; 0]);
    }

    #[test]
    fn each_bound_is_broken_by_its_figure() {
        let cases: [fn(&mut Outcome); 7] = [
            |outcome| outcome.growth_max_mib = 65.0,
            |outcome| outcome.good.p99_ms = 5.1,
            |outcome| outcome.good = calls(1.0, &[("UNAVAILABLE", 1)]),
            |outcome| outcome.livez = calls(1.0, &[("no answer within 1s", 1)]),
            |outcome| outcome.revocations.max_ms = 1_001.0,
            |outcome| outcome.revocations.count = 0,
            |outcome| outcome.newcomers = calls(1.0, &[("UNAVAILABLE", 1)]),
        ];
        for case in cases {
            let mut outcome = outcome();
            case(&mut outcome);
            outcome.check_bounds(false, 0, false);
            assert_eq!(outcome.broken.len(), 1, "{:?}", outcome.broken);
        }
    }

    #[test]
    fn a_slow_quiet_phase_widens_the_bound_of_the_p99() {
        let mut outcome = Outcome { quiet: calls(4.0, &[]), good: calls(8.0, &[]), ..outcome() };
        outcome.check_bounds(false, 0, false);
        assert_eq!(outcome.broken, [""; 0]);
    }
}
