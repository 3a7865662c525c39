//! The floor of synchronisation: reads a file in pieces of 1 MiB, sends them with a bounded number
//! of bytes unacknowledged, and flushes both files at the end, as hastd does before it says `complete`.
//! The other end is [`super::secondary`].

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use super::{FLUSH, Head, Listening, WRITE, ourselves};
use crate::Result;
use crate::process::output_of;

/// The longest request on HAST's wire.
const PIECE: u64 = 1 << 20;

/// Copies the first `bytes` of `file` to the secondary at `peer`; prints the nanoseconds it took.
pub fn run(peer: &str, file: &Path, bytes: u64, window: u64) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(file)?;
    let peer = TcpStream::connect(peer)?;
    peer.set_nodelay(true)?;
    let begun = Instant::now();
    // The channel's room is the window: a piece takes a place, its acknowledgement gives it back.
    let (take, give_back) = sync_channel::<()>((window / PIECE).max(1) as usize);
    std::thread::scope(|scope| -> Result<()> {
        let input = &peer;
        let acknowledgements = scope.spawn(move || -> std::io::Result<()> {
            let mut input = BufReader::new(input);
            let mut number = [0; 8];
            for () in &give_back {
                input.read_exact(&mut number)?;
            }
            Ok(())
        });
        send(&file, &peer, bytes, || Ok(take.send(())?))?;
        drop(take);
        file.sync_data()?;
        let ended = acknowledgements.join();
        Ok(ended.map_err(|_| "the reading thread panicked")??)
    })?;
    println!("{}", begun.elapsed().as_nanos());
    Ok(())
}

fn send(
    file: &File,
    mut peer: &TcpStream,
    bytes: u64,
    mut take: impl FnMut() -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; PIECE as usize];
    let mut number = 0;
    for offset in (0..bytes).step_by(PIECE as usize) {
        let piece = &mut buffer[..PIECE.min(bytes - offset) as usize];
        file.read_exact_at(piece, offset)?;
        let head = Head {
            command: WRITE,
            length: piece.len() as u32,
            number,
            offset,
        };
        number += 1;
        take()?;
        peer.write_all(&head.encode())?;
        peer.write_all(piece)?;
    }
    let flush = Head {
        command: FLUSH,
        length: 0,
        number,
        offset: 0,
    };
    take()?;
    Ok(peer.write_all(&flush.encode())?)
}

/// Runs [`run`] in a process of its own. `prefix` is put before its command line; the peer is
/// reached at `address` (which may lead through something that delays).
pub fn measure(
    prefix: &[String],
    address: &str,
    file: &Path,
    bytes: u64,
    window: u64,
) -> Result<Duration> {
    let mut command = ourselves(prefix, &["floor-copy", address])?;
    command
        .arg(file)
        .arg(bytes.to_string())
        .arg(window.to_string());
    let output = output_of(&mut command)?;
    Ok(Duration::from_nanos(output.trim().parse()?))
}

/// The end that is written to.
pub fn target(prefix: &[String], file: &Path) -> Result<Listening> {
    Listening::start(prefix, &["floor-secondary"], file)
}
