//! Files for a server: resumable, verified, and under their final name only when they are whole.
//!
//! Two commands of a shell and coreutils do it, the second of which reads the file. Bytes are written where they belong
//! rather than appended: what an earlier, lost connection still has in its pipes is written over by the same bytes, so
//! that it does not matter whether it has ended.

use std::io::{Read, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use jecloud_disk::durable;
use jecloud_model::ids::Digest;
use sha2::{Digest as _, Sha256};

use crate::drive::{Ended, Finished};
use crate::error::RemoteError;
use crate::session::Session;

/// How long the server may take to hash what it has.
const LOOK: Duration = Duration::from_secs(600);

/// For how long nothing need move: a slow disk is synced, a large file is hashed.
const STALL: Duration = Duration::from_secs(300);

/// What reading a file at a time asks for.
const READ: usize = 256 << 10;

/// Says what there is: `whole`, `part BYTES SHA256` or `nothing`. $1 is the path, $2 its SHA-256.
const LOOK_SCRIPT: &str = r#"
set -u
umask 077
sum() { head -c "$2" -- "$1" | sha256sum | head -c 64; }
size() { stat -c %s -- "$1"; }
mkdir -p -- "$(dirname -- "$1")" || exit 1
if [ -f "$1" ] && [ "$(sum "$1" "$(size "$1")")" = "$2" ]; then echo whole; exit; fi
if [ -f "$1.part" ]; then
    bytes=$(size "$1.part") || exit 1
    echo "part $bytes $(sum "$1.part" "$bytes")"
else
    echo nothing
fi
"#;

/// Takes what comes from byte $4 on, and gives the file its name if it is what it should be. $1 is the path, $2 its
/// SHA-256, $3 its mode, $5 its length. Where $6 is `tidy`, files beside it that are a day old are removed: the server has
/// taken them, or nobody will ask it to. That one of them cannot be removed is no reason to fail.
const TAKE_SCRIPT: &str = r#"
set -u
umask 077
part=$1.part
if [ "$4" = 0 ]; then : > "$part" || exit 1; fi
dd of="$part" bs=65536 iflag=fullblock oflag=seek_bytes seek="$4" conv=notrunc status=none || exit 1
bytes=$(stat -c %s -- "$part") || exit 1
if [ "$bytes" -lt "$5" ]; then exit 3; fi
if [ "$bytes" != "$5" ] || [ "$(sha256sum < "$part" | head -c 64)" != "$2" ]; then rm -f -- "$part"; exit 4; fi
chmod "$3" -- "$part" && sync -- "$part" && mv -fT -- "$part" "$1" && sync -- "$(dirname -- "$1")" || exit 1
if [ "$6" = tidy ]; then find "$(dirname -- "$1")" -type f -mtime +0 -delete 2>/dev/null || :; fi
"#;

/// Not all of it has come.
const SHORT: Ended = Ended::Exit(3);

/// All of it has come, and is something else.
const WRONG: Ended = Ended::Exit(4);

/// A file for a server.
#[derive(Debug, Clone, Copy)]
pub struct Upload<'a> {
    /// The file here.
    pub file: &'a Path,
    /// Its SHA-256.
    pub sha256: &'a Digest,
    /// Its path on the server, absolute. Directories on the way are made, for their owner only.
    pub to: &'a str,
    /// Its mode there.
    pub mode: u32,
    /// What stands before every command: `sudo -n --`, or nothing.
    pub before: &'a [&'a str],
    /// Whether files beside it that are a day old are removed.
    pub tidy: bool,
}

/// What became of an upload. In both cases the file is there, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// It was there.
    WasThere,
    /// It was sent.
    Sent {
        /// From this byte on; what came before it was there from an earlier attempt.
        from: u64,
    },
}

