//! What was sealed comes out as it went in, or not at all.

use std::io::{self, Read, Write};

use jecloud_model::ids::Digest;
use jecloud_seal::{Key, OpenError, Opener, Sealer};
use proptest::prelude::*;

/// Of the format: what a chunk holds, what it is longer by, what comes before the first.
const CHUNK: usize = 65_536;
const TAG: usize = 16;
const HEADER: usize = 41;

fn key(byte: u8) -> Key {
    format!("{byte:02x}").repeat(32).parse().expect("a key")
}

fn sealed(key: &Key, content: &[u8]) -> Vec<u8> {
    let mut sealer = Sealer::new(key, Vec::new()).expect("a header");
    sealer.write_all(content).expect("memory");
    let (file, totals) = sealer.finish().expect("memory");
    assert_eq!(totals.bytes, content.len() as u64);
    assert_eq!(totals.sealed_bytes, file.len() as u64);
    assert_eq!(totals.sha256, Digest::of(&file));
    file
}

/// What comes out, and the error that it ends with.
fn opened(key: &Key, file: &[u8]) -> (Vec<u8>, Option<io::Error>) {
    let mut out = Vec::new();
    let error = match Opener::new(key, file) {
        Ok(mut opener) => opener.read_to_end(&mut out).err(),
        Err(error) => Some(error),
    };
    (out, error)
}

/// The reason in an error of a file that was not opened.
fn reason(error: &io::Error) -> OpenError {
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    *error.get_ref().expect("a reason").downcast_ref().expect("an OpenError")
}

/// Whatever came out before the error is a beginning of what went in, in whole chunks.
fn check_refused(key: &Key, file: &[u8], content: &[u8]) -> OpenError {
    let (out, error) = opened(key, file);
    assert!(content.starts_with(&out) && out.len() % CHUNK == 0, "{} bytes came out", out.len());
    reason(&error.expect("an error"))
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn lengths_around_the_borders_of_chunks() {
    for length in [0, 1, 15, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 3 * CHUNK + 7] {
        let content = content(length);
        let file = sealed(&key(1), &content);
        let chunks = length.div_ceil(CHUNK).max(1);
        assert_eq!(file.len(), HEADER + length + chunks * TAG);
        let (out, error) = opened(&key(1), &file);
        assert!(error.is_none() && out == content, "{length}: {error:?}");
    }
}

/// Fails without the salt in the derivation of a file's key: nobody would notice that it was changed.
#[test]
fn every_flipped_bit_is_found() {
    let content = content(300);
    let file = sealed(&key(1), &content);
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (out, error) = opened(&key(1), &flipped);
        assert!(out.is_empty(), "bit {bit}: {} bytes came out", out.len());
        reason(&error.unwrap_or_else(|| panic!("bit {bit} was not found")));
    }
}

/// Fails without the mark of the last chunk in its nonce: what is cut at the end of a chunk would be a whole file.
#[test]
fn every_cut_is_found() {
    let short = sealed(&key(1), &content(100));
    for length in 0..short.len() {
        check_refused(&key(1), &short[..length], &content(100));
    }
    let content = content(3 * CHUNK);
    let long = sealed(&key(1), &content);
    for chunks in 0..3 {
        for around in [-1_isize, 0, 1] {
            let length = (HEADER + chunks * (CHUNK + TAG)).checked_add_signed(around).expect("a length");
            let why = check_refused(&key(1), &long[..length], &content);
            if chunks > 0 && around == 0 {
                assert_eq!(why, OpenError::Damaged { after: ((chunks - 1) * CHUNK) as u64 });
            }
        }
    }
}

/// Fails without the number of a chunk in its nonce.
#[test]
fn chunks_stay_where_they_were() {
    let content = content(4 * CHUNK);
    let file = sealed(&key(1), &content);
    let (header, body) = file.split_at(HEADER);
    let chunks: Vec<&[u8]> = body.chunks(CHUNK + TAG).collect();
    let of = |order: &[usize]| [header.to_vec(), order.iter().flat_map(|&at| chunks[at].to_vec()).collect()].concat();
    assert!(opened(&key(1), &of(&[0, 1, 2, 3])).1.is_none());
    for order in
        [&[1, 0, 2, 3][..], &[0, 2, 1, 3], &[0, 0, 1, 2, 3], &[0, 2, 3], &[0, 1, 2, 3, 3], &[3], &[0, 1, 2, 3, 0]]
    {
        check_refused(&key(1), &of(order), &content);
    }
}

