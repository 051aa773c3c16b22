//! Packs a directory as a deployment does: `pack DIRECTORY ARCHIVE`. For measuring and for looking at archives.

use std::path::Path;
use std::time::Instant;

use jecloud_disk::DiskError;
use jecloud_disk::durable::replace_with;
use jecloud_disk::source::{Packed, SourceTree};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [directory, archive] = arguments.as_slice() else { return Err("usage: pack DIRECTORY ARCHIVE".into()) };
    let start = Instant::now();
    let tree = SourceTree::scan(Path::new(directory))?;
    let scanned = start.elapsed();
    let packed: Packed =
        replace_with(Path::new(archive), 0o644, |out| -> Result<_, DiskError> { tree.pack(out, &mut |_, _| {}) })?;
    let Packed { version, entries, bytes, packed_bytes } = packed;
    println!("{version}: {entries} entries, {bytes} bytes, {packed_bytes} packed");
    println!("scanned in {scanned:.2?}, packed in {:.2?}", start.elapsed() - scanned);
    Ok(())
}
