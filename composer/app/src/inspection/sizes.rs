//! Sizes as people read them.

/// Units, largest first, with the shift that makes them of bytes.
const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// A size with one digit behind the point: `1.5 MiB`.
pub(crate) fn shown(bytes: u64) -> String {
    for (unit, shift) in UNITS {
        let tenths = u128::from(bytes) * 10 + (1 << (shift - 1));
        let tenths = tenths >> shift;
        if tenths >= 10 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// By how much a size changed: `+1.5 MiB`.
pub(crate) fn change(before: u64, after: u64) -> String {
    match after.cmp(&before) {
        std::cmp::Ordering::Less => format!("-{}", shown(before - after)),
        std::cmp::Ordering::Equal => "=".to_owned(),
        std::cmp::Ordering::Greater => format!("+{}", shown(after - before)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_digit_behind_the_point() {
        for (bytes, text) in [
            (0, "0 B"),
            (972, "972 B"),
            (973, "1.0 KiB"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            (3_232_759_808, "3.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(shown(bytes), text, "{bytes}");
        }
        assert_eq!(
            (change(1024, 0), change(7, 7), change(0, 7)),
            ("-1.0 KiB".into(), "=".into(), "+7 B".into())
        );
    }
}
