//! A tree to pack: as large and as mixed as the sources of a large app, and the same every time.

#![expect(clippy::disallowed_methods, reason = "a development task writes a tree into its scratch directory")]

use std::path::Path;

use anyhow::{Context as _, Result};

/// Files in the tree.
pub(super) const FILES: usize = 10_000;
/// Bytes in a file: 100 MB in all.
const FILE_BYTES: usize = 10_000;
/// Of so many files one is as incompressible as an image; all others are like source text.
const INCOMPRESSIBLE_EVERY: usize = 10;
/// Files in a directory.
const DIRECTORY_FILES: usize = 100;

/// Words of source text. How often each comes follows from [`text`]: a few often, most seldom.
const WORDS: [&str; 48] = [
    "const",
    "return",
    "function",
    "=>",
    "=",
    "(",
    ")",
    "{",
    "}",
    ";",
    "await",
    "if",
    "else",
    "this",
    "request",
    "response",
    "import",
    "from",
    "export",
    "default",
    "new",
    "for",
    "of",
    "let",
    "value",
    "index",
    "length",
    "Error",
    "throw",
    "async",
    "class",
    "extends",
    "null",
    "undefined",
    "true",
    "false",
    "options",
    "path",
    "name",
    "result",
    "module",
    "require",
    "Promise",
    "then",
    "catch",
    "config",
    "user",
    "session",
];

/// Writes the tree into an empty directory and returns the bytes in all files.
///
/// # Errors
///
/// Where it cannot be written.
pub(super) fn write(directory: &Path) -> Result<u64> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for number in 0..FILES {
        let parent = directory.join(format!("part-{:03}", number / DIRECTORY_FILES));
        let is_text = number % INCOMPRESSIBLE_EVERY != 0;
        let (name, content) = match is_text {
            true => (format!("module-{number:05}.js"), text(&mut random)),
            false => (format!("image-{number:05}.bin"), noise(&mut random)),
        };
        let path = parent.join(name);
        std::fs::create_dir_all(&parent)
            .and_then(|()| std::fs::write(&path, content))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok((FILES * FILE_BYTES) as u64)
}

/// Random numbers by xorshift64* (Vigna 2016): good enough to be incompressible, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below a bound that is small.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }
}

fn noise(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FILE_BYTES + 8);
    while bytes.len() < FILE_BYTES {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(FILE_BYTES);
    bytes
}

/// Lines of words and of names that come once or a few times, as in sources; bzip2 makes a quarter of it.
fn text(random: &mut Random) -> Vec<u8> {
    let mut text = String::with_capacity(FILE_BYTES + 128);
    while text.len() < FILE_BYTES {
        text.push_str(&" ".repeat(4 * random.below(4)));
        for _ in 0..3 + random.below(8) {
            // The product of two makes the first ones frequent.
            let word = random.below(WORDS.len()) * random.below(WORDS.len()) / WORDS.len();
            match random.below(6) {
                0 => text.push_str(&format!("{}{:x}", WORDS[word], random.below(4096))),
                _ => text.push_str(WORDS[word]),
            }
            text.push(' ');
        }
        text.push('\n');
    }
    let mut bytes = text.into_bytes();
    bytes.truncate(FILE_BYTES);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_full_and_the_same_every_time() {
        for make in [text, noise] {
            let (mut first, mut second) = (Random(7), Random(7));
            let file = make(&mut first);
            assert_eq!(file.len(), FILE_BYTES);
            assert_eq!(file, make(&mut second));
            assert_ne!(file, make(&mut second), "one file is as the next");
        }
    }
}
