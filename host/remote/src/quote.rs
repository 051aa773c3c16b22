//! SSH carries one command string, which the user's shell on the server takes apart: the one place that makes it.

/// What cannot be an argument of any command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// Arguments end at a zero byte.
    #[error("argument {0} of a command has a zero byte in it")]
    ZeroByte(usize),
    /// There is no program.
    #[error("a command without a program")]
    Empty,
}

/// The line by which a POSIX shell starts exactly this program with exactly these arguments.
///
/// Every word is quoted, also those that need not be: a quoted word is no reserved word, no alias, no assignment and no
/// option of the shell.
///
/// # Errors
///
/// [`QuoteError`].
pub fn shell_line<A: AsRef<[u8]>>(argv: &[A]) -> Result<Vec<u8>, QuoteError> {
    if argv.is_empty() {
        return Err(QuoteError::Empty);
    }
    let mut line = Vec::new();
    for (number, argument) in argv.iter().enumerate() {
        if number > 0 {
            line.push(b' ');
        }
        line.push(b'\'');
        for &byte in argument.as_ref() {
            match byte {
                0 => return Err(QuoteError::ZeroByte(number)),
                // Nothing is special between single quotes but they themselves: end, a quoted one, begin.
                b'\'' => line.extend_from_slice(b"'\\''"),
                _ => line.push(byte),
            }
        }
        line.push(b'\'');
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(argv: &[&str], expected: &str) {
        let line = shell_line(argv).expect("a line");
        assert_eq!(String::from_utf8_lossy(&line), expected);
    }

    #[test]
    fn every_word_is_quoted() {
        check(&["jecloud", "status"], "'jecloud' 'status'");
        check(&["if", ""], "'if' ''");
        check(&["a", "it's", "'"], r"'a' 'it'\''s' ''\'''");
        check(&["a", "$(b) `c` \\ \n *"], "'a' '$(b) `c` \\ \n *'");
    }

    #[test]
    fn what_cannot_be_an_argument_is_refused() {
        assert_eq!(shell_line(&["a", "b\0c"]), Err(QuoteError::ZeroByte(1)));
        assert_eq!(shell_line::<&str>(&[]), Err(QuoteError::Empty));
    }
}
