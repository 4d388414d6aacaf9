//! Why a check does not pass.

use std::fmt::Display;

/// What a check says.
pub(super) type Verdict = Result<(), Objection>;

/// What stands in the way of passing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Objection {
    /// It is not as it must be.
    Differs {
        /// What must be.
        expected: String,
        /// What is.
        observed: String,
    },
    /// There was nothing to look at; where that is a fault, another check says so.
    Unseen {
        /// What is missing.
        reason: String,
    },
}

/// How many of a list are named in full.
const NAMED: usize = 8;

impl Objection {
    /// It is not as it must be.
    pub(super) fn differs(expected: impl Display, observed: impl Display) -> Self {
        Self::Differs { expected: expected.to_string(), observed: observed.to_string() }
    }

    /// There was nothing to look at.
    pub(super) fn unseen(reason: impl Display) -> Self {
        Self::Unseen { reason: reason.to_string() }
    }
}

/// Passes if nothing was found that breaks the rule; else names the first few of it.
pub(super) fn none(rule: &str, found: impl IntoIterator<Item = String>) -> Verdict {
    let mut found = found.into_iter();
    let named: Vec<String> = found.by_ref().take(NAMED).collect();
    if named.is_empty() {
        return Ok(());
    }
    let rest = found.count();
    let more = if rest == 0 { String::new() } else { format!("; and {rest} more") };
    Err(Objection::differs(rule, format!("{}{more}", named.join("; "))))
}

/// Passes if both are equal.
pub(super) fn equal<T: PartialEq + Display>(what: &str, expected: T, observed: T) -> Verdict {
    if expected == observed {
        return Ok(());
    }
    Err(Objection::differs(format!("{what} {expected}"), observed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_and_counted() {
        assert_eq!(none("nothing", []), Ok(()));
        let found = (1..=10).map(|number: u8| number.to_string());
        let observed = "1; 2; 3; 4; 5; 6; 7; 8; and 2 more";
        assert_eq!(none("nothing", found), Err(Objection::differs("nothing", observed)));
    }
}
