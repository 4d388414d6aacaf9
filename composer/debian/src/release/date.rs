//! Dates as Release files write them: `Sat, 12 Sep 2026 07:55:41 UTC`.
//!
//! Source: RFC 2822 §3.3, in the one form archives use; time zones other than UTC are refused.

use goni_model::time::{Timestamp, civil_from_days, days_from_civil};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970; `None` for text of another form. The day of the week is not compared.
pub(super) fn parse(text: &str) -> Option<i64> {
    let rest = text.split_once(',').map_or(text, |(_, rest)| rest);
    let mut words = rest.split_ascii_whitespace();
    let day = number(words.next()?, 1, 31)?;
    let month = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let year = number(words.next()?, 1970, 9999)?;
    let mut clock = words.next()?.split(':');
    let hour = number(clock.next()?, 0, 23)?;
    let minute = number(clock.next()?, 0, 59)?;
    let second = number(clock.next()?, 0, 60)?;
    if clock.next().is_some()
        || !matches!(words.next()?, "UTC" | "GMT" | "Z" | "+0000")
        || words.next().is_some()
    {
        return None;
    }
    let days = days_from_civil(year, month, day);
    (civil_from_days(days) == (year, month, day))
        .then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// A moment, in seconds since 1970, as ISO 8601 has it.
#[must_use]
pub fn display(seconds: i64) -> String {
    Timestamp::from_seconds(seconds).to_string()
}

fn number(text: &str, least: i64, most: i64) -> Option<i64> {
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { text.parse().ok()? } else { return None };
    (least..=most).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_shown() {
        for (text, iso) in [
            ("Sat, 12 Sep 2026 07:55:41 UTC", "2026-09-12T07:55:41Z"),
            ("Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00Z"),
            ("29 Feb 2024 23:59:59 +0000", "2024-02-29T23:59:59Z"),
            ("Fri, 31 Dec 9999 23:59:59 UTC", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(parse(text).map(display).as_deref(), Some(iso));
        }
        assert_eq!(parse("Sat, 12 Sep 2026 07:55:41 UTC"), Some(1_789_199_741));
        assert!(display(i64::MIN).ends_with('Z'));
    }

    #[test]
    fn other_text_is_no_date() {
        for text in [
            "",
            "yesterday",
            "29 Feb 2023 00:00:00 UTC",
            "1 Jan 2026 24:00:00 UTC",
            "1 Jan 2026 00:00:00 CET",
            "1 Jan 2026 00:00:00",
            "1 Jan 26 00:00:00 UTC",
            "-1 Jan 2026 00:00:00 UTC",
            "1 Jan 2026 00:00:00 UTC x",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
