//! Errors with their causes, as people and log lines get them.

use std::error::Error;

/// Formats the error and its causes. An error of this workspace describes only its own layer. Some libraries repeat
/// their cause in their own text; it is written once.
#[must_use]
pub fn whole(error: &dyn Error) -> String {
    join(Some(error))
}

/// Formats the causes alone.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    join(error.source())
}

fn join(first: Option<&dyn Error>) -> String {
    let mut text = String::new();
    for error in std::iter::successors(first, |&error| error.source()) {
        let part = error.to_string();
        if text.ends_with(&part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Layer {
        #[error("the file cannot be used")]
        File(#[source] Box<Layer>),
        #[error("reading failed: {0}")]
        Repeats(#[source] Box<Layer>),
        #[error("permission denied")]
        Denied,
    }

    #[test]
    fn each_cause_is_written_once() {
        let error = Layer::File(Layer::Repeats(Layer::Denied.into()).into());
        assert_eq!(whole(&error), "the file cannot be used: reading failed: permission denied");
        assert_eq!(causes(&error), "reading failed: permission denied");
        assert_eq!(causes(&Layer::Denied), "");
    }
}