#[test]
fn what_follows_the_end_is_found() {
    for length in [0, 10, CHUNK] {
        let content = content(length);
        for more in [&b"\0"[..], &[0; TAG], &[0; CHUNK + TAG]] {
            check_refused(&key(1), &[&sealed(&key(1), &content), more].concat(), &content);
        }
    }
}

#[test]
fn chunks_of_two_files_are_not_mixed() {
    let content = content(2 * CHUNK);
    let (one, other) = (sealed(&key(1), &content), sealed(&key(1), &content));
    assert_ne!(one[HEADER..], other[HEADER..], "two files with the same key");
    let second = HEADER + CHUNK + TAG;
    check_refused(&key(1), &[&one[..second], &other[second..]].concat(), &content);
}

#[test]
fn another_key_opens_nothing() {
    let file = sealed(&key(1), &content(100));
    assert_eq!(check_refused(&key(2), &file, &content(100)), OpenError::Damaged { after: 0 });
}

#[test]
fn what_is_no_sealed_file_says_so() {
    assert_eq!(check_refused(&key(1), b"", b""), OpenError::NotSealed);
    assert_eq!(check_refused(&key(1), b"REDIS0010", b""), OpenError::NotSealed);
    assert_eq!(check_refused(&key(1), b"JeCloud\0\x02", b""), OpenError::UnknownFormat(2));
    assert_eq!(check_refused(&key(1), b"JeCloud\0\x01abc", b""), OpenError::NoHeader(HEADER));
}

/// After an error there is never an end: who reads on must not take what came before it for the whole.
#[test]
fn an_error_stays() {
    let mut file = sealed(&key(1), &content(2 * CHUNK));
    let last = file.len() - 1;
    file[last] ^= 1;
    let mut opener = Opener::new(&key(1), &file[..]).expect("a header");
    let mut out = Vec::new();
    for _ in 0..3 {
        reason(&opener.read_to_end(&mut out).expect_err("an error"));
    }
    assert_eq!(out, content(CHUNK));
}

/// Gives and takes as little as it likes, and is interrupted.
struct Slow<T>(T, Vec<usize>, usize);

impl<T> Slow<T> {
    fn next(&mut self) -> io::Result<usize> {
        self.2 += 1;
        match self.1[self.2 % self.1.len()] {
            0 => Err(io::ErrorKind::Interrupted.into()),
            most => Ok(most),
        }
    }
}

impl<T: Read> Read for Slow<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.next()?.min(buffer.len());
        self.0.read(&mut buffer[..most])
    }
}

impl<T: Write> Write for Slow<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let most = self.next()?.min(buffer.len());
        self.0.write(&buffer[..most])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However it is cut into writes and reads.
    #[test]
    fn everything_comes_out_as_it_went_in(
        length in 0..3 * CHUNK,
        pieces in prop::collection::vec(1..2 * CHUNK, 1..8),
        mut most in prop::collection::vec(prop_oneof![Just(0), 1000..2 * CHUNK], 1..6),
    ) {
        most.push(5000);
        let content = content(length);
        let mut sealer = Sealer::new(&key(3), Slow(Vec::new(), most.clone(), 0)).unwrap();
        let mut rest = &content[..];
        for piece in pieces.iter().cycle() {
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            sealer.write_all(now).unwrap();
            sealer.flush().unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let (Slow(file, ..), totals) = sealer.finish().unwrap();
        prop_assert_eq!(totals.bytes, length as u64);
        prop_assert_eq!(totals.sha256, Digest::of(&file));
        let mut out = Vec::new();
        Opener::new(&key(3), Slow(&file[..], most, 0)).unwrap().read_to_end(&mut out).unwrap();
        prop_assert!(out == content);
    }

    /// Whatever is done to a file.
    #[test]
    fn nothing_else_comes_out(
        length in 0..3 * CHUNK,
        at in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        what in 0..4,
        byte in 1..=255_u8,
    ) {
        let content = content(length);
        let whole = sealed(&key(3), &content);
        let mut file = whole.clone();
        let (at, to) = (at.index(file.len()), to.index(file.len()));
        match what {
            0 => file[at] ^= byte,
            1 => file.truncate(at),
            2 => file.insert(at, byte),
            _ => drop(file.drain(at.min(to)..at.max(to))),
        }
        if file != whole {
            check_refused(&key(3), &file, &content);
        }
    }
}
