//! What is wrong with the settings, in the words of the operator: the flag, its twin, the value, the rule.

use std::fmt;

/// The environment variable of a flag.
pub(crate) fn twin(flag: &str) -> String {
    format!("KEY_AUTHORITY_{}", flag.replace('-', "_").to_ascii_uppercase())
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A setting breaks a rule.
    Invalid {
        /// The flag without its dashes.
        flag: &'static str,
        /// What was said; `None` where nothing was said or where it may hold a secret.
        value: Option<String>,
        /// The rule, as the end of a sentence that begins with the flag.
        rule: String,
    },
    /// A variable that looks like ours and is none.
    UnknownVariable {
        /// Its name.
        name: String,
        /// The name of ours that is nearest to it.
        nearest: Option<String>,
    },
    /// What a setting names cannot be used.
    Unusable {
        /// Why, as whoever reads it says it; it begins with the flag or the variable.
        why: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { flag, value, rule } => {
                write!(formatter, "--{flag} ({})", twin(flag))?;
                if let Some(value) = value {
                    write!(formatter, " is {value:?}:")?;
                }
                write!(formatter, " {rule}")
            }
            Self::UnknownVariable { name, nearest } => {
                write!(formatter, "{name} is no setting of key-authority")?;
                nearest.iter().try_for_each(|nearest| write!(formatter, "; did you mean {nearest}?"))
            }
            Self::Unusable { why } => formatter.write_str(why),
        }
    }
}

/// Everything that is wrong, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{error}")?;
        }
        Ok(())
    }
}
