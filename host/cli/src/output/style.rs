//! How things are written.

use std::time::Duration;

use anstyle::{AnsiColor, Style};

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Stands out.
pub(crate) fn bold(text: &str) -> String {
    styled(Style::new().bold(), text)
}

/// Stands back.
pub(crate) fn dim(text: &str) -> String {
    styled(Style::new().dimmed(), text)
}

/// All is well.
pub(crate) fn green(text: &str) -> String {
    styled(Style::new().fg_color(Some(AnsiColor::Green.into())), text)
}

/// Something failed.
pub(crate) fn red(text: &str) -> String {
    styled(Style::new().fg_color(Some(AnsiColor::Red.into())), text)
}

/// Worth a look.
pub(crate) fn yellow(text: &str) -> String {
    styled(Style::new().fg_color(Some(AnsiColor::Yellow.into())), text)
}

/// `0.4 s`, `12 s`, `3 min 20 s`, `5 h`, `3 d`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=9 => format!("{:.1} s", duration.as_secs_f64()),
        10..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// `0 bytes`, `812 bytes`, `1.2 kB`, `30 MB`: thousands, as storage is sold.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return plural(bytes, "byte", "bytes");
    }
    let mut tenths = bytes / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    if tenths < 100 {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    } else {
        format!("{} {}", tenths / 10, UNITS[unit])
    }
}

/// `1 file`, `2 files`.
pub(crate) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |milliseconds: u64, text: &str| assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        check(0, "0.0 s");
        check(1240, "1.2 s");
        check(59_900, "59 s");
        check(200_000, "3 min 20 s");
        check(5 * 3_600_000 + 61_000, "5 h 1 min");
        check(3 * 86_400_000, "3 d 0 h");
    }

    #[test]
    fn sizes() {
        let check = |bytes: u64, text: &str| assert_eq!(size(bytes), text);
        check(0, "0 bytes");
        check(1, "1 byte");
        check(999, "999 bytes");
        check(1240, "1.2 kB");
        check(30_000, "30 kB");
        check(999_999, "999 kB");
        check(1_000_000, "1.0 MB");
        check(34_000_000, "34 MB");
        check(7_100_000_000, "7.1 GB");
        check(u64::MAX, "18446744 TB");
    }
}
