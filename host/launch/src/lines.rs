//! Bytes into lines.

/// A line longer than this is cut into pieces of this many bytes, so that a program that writes no line ends needs
/// no unbounded memory.
pub const LONGEST_LINE: usize = 64 * 1024;

/// Collects bytes and gives out lines: without their ends (`\n` or `\r\n`), invalid UTF-8 replaced.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes more bytes and gives out the lines that are complete now.
    pub fn feed(&mut self, mut bytes: &[u8], on_line: &mut dyn FnMut(&str)) {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let room = LONGEST_LINE - self.partial.len();
            let taken = end.unwrap_or(bytes.len());
            if taken > room {
                // Cut where a character ends, if one does nearby.
                self.partial.extend_from_slice(&bytes[..room]);
                bytes = &bytes[room..];
                let cut = last_boundary(&self.partial);
                let rest = self.partial.split_off(cut);
                on_line(&String::from_utf8_lossy(&self.partial));
                self.partial = rest;
            } else {
                self.partial.extend_from_slice(&bytes[..taken]);
                bytes = &bytes[taken..];
                if end.is_some() {
                    bytes = &bytes[1..];
                    self.flush_always(on_line);
                }
            }
        }
    }

    /// Gives out what has come in since the last line end, if anything has.
    pub fn flush(&mut self, on_line: &mut dyn FnMut(&str)) {
        if !self.partial.is_empty() {
            self.flush_always(on_line);
        }
    }

    fn flush_always(&mut self, on_line: &mut dyn FnMut(&str)) {
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        on_line(&String::from_utf8_lossy(line));
        self.partial.clear();
        // One long line must not cost its memory for ever: the process manager has one of these per process.
        self.partial.shrink_to(4096);
    }
}

/// Where the last complete character of `bytes` ends; all of them when there is no telling.
fn last_boundary(bytes: &[u8]) -> usize {
    // A character has at most four bytes, so an incomplete one begins within the last three.
    for back in 1..=3.min(bytes.len()) {
        let first = bytes[bytes.len() - back];
        let length = match first {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            0x80..=0xbf => continue,
            _ => 1,
        };
        return if length > back { bytes.len() - back } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut collected = Vec::new();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.feed(chunk, &mut |line| collected.push(line.to_owned()));
        }
        lines.flush(&mut |line| collected.push(line.to_owned()));
        collected
    }

    #[test]
    fn lines_are_put_together() {
        assert_eq!(lines(&[b"a", b"b\nc\r\n\nd"]), ["ab", "c", "", "d"]);
        assert_eq!(lines(&[b"a\n"]), ["a"]);
        assert_eq!(lines(&[]), [""; 0]);
        assert_eq!(lines(&["ä".as_bytes().get(..1).unwrap(), "ä\n".as_bytes().get(1..).unwrap()]), ["ä"]);
        assert_eq!(lines(&[b"\xff\n"]), ["\u{fffd}"]);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        // Fails without `last_boundary`: the character that lies across the cut becomes two replacement characters.
        let text = format!("x{}", "ä".repeat(LONGEST_LINE));
        let pieces = lines(&[text.as_bytes()]);
        assert!(pieces.len() >= 2);
        assert!(pieces.iter().all(|piece| piece.len() <= LONGEST_LINE));
        assert_eq!(pieces.concat(), text);
    }
}
