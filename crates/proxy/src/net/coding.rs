//! Content codings: gzip, deflate, br and zstd, decoded chunk by chunk, with a limit against bombs.

use std::io::{self, Write};

use zstd::stream::raw::{InBuffer, Operation as _, OutBuffer};

/// Output that a small input may always produce, bytes: the ratio is judged only above it.
const RATIO_FREE: usize = 1 << 20;
/// Largest ratio of output to input (reliability.md section 4).
const MAX_RATIO: usize = 100;
/// How many codings may be stacked in one `content-encoding`.
const MAX_LAYERS: usize = 2;

/// Why a body could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodingError {
    /// A coding that we do not know, or too many of them.
    Unsupported,
    /// The data is damaged or cut.
    Corrupt,
    /// More than the limit came out.
    TooLarge,
}

enum Layer {
    Gzip(flate2::write::MultiGzDecoder<Vec<u8>>),
    Deflate(Deflate),
    Brotli(Box<brotli::DecompressorWriter<Vec<u8>>>),
    Zstd(Zstd),
}

impl Layer {
    fn new(name: &str) -> Option<Result<Layer, CodingError>> {
        let layer = match name {
            "" | "identity" => return None,
            "gzip" | "x-gzip" => Layer::Gzip(flate2::write::MultiGzDecoder::new(Vec::new())),
            "deflate" => Layer::Deflate(Deflate::Unknown(Vec::new())),
            "br" => Layer::Brotli(Box::new(brotli::DecompressorWriter::new(Vec::new(), 4096))),
            "zstd" => match zstd::stream::raw::Decoder::new() {
                Ok(decoder) => Layer::Zstd(Zstd {
                    decoder,
                    ended: false,
                }),
                Err(_) => return Some(Err(CodingError::Corrupt)),
            },
            _ => return Some(Err(CodingError::Unsupported)),
        };
        Some(Ok(layer))
    }

