//! The one table that the task prints.

use std::fmt;

/// One measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// What was measured.
    pub(super) measure: String,
    /// What we need, with its unit.
    pub(super) ours: String,
    /// What the peer needs, and who that is.
    pub(super) peer: String,
    /// Ours to theirs, and which way round.
    pub(super) ratio: String,
    /// What is wanted.
    pub(super) goal: String,
    /// Whether it was met; none where there is no goal.
    pub(super) met: Option<bool>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds rows at the end.
    pub(super) fn add(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<[&str; 6]> = vec![["measure", "ours", "peer", "ratio", "goal", "met?"]];
        lines.extend(self.rows.iter().map(|row| {
            let met = row.met.map_or("", |met| if met { "yes" } else { "NO" });
            [&row.measure, &row.ours, &row.peer, &row.ratio, &row.goal, met].map(|cell| cell)
        }));
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let widths: [usize; 6] = std::array::from_fn(width);
        for (index, line) in lines.iter().enumerate() {
            let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(f, "| {} |", cells.collect::<Vec<_>>().join(" | "))?;
            if index == 0 {
                writeln!(f, "|-{}-|", widths.map(|width| "-".repeat(width)).join("-|-"))?;
            }
        }
        Ok(())
    }
}

/// Seconds in the unit that suits them.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        1.0.. => format!("{seconds:.2} s"),
        0.001.. => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{:.0} µs", seconds * 1e6),
    }
}

/// Bytes in MB, of which a goal speaks: 10⁶ bytes.
pub(super) fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let row = |measure: &str, met| Row {
            measure: measure.to_owned(),
            ours: "1.50 ms".to_owned(),
            peer: "3 µs, bash".to_owned(),
            ratio: "2.0 ×".to_owned(),
            goal: String::new(),
            met,
        };
        let mut table = Table::default();
        table.add(vec![row("a", Some(true)), row("a longer one", Some(false)), row("b", None)]);
        let expected = "\
| measure      | ours    | peer       | ratio | goal | met? |
|--------------|---------|------------|-------|------|------|
| a            | 1.50 ms | 3 µs, bash | 2.0 × |      | yes  |
| a longer one | 1.50 ms | 3 µs, bash | 2.0 × |      | NO   |
| b            | 1.50 ms | 3 µs, bash | 2.0 × |      |      |
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn units_suit_the_numbers() {
        assert_eq!([time(1.234), time(0.0567), time(0.000_042)], ["1.23 s", "56.7 ms", "42 µs"]);
        assert_eq!(megabytes(25_400_000.0), "25.4 MB");
    }
}
