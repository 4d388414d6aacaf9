//! Dates and times as directory entries have them, in UTC.
//!
//! Source: the specification, section 6, “Date and Time Formats”.

use goni_model::time::Timestamp;

/// 1980-01-01T00:00:00Z.
const FIRST: i64 = 315_532_800;
/// 2107-12-31T23:59:58Z.
const LAST: i64 = 4_354_819_198;

/// A moment, to two seconds, and the hundredths beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Years from 1980, month, day.
    pub(super) date: u16,
    /// Hours, minutes, halves of seconds.
    pub(super) time: u16,
    /// 0 to 199.
    pub(super) hundredths: u8,
}

impl Moment {
    /// The moment itself, or the nearest that FAT can say.
    pub(super) fn of(time: Timestamp) -> Self {
        let inside = (FIRST..=LAST).contains(&time.seconds);
        let seconds = time.seconds.clamp(FIRST, LAST);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let field = |value: i64| u16::try_from(value).expect("a clamped field is small");
        let part = if inside { time.nanoseconds / 10_000_000 } else { 0 };
        let hundredths = u32::try_from(second % 2).expect("0 or 1") * 100 + part.min(99);
        Self {
            date: field((year - 1980) << 9 | month << 5 | day),
            time: field((second / 3600) << 11 | (second / 60 % 60) << 5 | (second % 60 / 2)),
            hundredths: u8::try_from(hundredths).expect("below 200"),
        }
    }
}

/// Year, month and day of a day counted from 1970-01-01, not before that.
///
/// Years are counted from March, so that the leap day is the last of its year.
const fn civil(days: i64) -> (i64, i64, i64) {
    // 719 468 days lie between 0000-03-01 and 1970-01-01; 146 097 days make 400 years.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = 400 * era + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_what_date_says_in_utc() {
        for (seconds, year, month, day, hour, minute, second) in [
            (0, 1980, 1, 1, 0, 0, 0),
            (951_782_400, 2000, 2, 29, 0, 0, 0),
            (1_780_000_001, 2026, 5, 28, 20, 26, 41),
            (i64::MAX, 2107, 12, 31, 23, 59, 58),
        ] {
            let moment = Moment::of(Timestamp::from_seconds(seconds));
            assert_eq!(moment.date, (year - 1980) << 9 | month << 5 | day, "{seconds}");
            assert_eq!(moment.time, hour << 11 | minute << 5 | (second / 2), "{seconds}");
            assert_eq!(u16::from(moment.hundredths), second % 2 * 100, "{seconds}");
        }
    }
}
