//! The menu of overlaps: how long the old token of a renewed key still works.

use std::time::Duration;

use key_authority_domain::account::OVERLAP_DEFAULT;
use key_authority_proto::v1::KeyPolicy;

use crate::console::show;

/// The overlaps that the menu offers, as far as the policy allows them, in seconds.
const OFFERED: [u64; 6] = [0, 15 * 60, 3600, 24 * 3600, 7 * 24 * 3600, 30 * 24 * 3600];

/// An entry of the menu of overlaps.
pub(super) struct OverlapChoice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) is_selected: bool,
}

/// Returns the menu of overlaps that a policy allows.
pub(super) fn overlaps(policy: &KeyPolicy, selected: &str) -> Vec<OverlapChoice> {
    let max = policy.max_overlap.as_ref().map_or(OVERLAP_DEFAULT, show::duration);
    let mut offered: Vec<_> = OFFERED.map(Duration::from_secs).into_iter().filter(|overlap| *overlap <= max).collect();
    if offered.last().is_some_and(|last| *last < max) && max.as_secs() > 0 {
        offered.push(Duration::from_secs(max.as_secs()));
        offered.dedup();
    }
    let choice = |overlap: Duration| {
        let value = overlap.as_secs().to_string();
        let label = match overlap.as_secs() {
            0 => "None: the old token ends at once".to_owned(),
            _ => format!("{}: both tokens work", show::whole(overlap)),
        };
        let is_selected = value == selected;
        OverlapChoice { value, label, is_selected }
    };
    offered.into_iter().map(choice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_those_of_the_policy() {
        let values = |seconds: Option<i64>| {
            let max_overlap = seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
            let choices = overlaps(&KeyPolicy { max_overlap, ..KeyPolicy::default() }, "");
            choices.into_iter().map(|choice| choice.value).collect::<Vec<_>>()
        };
        assert_eq!(values(Some(0)), ["0"]);
        assert_eq!(values(Some(3600)), ["0", "900", "3600"]);
        assert_eq!(values(Some(5400)), ["0", "900", "3600", "5400"]);
        assert_eq!(values(None), ["0", "900", "3600", "86400", "604800", "2592000"]);
    }
}