impl Session {
    /// Puts a file onto the server, in constant memory. One that is there stays; what an earlier attempt has put there
    /// is used if it is right. `progress` is told how many bytes are done.
    ///
    /// # Errors
    ///
    /// [`RemoteError`]; then the final name has what it had before, and the next attempt continues. Only if the file
    /// arrived as something else than it should, the next begins from the start.
    pub fn upload(&self, upload: &Upload<'_>, progress: &mut dyn FnMut(u64)) -> Result<Uploaded, RemoteError> {
        let disk = |source| RemoteError::Disk { target: self.target(), source };
        let local = |source: std::io::Error| RemoteError::Local {
            doing: format!("read {}", upload.file.display()),
            source: source.into(),
        };
        let missing = || local(std::io::ErrorKind::NotFound.into());
        let mut file = durable::open(upload.file).map_err(disk)?.ok_or_else(missing)?;
        let bytes = file.metadata().map_err(local)?.len();
        let from = match self.look(upload)? {
            There::Whole => {
                progress(bytes);
                return Ok(Uploaded::WasThere);
            }
            There::Nothing => 0,
            There::Part { bytes: there, .. } if there > bytes => 0,
            There::Part { bytes: there, sha256 } => {
                if sha256_of(&mut (&mut file).take(there)).map_err(local)?.as_str() == sha256 { there } else { 0 }
            }
        };
        file.seek(SeekFrom::Start(from)).map_err(local)?;
        progress(from);
        let doing = format!("take {}", upload.to);
        let tidy = if upload.tidy { "tidy" } else { "" };
        let (mode, start, length) = (format!("{:o}", upload.mode), from.to_string(), bytes.to_string());
        let argv = script(upload, TAKE_SCRIPT, &[upload.to, upload.sha256.as_str(), &mode, &start, &length, tidy]);
        let mut input = (&mut file).take(bytes - from);
        let taken = self.pour(&doing, &argv, &mut input, &mut |sent| progress(from + sent), STALL)?;
        let failed = |said: &str, hint: &str| RemoteError::Failed {
            target: self.target(),
            doing: doing.clone(),
            said: said.to_owned(),
            hint: hint.to_owned(),
        };
        match taken.ended {
            Ended::Exit(0) => Ok(Uploaded::Sent { from }),
            SHORT => Err(failed("not all of it arrived", "Try again: what has arrived is used.")),
            WRONG => {
                Err(failed("what arrived is something else than was sent", "Try again: it begins from the start."))
            }
            _ => Err(self.refused(&doing, &taken)),
        }
    }

    fn look(&self, upload: &Upload<'_>) -> Result<There, RemoteError> {
        let doing = format!("look for {}", upload.to);
        let looked = self.exec(&script(upload, LOOK_SCRIPT, &[upload.to, upload.sha256.as_str()]), b"", LOOK)?;
        if !looked.is_success() {
            return Err(self.refused(&doing, &looked));
        }
        let text = String::from_utf8_lossy(&looked.stdout);
        // What a login script writes may come before it.
        let words: Vec<&str> = text.lines().last().unwrap_or_default().split_whitespace().collect();
        match words.as_slice() {
            ["whole"] => Ok(There::Whole),
            ["nothing"] => Ok(There::Nothing),
            ["part", bytes, sha256] if bytes.parse::<u64>().is_ok() => {
                Ok(There::Part { bytes: bytes.parse().unwrap_or_default(), sha256: (*sha256).to_owned() })
            }
            _ => Err(self.refused(&doing, &looked)),
        }
    }

    /// The error for a command that failed.
    pub(crate) fn refused(&self, doing: &str, finished: &Finished) -> RemoteError {
        let said = finished.said();
        let hint = if said.contains("No space left") {
            "The disk of the server is full: make room there and try again."
        } else if said.starts_with("sudo:") {
            "Let the user run everything without a password (`NOPASSWD: ALL` in /etc/sudoers.d), or log in as root."
        } else {
            ""
        };
        RemoteError::Failed { target: self.target(), doing: doing.to_owned(), said, hint: hint.to_owned() }
    }
}

/// What there is of a file on the server.
enum There {
    Whole,
    Part { bytes: u64, sha256: String },
    Nothing,
}

fn script<'a>(upload: &Upload<'a>, text: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    [upload.before, &["sh", "-c", text, "sh"], arguments].concat()
}

/// The SHA-256 of everything that is read.
pub(crate) fn sha256_of(from: &mut dyn Read) -> std::io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; READ];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Digest::from_sha256(hash.finalize().into()))
}
