//! Update masks: the fields that a request changes.

use prost_types::FieldMask;

use super::check::Check;

/// The fields that an update names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mask<'a> {
    /// No mask: the fields that have a value in the resource.
    Carried,
    /// `*`: every field that can be changed.
    All,
    /// These paths.
    Paths(&'a [String]),
}

impl<'a> Mask<'a> {
    /// Reads field `update_mask`, which may contain only `allowed` paths. A mask without paths is what clients send for
    /// an absent one.
    pub(crate) fn read(check: &mut Check, mask: Option<&'a FieldMask>, allowed: &[&str]) -> Self {
        let paths = mask.map_or(&[][..], |mask| &mask.paths);
        match paths {
            [] => Self::Carried,
            [star] if star == "*" => Self::All,
            paths => {
                if !paths.iter().all(|path| allowed.contains(&path.as_str())) {
                    check.violation("update_mask", format!("must name only {}; or be * alone", allowed.join(", ")));
                }
                Self::Paths(paths)
            }
        }
    }

    /// Whether the field `path` changes; `carried` is whether the resource has a value for it.
    pub(crate) fn names(self, path: &str, carried: bool) -> bool {
        match self {
            Self::Carried => carried,
            Self::All => true,
            Self::Paths(paths) => paths.iter().any(|named| named == path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }
    }

    fn names(mask: Option<&FieldMask>, carried: bool) -> Result<bool, String> {
        let mut check = Check::new();
        let mask = Mask::read(&mut check, mask, &["a", "b"]);
        check.finish(|| Some(mask.names("a", carried))).map_err(|violations| violations.to_string())
    }

    #[test]
    fn without_a_mask_the_set_fields_are_named() {
        for absent in [None, Some(&mask(&[]))] {
            assert_eq!((names(absent, true), names(absent, false)), (Ok(true), Ok(false)));
        }
    }

    #[test]
    fn a_mask_names_fields_with_and_without_a_value() {
        assert_eq!(names(Some(&mask(&["*"])), false), Ok(true));
        assert_eq!(names(Some(&mask(&["b", "a", "a"])), false), Ok(true));
        assert_eq!(names(Some(&mask(&["b"])), true), Ok(false));
    }

    #[test]
    fn an_unknown_path_is_answered_with_the_known_ones() {
        for wrong in [&["canary"][..], &["a", "canary"], &["*", "a"], &["a.b"], &[""], &["A"]] {
            let rule = names(Some(&mask(wrong)), true).unwrap_err();
            assert_eq!(rule, "update_mask must name only a, b; or be * alone", "{wrong:?}");
        }
    }
}
