//! Whether a file of ONNX is whole: a message of Protocol Buffers, whose fields say how long they are.

use std::fs::File;
use std::io::{BufReader, Error, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// Fails if a field of the model ends behind the file, or if the file has something else in it.
pub(super) fn check_whole(path: &Path) -> Result<(), Error> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    check(BufReader::new(file), size)
}

fn check(mut reader: impl Read + Seek, size: u64) -> Result<(), Error> {
    let mut at = 0;
    while at < size {
        let tag = number(&mut reader)?;
        let begin = reader.stream_position()?;
        let end = match tag & 7 {
            0 => {
                number(&mut reader)?;
                reader.stream_position()?
            }
            1 => begin + 8,
            5 => begin + 4,
            2 => {
                let length = number(&mut reader)?;
                reader.stream_position()?.saturating_add(length)
            }
            _ => {
                return Err(wrong(format!(
                    "expected a field of an ONNX model at byte {at}, found none"
                )));
            }
        };
        if end > size {
            return Err(wrong(format!(
                "the file is cut: it has {size} bytes, and a part of the model that begins at byte {at} ends at byte {end}"
            )));
        }
        at = reader.seek(SeekFrom::Start(end))?;
    }
    Ok(())
}

/// A number, of as many bytes as it takes.
fn number(reader: &mut impl Read) -> Result<u64, Error> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        reader
            .read_exact(&mut byte)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => {
                    wrong("the file is cut: it ends in a number".to_string())
                }
                _ => error,
            })?;
        number |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            return Ok(number);
        }
    }
    Err(wrong(
        "expected a number of at most 10 bytes, found a longer one".to_string(),
    ))
}

fn wrong(reason: String) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use llm_wasi_host::testing::{TinyOnnx, onnx_type};
    use std::io::Cursor;

    #[test]
    fn a_file_that_is_cut_anywhere_is_not_whole() {
        let model = TinyOnnx::new()
            .input("x", onnx_type::F32, &[-1])
            .node("Add", &["x", "x"], &["y"])
            .output("y", onnx_type::F32, &[-1])
            .to_bytes();
        let check = |bytes: &[u8]| check(Cursor::new(bytes), bytes.len() as u64);
        check(&model).unwrap();
        // Without fields at its end it is a message as well: libraries say what is missing.
        let whole: Vec<_> = (0..model.len())
            .filter(|end| check(&model[..*end]).is_ok())
            .collect();
        assert!(whole.len() <= 5, "{whole:?}");
        let in_number = check(&[0x08, 0x80]).unwrap_err().to_string();
        assert!(in_number.contains("ends in a number"), "{in_number}");
        let mut other = model.clone();
        other.extend([0x0b, 1]);
        assert!(
            check(&other)
                .unwrap_err()
                .to_string()
                .contains("found none")
        );
        assert!(check(&[0xff; 20]).is_err());
    }
}