    /// Feeds a piece small enough that its output stays bounded, and takes what came out.
    fn push(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Layer::Gzip(decoder) => {
                write(decoder, bytes)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Layer::Deflate(decoder) => decoder.push(bytes),
            Layer::Brotli(decoder) => {
                write(decoder, bytes)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Layer::Zstd(decoder) => decoder.push(bytes),
        }
    }

    /// Checks that the data ended where it should.
    fn finish(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Layer::Gzip(decoder) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Layer::Deflate(decoder) => decoder.finish(),
            Layer::Brotli(decoder) => {
                decoder.close()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Layer::Zstd(Zstd { ended: true, .. }) => Ok(Vec::new()),
            Layer::Zstd(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn write(decoder: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    decoder.write_all(bytes)?;
    decoder.flush()
}

/// `deflate` means zlib (RFC 9110 section 8.4.1.2), but some send the bare deflate stream.
enum Deflate {
    /// Fewer than two bytes came.
    Unknown(Vec<u8>),
    Zlib(flate2::write::ZlibDecoder<Vec<u8>>),
    Raw(flate2::write::DeflateDecoder<Vec<u8>>),
}

impl Deflate {
    fn push(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        if let Deflate::Unknown(start) = self {
            start.extend_from_slice(bytes);
            let Some(&[method, flags]) = start.first_chunk() else {
                return Ok(Vec::new());
            };
            let start = std::mem::take(start);
            // RFC 1950 section 2.2: compression method 8, and a check sum over both bytes.
            let zlib = method & 0x0f == 8 && u16::from_be_bytes([method, flags]) % 31 == 0;
            *self = if zlib {
                Deflate::Zlib(flate2::write::ZlibDecoder::new(Vec::new()))
            } else {
                Deflate::Raw(flate2::write::DeflateDecoder::new(Vec::new()))
            };
            return self.push(&start);
        }
        match self {
            Deflate::Unknown(_) => Ok(Vec::new()),
            Deflate::Zlib(decoder) => {
                write(decoder, bytes)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Deflate::Raw(decoder) => {
                write(decoder, bytes)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }

    fn finish(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Deflate::Unknown(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Deflate::Zlib(decoder) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Deflate::Raw(decoder) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }
}

/// Frames behind one another; knows whether the last one ended.
struct Zstd {
    decoder: zstd::stream::raw::Decoder<'static>,
    ended: bool,
}

impl Zstd {
    fn push(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut buffer = [0u8; 16 * 1024];
        let mut input = InBuffer::around(bytes);
        loop {
            let mut output = OutBuffer::around(&mut buffer[..]);
            let left = input.src.len() - input.pos;
            if left > 0 || !self.ended {
                self.ended = self.decoder.run(&mut input, &mut output)? == 0;
            }
            let written = output.pos();
            out.extend_from_slice(output.as_slice());
            // A full buffer means that more may wait inside.
            if input.pos == input.src.len() && written < buffer.len() {
                return Ok(out);
            }
        }
    }
}

/// Decodes one body.
pub struct Decoder {
    layers: Vec<Layer>,
    limit: usize,
    read: usize,
    written: usize,
}

impl Decoder {
    /// A decoder for the value of `content-encoding`; `None` if there is nothing to decode. At most `limit` bytes come out.
    ///
    /// # Errors
    /// An unknown coding, or more than two.
    pub fn new(encoding: &str, limit: usize) -> Result<Option<Decoder>, CodingError> {
        if matches!(encoding, "" | "identity") {
            return Ok(None);
        }
        let names: Vec<String> = encoding
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        // The last coding was applied last, so it comes off first.
        let layers: Result<Vec<Layer>, CodingError> =
            names.iter().rev().filter_map(|name| Layer::new(name)).collect();
        let layers = layers?;
        if layers.len() > MAX_LAYERS {
            return Err(CodingError::Unsupported);
        }
        Ok((!layers.is_empty()).then_some(Decoder {
            layers,
            limit,
            read: 0,
            written: 0,
        }))
    }

    /// The coding that the first bytes of an unlabelled body show, if any (wire.md 2.8).
    #[must_use]
    pub fn sniff(start: &[u8]) -> &'static str {
        match start {
            [0x1f, 0x8b, ..] => "gzip",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
            _ => "",
        }
    }

    /// Decodes more input and appends what it yields.
    ///
    /// # Errors
    /// Damaged data or too much output.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CodingError> {
        // Small steps keep the output of a bomb bounded between two checks.
        for piece in bytes.chunks(8 * 1024) {
            self.read += piece.len();
            let mut data = piece.to_vec();
            for layer in &mut self.layers {
                data = layer.push(&data).map_err(|_| CodingError::Corrupt)?;
            }
            self.take(&data, out)?;
        }
        Ok(())
    }

    /// The input ended.
    ///
    /// # Errors
    /// It ended too early.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), CodingError> {
        let mut data = Vec::new();
        for layer in &mut self.layers {
            let mut more = layer.push(&data).map_err(|_| CodingError::Corrupt)?;
            more.extend(layer.finish().map_err(|_| CodingError::Corrupt)?);
            data = more;
        }
        self.take(&data, out)
    }

    fn take(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), CodingError> {
        self.written += data.len();
        let bomb = self.written > RATIO_FREE && self.written / MAX_RATIO > self.read;
        if bomb || self.written > self.limit {
            return Err(CodingError::TooLarge);
        }
        out.extend_from_slice(data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(encoding: &str, data: &[u8], limit: usize) -> Result<Vec<u8>, CodingError> {
        let mut decoder = Decoder::new(encoding, limit)?.unwrap();
        let mut out = Vec::new();
        for byte in data.chunks(7) {
            decoder.push(byte, &mut out)?;
        }
        decoder.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn every_coding_comes_back_in_small_pieces() {
        let text = "data: {\"x\":1}\n\n".repeat(200).into_bytes();
        assert_eq!(decode("gzip", &gzip(&text), 1 << 20).unwrap(), text);
        assert_eq!(decode("gzip, gzip", &gzip(&gzip(&text)), 1 << 20).unwrap(), text);
        assert_eq!(
            decode("zstd", &zstd::encode_all(&text[..], 3).unwrap(), 1 << 20).unwrap(),
            text
        );
        let mut br = Vec::new();
        brotli::CompressorWriter::new(&mut br, 4096, 5, 22)
            .write_all(&text)
            .unwrap();
        assert_eq!(decode("br", &br, 1 << 20).unwrap(), text);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&text).unwrap();
        assert_eq!(decode("deflate", &zlib.finish().unwrap(), 1 << 20).unwrap(), text);
    }

    #[test]
    fn bare_deflate_and_several_members_or_frames_are_read() {
        let text = "data: {\"x\":1}\n\n".repeat(200).into_bytes();
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        raw.write_all(&text).unwrap();
        assert_eq!(decode("deflate", &raw.finish().unwrap(), 1 << 20).unwrap(), text);
        let twice = [text.clone(), text.clone()].concat();
        let members = [gzip(&text), gzip(&text)].concat();
        assert_eq!(decode("gzip", &members, 1 << 20).unwrap(), twice);
        let frame = zstd::encode_all(&text[..], 3).unwrap();
        let frames = [frame.clone(), frame].concat();
        assert_eq!(decode("zstd", &frames, 1 << 20).unwrap(), twice);
    }

    #[test]
    fn what_was_cut_is_corrupt() {
        let text: Vec<u8> = (0..50_000u32).flat_map(|n| (n * 7919).to_le_bytes()).collect();
        let zstd = zstd::encode_all(&text[..], 3).unwrap();
        let gzip = gzip(&text);
        for (name, data) in [("zstd", &zstd), ("gzip", &gzip)] {
            assert_eq!(decode(name, data, 1 << 20).unwrap(), text);
            let cut = &data[..data.len() - 5];
            assert_eq!(decode(name, cut, 1 << 20), Err(CodingError::Corrupt), "{name}");
        }
        assert_eq!(decode("deflate", b"x", 100), Err(CodingError::Corrupt));
        assert_eq!(decode("zstd", b"", 100), Err(CodingError::Corrupt));
    }

    #[test]
    fn bombs_limits_damage_and_unknown_codings_are_refused() {
        let bomb = zstd::encode_all(std::io::repeat(0).take(1 << 28), 3).unwrap();
        assert_eq!(decode("zstd", &bomb, 1 << 30), Err(CodingError::TooLarge));
        assert_eq!(
            decode("gzip", &gzip(&[7; 5000]), 4000),
            Err(CodingError::TooLarge)
        );
        assert_eq!(
            decode("gzip", b"not gzip at all, really", 4000),
            Err(CodingError::Corrupt)
        );
        assert_eq!(Decoder::new("snappy", 1).err(), Some(CodingError::Unsupported));
        assert_eq!(
            Decoder::new("gzip, gzip, gzip", 1).err(),
            Some(CodingError::Unsupported)
        );
        assert!(Decoder::new("identity", 1).unwrap().is_none());
    }

    use std::io::Read as _;
}
