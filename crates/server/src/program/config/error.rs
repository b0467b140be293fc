//! Configuration errors for the operator: the flag, its environment variable, the value and the rule.

use std::fmt;

/// Returns the environment variable of a flag.
pub(crate) fn twin(flag: &str) -> String {
    format!("KEY_AUTHORITY_{}", flag.replace('-', "_").to_ascii_uppercase())
}

/// One configuration error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A setting violates a rule.
    Invalid {
        /// The flag without its dashes.
        flag: &'static str,
        /// The value; `None` if it is missing or may contain a secret.
        value: Option<String>,
        /// The rule, as the end of a sentence that begins with the flag.
        rule: String,
    },
    /// An unknown variable with the server's prefix.
    UnknownVariable {
        /// Its name.
        name: String,
        /// The known name that is closest to it.
        nearest: Option<String>,
    },
    /// A file that a setting names cannot be used.
    Unusable {
        /// The reason; it begins with the flag or the variable.
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
                write!(formatter, "{name} is not a setting of key-authority")?;
                nearest.iter().try_for_each(|nearest| write!(formatter, "; did you mean {nearest}?"))
            }
            Self::Unusable { why } => formatter.write_str(why),
        }
    }
}

impl ConfigError {
    /// Returns the error of a setting. A value that is a URL is left out: a database URL that was set in the wrong
    /// place may contain a password.
    pub(crate) fn invalid(flag: &'static str, value: Option<&str>, rule: impl Into<String>) -> Self {
        let value = value.filter(|value| !is_url(value)).map(str::to_owned);
        Self::Invalid { flag, value, rule: rule.into() }
    }
}

/// Whether a value may be a URL.
pub(crate) fn is_url(value: &str) -> bool {
    value.contains("://")
}

/// All configuration errors, one line each.
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
