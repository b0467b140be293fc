//! Proof of the coherence protocol, over the transition functions that production runs.
