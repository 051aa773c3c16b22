//! From several runs to one number.

use std::time::Duration;

/// The middle one; of an even count the mean of the two in the middle. Of nothing, not a number.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// The median of durations, in seconds.
pub(super) fn median_seconds(values: &[Duration]) -> f64 {
    median(values.iter().map(Duration::as_secs_f64))
}

/// The median of the ratios of what was measured in the same round: what slows a round down slows both.
pub(super) fn median_ratio<T: Copy>(ours: &[T], peer: &[T], as_number: impl Fn(T) -> f64) -> f64 {
    median(ours.iter().zip(peer).map(|(&ours, &peer)| as_number(ours) / as_number(peer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median([]).is_nan());
        assert!((median_seconds(&[Duration::from_millis(250)]) - 0.25).abs() < 1e-9);
        // Fails where the ratio of the medians is taken: that would be 1.
        assert!((median_ratio(&[1.0, 2.0, 9.0], &[2.0, 1.0, 3.0], |x| x) - 2.0).abs() < 1e-9);
    }
}
