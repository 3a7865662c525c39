//! The floor's secondary: reads a request, writes it, acknowledges it.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{FLUSH, Head, INPUT};
use crate::Result;

/// Serves `file`, one primary after the other.
pub fn run(file: &Path) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(file)?;
    let listener = super::listen()?;
    loop {
        let (primary, _) = listener.accept()?;
        // A primary that leaves is no reason to stop.
        if let Err(error) = serve(&primary, &file) {
            eprintln!("{error}");
        }
    }
}

fn serve(primary: &TcpStream, file: &File) -> Result<()> {
    primary.set_nodelay(true)?;
    let mut input = BufReader::with_capacity(INPUT, primary);
    let mut output = BufWriter::new(primary);
    let mut buffer = Vec::new();
    loop {
        let head = match Head::read(&mut input) {
            Ok(head) => head,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        buffer.resize(head.length as usize, 0);
        if head.command == FLUSH {
            file.sync_data()?;
        } else {
            input.read_exact(&mut buffer)?;
            file.write_all_at(&buffer, head.offset)?;
        }
        output.write_all(&head.number.to_le_bytes())?;
        // What came together is acknowledged together.
        if input.buffer().len() < Head::SIZE {
            output.flush()?;
        }
    }
}
