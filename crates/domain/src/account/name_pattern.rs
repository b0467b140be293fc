//! The pattern of display names in a policy, and the compiled patterns.
//!
//! Compiling can take milliseconds and megabytes, so a pattern is compiled when it is set and when a name is checked,
//! not when the row of its account is read. Compiled patterns are kept by their text, up to [`CACHE_BYTES_MAX`].

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use regex::{Regex, RegexBuilder};

use crate::text::ValidationError;

const CHARACTERS_MAX: usize = 256;
const NEST_MAX: u32 = 32;
/// Maximum sizes of a compiled pattern, in bytes, in the order in which they are tried: the first one that suffices is
/// what the pattern counts for in the cache. With the last one, a hundred letters of any script fit; `\w{5000}` does
/// not.
const COMPILED_BYTES: [usize; 3] = [64 * 1024, 512 * 1024, 2 * 1024 * 1024];
/// Maximum total size of the compiled patterns that are kept.
const CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The compiled patterns of this process.
static COMPILED: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);

/// A regular expression that is searched for in a display name, without anchors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(Arc<str>);

impl NamePattern {
    /// Compiles `pattern` with the syntax of the `regex` crate.
    ///
    /// # Errors
    /// The rule that `pattern` breaks.
    pub fn new(pattern: &str) -> Result<Self, ValidationError> {
        check_length(pattern)?;
        compiled(pattern).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                ValidationError::new("must be a regular expression with a smaller compiled size")
            }
            error => {
                ValidationError::new(format!("must be a regular expression of the regex crate: {}", reason(&error)))
            }
        })?;
        Ok(Self(pattern.into()))
    }

    /// A pattern that [`NamePattern::new`] accepted before. Its syntax is checked, but it is not compiled.
    ///
    /// # Errors
    /// The rule that `pattern` breaks.
    pub fn stored(pattern: &str) -> Result<Self, ValidationError> {
        check_length(pattern)?;
        let mut parser = regex_syntax::ast::parse::ParserBuilder::new().nest_limit(NEST_MAX).build();
        let invalid = |_| ValidationError::new("must be a regular expression of the regex crate");
        parser.parse(pattern).map_err(invalid)?;
        Ok(Self(pattern.into()))
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` contains a match. A stored pattern that does not compile matches nothing.
    pub(super) fn is_match(&self, text: &str) -> bool {
        compiled(&self.0).is_ok_and(|regex| regex.is_match(text))
    }
}

fn check_length(pattern: &str) -> Result<(), ValidationError> {
    if pattern.chars().count() > CHARACTERS_MAX {
        return Err(ValidationError::new(format!("must be at most {CHARACTERS_MAX} characters")));
    }
    Ok(())
}

/// The message of the error, without the copy of the pattern that precedes it.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// The compiled pattern, from the cache or new.
fn compiled(pattern: &str) -> Result<Regex, regex::Error> {
    if let Some(regex) = cache().get(pattern) {
        return Ok(regex);
    }
    // Without the lock of the cache, so that a slow pattern delays only its own callers.
    let (regex, bytes) = compile(pattern)?;
    cache().put(pattern, &regex, bytes);
    Ok(regex)
}

fn cache() -> MutexGuard<'static, Cache> {
    COMPILED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Compiles a pattern, and returns the size that it counts for.
fn compile(pattern: &str) -> Result<(Regex, usize), regex::Error> {
    let build = |bytes| RegexBuilder::new(pattern).size_limit(bytes).dfa_size_limit(bytes).nest_limit(NEST_MAX).build();
    let [smaller @ .., largest] = COMPILED_BYTES;
    for bytes in smaller {
        match build(bytes) {
            Err(regex::Error::CompiledTooBig(_)) => {}
            outcome => return outcome.map(|regex| (regex, bytes)),
        }
    }
    build(largest).map(|regex| (regex, largest))
}

/// Compiled patterns by their text. Clones of a [`Regex`] share its memory.
#[derive(Debug, Default)]
struct Cache {
    patterns: HashMap<Arc<str>, CachedPattern>,
    bytes: usize,
    /// Counts the lookups, to find the pattern that has not been used for longest.
    uses: u64,
}

#[derive(Debug)]
struct CachedPattern {
    regex: Regex,
    bytes: usize,
    last_use: u64,
}

impl Cache {
    fn get(&mut self, pattern: &str) -> Option<Regex> {
        self.uses += 1;
        let cached = self.patterns.get_mut(pattern)?;
        cached.last_use = self.uses;
        Some(cached.regex.clone())
    }

    /// Adds a pattern, and removes those that have not been used for longest until all fit.
    fn put(&mut self, pattern: &str, regex: &Regex, bytes: usize) {
        let cached = CachedPattern { regex: regex.clone(), bytes, last_use: self.uses };
        self.bytes += bytes;
        if let Some(before) = self.patterns.insert(pattern.into(), cached) {
            self.bytes -= before.bytes;
        }
        while self.bytes > CACHE_BYTES_MAX {
            let oldest =
                self.patterns.iter().min_by_key(|(_, cached)| cached.last_use).map(|(text, _)| Arc::clone(text));
            let removed = oldest.and_then(|text| self.patterns.remove(&text));
            let Some(removed) = removed else { return };
            self.bytes -= removed.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_pattern_is_compiled_when_a_name_is_checked_and_once() {
        let text = "^only-in-this-test-[a-z]+$";
        let read: Vec<_> = (0..100).map(|_| NamePattern::stored(text).unwrap()).collect();
        assert!(cache().get(text).is_none(), "rows are read without compiling");
        assert!(read.iter().all(|pattern| pattern.is_match("only-in-this-test-x") && !pattern.is_match("x")));
        let uses = cache().patterns.get(text).map(|cached| cached.bytes);
        assert_eq!(uses, Some(COMPILED_BYTES[0]));
    }

    #[test]
    fn a_stored_pattern_has_valid_syntax() {
        for wrong in ["(", "a{2,1}", "[z-a]", &"a".repeat(257), &"(".repeat(40)] {
            assert!(NamePattern::stored(wrong).is_err(), "{wrong}");
        }
        assert!(!NamePattern::stored("\\w{5000}").unwrap().is_match("x"), "too large to compile: no name is accepted");
    }

    #[test]
    fn the_cache_is_bounded_in_bytes_and_keeps_what_is_used() {
        let mut cache = Cache::default();
        let (regex, _) = compile("x").unwrap();
        let largest = COMPILED_BYTES[2];
        cache.put("used", &regex, largest);
        for number in 0..100 {
            assert!(cache.get("used").is_some());
            cache.put(&format!("pattern {number}"), &regex, largest);
            assert!(cache.bytes <= CACHE_BYTES_MAX);
        }
        assert_eq!(cache.patterns.len(), CACHE_BYTES_MAX / largest);
        assert!(cache.get("pattern 99").is_some() && cache.get("pattern 0").is_none());
        cache.put("used", &regex, COMPILED_BYTES[0]);
        assert_eq!(cache.bytes, CACHE_BYTES_MAX - largest + COMPILED_BYTES[0]);
    }

    #[test]
    fn patterns_count_for_the_size_that_they_need() {
        assert_eq!(compile("^[a-z]{1,20}$").unwrap().1, COMPILED_BYTES[0]);
        assert!(compile(&"\\w{10}".repeat(4)).unwrap().1 > COMPILED_BYTES[0]);
        assert!(compile("\\w{5000}").is_err());
    }
}
