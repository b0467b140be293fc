//! The propagation of a change to the replicas.

use key_authority_proto::v1::{Propagation, PropagationState};

use crate::console::note;
use crate::relative::counted;

/// Prints a note that the change is in force on all replicas.
pub(crate) fn report(propagation: Option<&Propagation>) {
    if let Some(propagation) = propagation {
        note(&sentence(propagation));
    }
}

/// Describes the propagation in one line.
fn sentence(propagation: &Propagation) -> String {
    let Propagation { revision, replicas, .. } = propagation;
    let waited = propagation.waited.and_then(|waited| std::time::Duration::try_from(waited).ok()).unwrap_or_default();
    let how = match propagation.state() {
        PropagationState::Confirmed => format!("confirmed by {}", counted((*replicas).into(), "replica")),
        PropagationState::Lapsed => "in force after the lease of an unresponsive replica expired".into(),
        PropagationState::Unspecified => "committed".into(),
    };
    format!("revision {revision} {how}, waited {waited:.1?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_propagation_of_a_change_is_described() {
        let mut propagation = Propagation {
            revision: 7,
            state: PropagationState::Confirmed.into(),
            replicas: 3,
            waited: Some(prost_types::Duration { seconds: 0, nanos: 823_000 }),
        };
        assert_eq!(sentence(&propagation), "revision 7 confirmed by 3 replicas, waited 823.0µs");
        propagation.state = PropagationState::Lapsed.into();
        assert_eq!(
            sentence(&propagation),
            "revision 7 in force after the lease of an unresponsive replica expired, waited 823.0µs"
        );
    }
}
