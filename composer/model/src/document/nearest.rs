//! The known name that a misspelt one was probably meant to be.

/// The known name nearest to `typed`, if it is near enough to be a slip of the fingers.
///
/// At most one edit for every three characters, two for a swap of neighbours; of equally near names
/// the first in the order given.
#[must_use]
pub fn nearest<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let typed: Vec<char> = typed.chars().take(128).collect();
    let limit = (typed.len() / 3).max(1);
    known
        .into_iter()
        .map(|name| (distance(&typed, &name.chars().collect::<Vec<_>>()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Edits from one text to the other: insert, delete, replace, swap neighbours. Source: “optimal
/// string alignment”, a restricted Damerau–Levenshtein distance.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let replaced = above[j] + usize::from(l != r);
            let mut best = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_fingers_finds_the_name() {
        let known = ["size", "swap", "state", "encryption"];
        for (typed, meant) in [
            ("swpa", Some("swap")),
            ("encrypton", Some("encryption")),
            ("siez", Some("size")),
            ("password", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }
}
