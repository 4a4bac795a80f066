//! Layers as they are stored, unpacked: zstd (ours), gzip (most stores of others), or a plain tar.

use std::io::{self, BufReader, Read};

use super::manifest::Descriptor;

/// Bytes that a decompressor may keep: what our own compressor asks of it, and then some.
const WINDOW_LOG: u32 = 24;
/// The first bytes of a zstd frame (RFC 8878, 3.1.1) and of a gzip member (RFC 1952, 2.3.1).
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const GZIP: &[u8] = &[0x1f, 0x8b];

/// The tar of a layer. How it is packed follows from its first bytes, for types are wrong now and then; `blob` is only
/// named when it cannot be told.
///
/// # Errors
/// It cannot be read.
pub(super) fn unpacked<'a>(blob: &Descriptor, packed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut packed = BufReader::with_capacity(64 << 10, packed);
    let start = std::io::BufRead::fill_buf(&mut packed)
        .map_err(|error| io::Error::new(error.kind(), format!("blob {}: {error}", blob.digest)))?;
    if start.starts_with(ZSTD) {
        let mut tar = zstd::Decoder::with_buffer(packed)?;
        tar.window_log_max(WINDOW_LOG)?;
        Ok(Box::new(tar))
    } else if start.starts_with(GZIP) {
        Ok(Box::new(flate2::bufread::MultiGzDecoder::new(packed)))
    } else {
        Ok(Box::new(packed))
    }
}
